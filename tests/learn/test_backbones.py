"""Every registered backbone: shapes, gradients, growth; the registry's errors."""

from __future__ import annotations

import sys
import types

import pytest
import torch
from torch import nn

from st_ray.errors import SpecError, TrainingError
from st_ray.learn.backbones import (
    backbone_entry,
    backbones,
    build_backbone,
    check_backbone,
    load_factory,
    register_backbone,
)
from st_ray.learn.backbones.ssftt import GaussianTokenizer
from st_ray.learn.grow import grow

NAMES = list(backbones())
CLASSES = 5


def build(name: str, components: int, patch_size: int, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build_backbone(
        name, components=components, patch_size=patch_size, classes=CLASSES
    ).double()


def trained(name: str, components: int, patch_size: int) -> nn.Module:
    """A model a few steps from its initialisation, with normalisation statistics to match."""
    model = build(name, components, patch_size)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        patches = torch.randn(
            8, components, patch_size, patch_size, generator=generator, dtype=torch.float64
        )
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(patches), torch.arange(8) % CLASSES).backward()
        optimizer.step()
    return model.eval()


def grown(name: str, old: nn.Module, components: int, patch_size: int) -> nn.Module:
    new = build(name, components, patch_size, seed=2)
    grow(old.state_dict(), new)
    return new.eval()


def test_the_eight_backbones_of_the_issue_are_registered() -> None:
    assert NAMES == [
        "cnn1d",
        "cnn3d",
        "hybridsn",
        "resnet2d",
        "spectralformer",
        "ssftt",
        "ssrn",
        "vit",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_every_entry_documents_its_source_and_growth(name: str) -> None:
    entry = backbone_entry(name)
    assert entry.name == name
    assert "doi:" in entry.paper or "arXiv:" in entry.paper
    assert entry.growth
    assert 0 <= entry.whitening <= 0.5
    for option in entry.options:
        assert f"{option}: " in (entry.build.__doc__ or ""), f"{name}.{option} is not documented"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("components", "patch_size"), [(1, 1), (3, 5), (10, 7), (2, 3), (7, 13), (60, 11), (200, 1)]
)
def test_any_size_gives_finite_logits_and_a_gradient_to_every_parameter(
    name: str, components: int, patch_size: int
) -> None:
    model = build(name, components, patch_size).float()
    patches = torch.randn(4, components, patch_size + 2, patch_size + 2)[:, :, 1:-1, 1:-1]
    logits = model(patches)  # of a view that is not contiguous, as the loop gives it
    assert logits.shape == (4, CLASSES)
    assert logits.isfinite().all()
    nn.functional.cross_entropy(logits, torch.arange(4)).backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        if patch_size > 1:  # over one pixel, the share that a token takes of it is constant
            assert parameter.grad.count_nonzero() > 0, parameter_name


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("components", [1, 2, 6, 11])
def test_every_component_reaches_the_logits(name: str, components: int) -> None:
    model = build(name, components, 5).eval()
    patches = torch.randn(2, components, 5, 5, dtype=torch.float64, requires_grad=True)
    model(patches).square().sum().backward()
    assert patches.grad is not None
    assert (patches.grad.abs().sum((0, 2, 3)) > 0).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("components", [4, 5, 6, 10])
def test_growing_components_keeps_the_logits_exactly_when_the_entry_says_so(
    name: str, components: int
) -> None:
    old = trained(name, components, 5)
    new = grown(name, old, 13, 5)
    patches = torch.randn(6, 13, 5, 5, dtype=torch.float64)
    same = torch.allclose(new(patches), old(patches[:, :components]), rtol=0, atol=1e-12)
    assert same == backbone_entry(name).exact_from(components)


@pytest.mark.parametrize("name", NAMES)
def test_growing_the_patch_keeps_the_logits_exactly_when_the_entry_says_so(name: str) -> None:
    old = trained(name, 4, 5)
    new = grown(name, old, 4, 9)
    patches = torch.randn(6, 4, 9, 9, dtype=torch.float64)
    same = torch.allclose(new(patches), old(patches[:, :, 2:7, 2:7]), rtol=0, atol=1e-12)
    assert same == backbone_entry(name).exact_in_patch


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("patch_size", [1, 3, 5])
def test_growing_both_at_once_carries_every_parameter_and_trains_on(
    name: str, patch_size: int
) -> None:
    old = trained(name, 4, patch_size)
    new = grown(name, old, 9, 7).train()
    patches = torch.randn(4, 9, 7, 7, dtype=torch.float64)
    nn.functional.cross_entropy(new(patches), torch.arange(4)).backward()
    for parameter_name, parameter in new.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name


