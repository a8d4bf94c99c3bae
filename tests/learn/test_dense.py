"""A tile's logits from shared convolutions are those of its patches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from st_ray.learn.backbones import backbones, build_backbone
from st_ray.learn.backbones.axis import Axis
from st_ray.learn.backbones.windows import Windows
from st_ray.learn.dense import dense_logits, dense_pays, offers_dense
from st_ray.learn.scoring import Stopwatch, tile_logits

CLASSES = 5
DENSE = ["cnn3d", "hybridsn", "resnet2d", "ssftt", "ssrn"]
HEIGHT, WIDTH = 3, 10


def settled(name: str, components: int, patch_size: int, **options: int) -> nn.Module:
    """A model in evaluation mode, with normalisation that changes what passes through it."""
    torch.manual_seed(0)
    model = build_backbone(
        name, components=components, patch_size=patch_size, classes=CLASSES, **options
    )
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean):
                assert tensor is not None
                tensor.normal_()
            assert module.running_var is not None
            module.running_var.uniform_(0.5, 2.0)
    return model.eval()


def tile_of(components: int, patch_size: int, height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    edge = patch_size - 1
    return torch.randn(height + edge, width + edge, components, generator=generator)


@torch.no_grad()
def by_patch(model: nn.Module, tile: Tensor, patch_size: int) -> Tensor:
    """Logits of every pixel's own patch."""
    windows = tile.unfold(0, patch_size, 1).unfold(1, patch_size, 1)
    logits: Tensor = model(windows.flatten(0, 1).contiguous())
    return logits


def test_the_backbones_that_convolve_in_space_offer_it() -> None:
    sizes = {"components": 4, "patch_size": 5, "classes": 2}
    offered = [name for name in backbones() if offers_dense(build_backbone(name, **sizes))]
    assert offered == DENSE


@pytest.mark.parametrize("name", DENSE)
@pytest.mark.parametrize(
    ("components", "patch_size"), [(2, 1), (3, 3), (12, 5), (12, 7), (4, 9), (30, 11), (3, 13)]
)
def test_dense_is_patch_by_patch(name: str, components: int, patch_size: int) -> None:
    model = settled(name, components, patch_size).double()
    tile = tile_of(components, patch_size).double()
    patches = by_patch(model, tile, patch_size)
    assert patches.std(dim=0).min() > 0  # the pixels differ
    dense = dense_logits(model, tile, patch_size)
    torch.testing.assert_close(dense, patches, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", DENSE)
@pytest.mark.parametrize("patch_size", [5, 11])
def test_in_single_precision_the_classes_are_the_same_too(name: str, patch_size: int) -> None:
    model, tile = settled(name, 12, patch_size), tile_of(12, patch_size)
    patches, dense = by_patch(model, tile, patch_size), dense_logits(model, tile, patch_size)
    torch.testing.assert_close(dense, patches, rtol=1e-4, atol=1e-4)
    best = patches.topk(2).values
    clear = best[:, 0] - best[:, 1] > 1e-4
    assert clear.sum() > 0.9 * HEIGHT * WIDTH
    assert torch.equal(dense.argmax(1)[clear], patches.argmax(1)[clear])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet2d", {"width": 6, "blocks": 3}),
        ("ssftt", {"dim": 16, "tokens": 2, "depth": 2}),
        ("ssrn", {"width": 5}),
    ],
)
def test_other_options_are_dense_too(name: str, options: dict[str, int]) -> None:
    model, tile = settled(name, 5, 7, **options).double(), tile_of(5, 7).double()
    torch.testing.assert_close(dense_logits(model, tile, 7), by_patch(model, tile, 7))


@pytest.mark.parametrize("name", ["resnet2d", "ssftt"])
def test_a_tile_of_several_blocks_is_put_together_in_order(name: str) -> None:
    model, tile = settled(name, 3, 3).double(), tile_of(3, 3, height=19, width=70).double()
    torch.testing.assert_close(dense_logits(model, tile, 3), by_patch(model, tile, 3))


def test_a_view_of_a_larger_tile_will_do() -> None:
    model, tile = settled("resnet2d", 4, 5).double(), tile_of(9, 5, height=8).double()
    part = tile[3:, 2:, :4]
    torch.testing.assert_close(dense_logits(model, part, 5), by_patch(model, part, 5))