@pytest.mark.parametrize("name", ["resnet2d", "vit"])
def test_growing_components_of_a_dense_input_is_exact_in_training_mode_too(name: str) -> None:
    old = trained(name, 4, 5)
    new = grown(name, old, 9, 5)
    for module in (*old.modules(), *new.modules()):
        module.train(not isinstance(module, nn.Dropout))
    patches = torch.randn(6, 9, 5, 5, dtype=torch.float64)
    torch.testing.assert_close(new(patches), old(patches[:, :4]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides_the_weights(name: str) -> None:
    first, again, other = (build(name, 3, 3, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("name", NAMES)
def test_only_modules_that_several_workers_can_swap_do_dropout_and_attention(name: str) -> None:
    model = build(name, 3, 3).eval()
    assert not any(isinstance(module, nn.MultiheadAttention) for module in model.modules())
    patches = torch.randn(4, 3, 3, 3, dtype=torch.float64)
    for module in model.modules():
        module.train(not isinstance(module, nn.Dropout))
    assert torch.equal(model(patches), model(patches))


@pytest.mark.parametrize(
    ("name", "sizes", "message"),
    [
        ("resnet", {}, "unknown backbone 'resnet'; did you mean 'resnet2d'. known: cnn1d, cnn3d"),
        ("vit", {"components": 0}, "backbone vit: components must be a whole number >= 1, got 0"),
        ("vit", {"components": 2.0}, "components must be a whole number >= 1, got 2.0"),
        ("vit", {"patch_size": 4}, "patch_size must be odd, .* got 4; use 3 or 5"),
        ("vit", {"classes": 1}, "classes must be a whole number >= 2, got 1"),
        ("vit", {"deep": 2}, "unknown option of backbone vit 'deep'; .*known: depth, dim"),
        ("vit", {"depth": 0}, "backbone vit: depth must be a whole number >= 1, got 0; .* is 4"),
        ("vit", {"depth": True}, "depth must be a whole number >= 1, got True"),
        ("vit", {"depth": "2"}, "depth must be a whole number >= 1, got '2'"),
        ("vit", {"dropout": 1.0}, r"dropout must be a number in \[0, 1\), got 1.0"),
        ("vit", {"dropout": "a"}, r"dropout must be a number in \[0, 1\), got 'a'"),
        ("vit", {"dim": 30}, "dim=30 must be a multiple of heads=4"),
        ("spectralformer", {"group": 2}, "group must be odd, got 2"),
        ("nowhere.models:net", {}, "cannot import module 'nowhere.models' .*PYTHONPATH"),
        ("math:", {}, "expected package.module:function, got 'math:'"),
        (":net", {}, "expected package.module:function, got ':net'"),
        ("st_ray.learn.grow:grwo", {}, "unknown function in st_ray.learn.grow 'grwo'; did you"),
        ("math:pi", {}, "'math:pi' is float, expected a function or a class"),
    ],
)
def test_a_wrong_spec_is_one_line(name: str, sizes: dict[str, object], message: str) -> None:
    arguments = {"components": 3, "patch_size": 3, "classes": 4} | sizes
    with pytest.raises(SpecError, match=message) as caught:
        build_backbone(name, **arguments)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_name_cannot_be_registered_twice() -> None:
    enter = register_backbone("vit", paper="", whitening=0, growth="", exact_every=None)
    with pytest.raises(ValueError, match="'vit' is registered already"):
        enter(nn.Identity)


@pytest.fixture
def user_module(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    module = types.ModuleType("my_models")
    monkeypatch.setitem(sys.modules, "my_models", module)
    return module


def linear(components: int, patch_size: int, classes: int, *, bias: bool = True) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(components * patch_size**2, classes, bias=bias))


def test_a_factory_of_the_users_is_built_by_its_path(user_module: types.ModuleType) -> None:
    user_module.net = linear  # type: ignore[attr-defined]
    model = build_backbone("my_models:net", components=2, patch_size=3, classes=4, bias=False)
    check_backbone(model, 2, 3, 4)
    assert load_factory("my_models:net") is linear
    assert [p.shape for p in model.parameters()] == [(4, 18)]


def test_a_factory_that_fails_or_returns_no_module_is_named(user_module: types.ModuleType) -> None:
    user_module.number = lambda **sizes: 7  # type: ignore[attr-defined]
    user_module.net = linear  # type: ignore[attr-defined]
    sizes = {"components": 2, "patch_size": 3, "classes": 4}
    with pytest.raises(TrainingError, match="my_models:number returned int, expected a torch"):
        build_backbone("my_models:number", **sizes)
    with pytest.raises(TrainingError, match=r"failed when called as .*width=3\): TypeError: "):
        build_backbone("my_models:net", **sizes, width=3)


class Fails(nn.Module):
    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        raise RuntimeError(f"no {patches.ndim}-D input\nand more")


class Pair(nn.Module):
    def forward(self, patches: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return patches, patches


class Labels(nn.Module):
    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        return patches.flatten(1)[:, :4].long()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (linear(2, 3, 7), r"backbone x returned shape \(2, 7\) for .* expected .*\(2, 4\) = \(b"),
        (nn.Identity(), r"returned shape \(2, 2, 3, 3\)"),
        (linear(1, 3, 4), r"failed on patches of shape \(2, 2, 3, 3\): RuntimeError: mat1"),
        (Fails(), r"failed on patches of shape \(2, 2, 3, 3\): RuntimeError: no 4-D input$"),
        (Pair(), "returned tuple, expected a tensor of logits"),
        (Labels(), r"returned shape \(2, 4\) of torch.int64"),
        (7, "x is int, expected a torch.nn.Module"),
    ],
)
def test_a_model_that_gives_no_logits_is_named(model: nn.Module, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        check_backbone(model, 2, 3, 4, name="x")


@pytest.mark.parametrize("name", NAMES)
def test_the_check_leaves_no_trace(name: str) -> None:
    model = build_backbone(name, components=3, patch_size=5, classes=CLASSES)
    model.train()
    next(model.children()).eval()
    modes = [module.training for module in model.modules()]
    before = {key: value.clone() for key, value in model.state_dict().items()}
    generator = torch.get_rng_state()
    check_backbone(model, 3, 5, CLASSES)
    assert torch.equal(torch.get_rng_state(), generator)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_the_tokenizer_of_ssftt_starts_from_the_authors_weights() -> None:
    torch.manual_seed(0)
    tokenizers = [GaussianTokenizer(64, 4) for _ in range(50)]
    for name, rows in (("weight", 4), ("value", 64)):
        weights = torch.stack([getattr(tokenizer, name) for tokenizer in tokenizers])
        assert weights.shape[1:] == (rows, 64)  # of torch's Xavier for (1, rows, 64)
        assert weights.std().item() == pytest.approx((2 / (64 * rows + 64)) ** 0.5, rel=0.03)