def test_a_model_in_training_mode_is_evaluated_as_a_trained_one() -> None:
    model, tile = settled("hybridsn", 4, 5), tile_of(4, 5)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    dense = dense_logits(model.train(), tile, 5)
    assert torch.equal(dense, dense_logits(model.eval(), tile, 5))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_model_of_the_users_is_not_dense() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 2))
    assert not offers_dense(model)
    with pytest.raises(TypeError, match="Sequential has no method over_windows"):
        dense_logits(model, tile_of(4, 3), 3)


def test_a_layer_without_a_rule_is_not_passed_over() -> None:
    with pytest.raises(TypeError, match="no rule for AvgPool2d over windows"):
        Windows.of(tile_of(3, 3).permute(2, 0, 1)[None], 3).through(nn.AvgPool2d(3))


def test_every_padded_layer_adds_one_kind_of_position_on_each_side() -> None:
    axis = Axis(8, ((0, 10),))
    for number in range(1, 6):
        axis, _ = axis.convolved(3, padding=1)
        assert len(axis.kinds) == 2 * number + 1
        assert axis.side == 11
    axis, _ = axis.convolved(3, padding=1)
    assert axis.kinds == tuple((position, position) for position in range(11))
    narrower, _ = axis.convolved(3, padding=0)
    assert narrower.side == 9


def test_small_patches_of_padded_networks_are_faster_one_by_one() -> None:
    pays = {
        name: [size for size in (3, 5, 7, 9, 11) if dense_pays(settled(name, 2, size), size)]
        for name in ("resnet2d", "hybridsn", "ssftt", "vit")
    }
    expected = {"resnet2d": [11], "hybridsn": [7, 9, 11], "ssftt": [5, 7, 9, 11], "vit": []}
    assert pays == expected


def test_the_fewer_pixels_are_asked_for_the_larger_the_patch_must_be() -> None:
    def pays(name: str, share: float) -> list[int]:
        model, wanted = settled(name, 2, 11), round(share * 64**2)
        return [size for size in (5, 7, 9, 11) if dense_pays(model, size, wanted=wanted)]

    assert pays("ssrn", 0.5) == [5, 7, 9, 11]
    assert pays("ssrn", 0.1) == [11]
    assert pays("hybridsn", 0.5) == [9, 11]
    assert pays("resnet2d", 0.95) == [11]
    assert pays("resnet2d", 0.8) == []


def test_a_flat_block_is_mostly_margin() -> None:
    model = settled("ssrn", 2, 11)
    assert dense_pays(model, 11, wanted=16, height=4, width=4)  # 196 pixels for 16 patches of 121
    assert not dense_pays(model, 11, wanted=10, height=1, width=60)
    assert dense_pays(model, 11, wanted=60, height=1, width=60)


class Counting(nn.Module):
    """A model that offers dense evaluation, and counts how often it is taken at it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = {"patches": 0, "dense": 0}

    def dense_gain(self, patch_size: int) -> float:
        return 5.0 if patch_size > 3 else 0.9

    def forward(self, patches: Tensor) -> Tensor:
        self.calls["patches"] += 1
        middle = patches.shape[-1] // 2
        return patches[:, :, middle, middle]

    def over_windows(self, windows: Windows) -> Tensor:
        self.calls["dense"] += 1
        edge = windows.rows.side // 2
        return windows.features[0, :, edge:-edge, edge:-edge].flatten(1).T


@pytest.mark.parametrize(
    ("patch_size", "share", "asked", "expected"),
    [
        (5, 1.0, True, "dense"),
        (5, 1.0, False, "patches"),
        (3, 1.0, True, "patches"),
        (5, 0.6, True, "dense"),
        (5, 0.3, True, "patches"),
    ],
)
def test_a_tile_is_evaluated_densely_where_that_pays(
    patch_size: int, share: float, asked: bool, expected: str
) -> None:
    model, tile = Counting(), tile_of(CLASSES, patch_size + 2)  # a margin wider than needed
    edge = patch_size // 2
    wanted = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 10 < 10 * share
    sizes = {"patch_size": patch_size, "watch": Stopwatch(), "dense": asked}
    logits = tile_logits(model, tile, wanted, **sizes)
    core = tile[edge : edge + HEIGHT, edge : edge + WIDTH]
    assert torch.equal(logits, core[torch.from_numpy(wanted)])
    assert [name for name, calls in model.calls.items() if calls] == [expected]
