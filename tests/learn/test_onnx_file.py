"""A folded network is projection and network; its ONNX file gives the same logits."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from st_ray.errors import SpecError, TrainingError
from st_ray.learn.backbones import backbones, build_backbone
from st_ray.learn.card import ModelCard
from st_ray.learn.folded import Folded
from st_ray.learn.onnx_file import build_onnx, compare, likely_spectra
from st_ray.spectral.basis import SpectralBasis, group_bands, solve_basis, standardise_bands
from st_ray.spectral.moments import measure

BANDS, COMPONENTS, SIDE, CLASSES = 9, 6, 5, (2, 5, 9)
SMALL = {"vit": {"depth": 1}, "spectralformer": {"depth": 3}}


def spectra_of(count: int) -> NDArray[np.float32]:
    """Pixels as a sensor stores them: far from zero, correlated, of unequal scale."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(BANDS, BANDS)) * np.linspace(900, 5, BANDS)[:, None]
    return (7000 + rng.normal(size=(count, BANDS)) @ mixing).astype(np.float32)


def basis_of(axis: str = "components") -> SpectralBasis:
    moments = measure(spectra_of(500))
    if axis == "groups":
        return group_bands(moments, COMPONENTS)
    if axis == "bands":
        return standardise_bands(moments)
    return solve_basis(moments, COMPONENTS, whitening=0.25)


def card_of(backbone: str, components: int = COMPONENTS) -> ModelCard:
    return ModelCard(
        backbone=backbone,
        backbone_options={},
        components=components,
        patch_size=SIDE,
        classes=CLASSES,
        class_names=("grass", "Wälder", "water"),
        file_bands=BANDS + 2,
        bands=tuple(range(1, BANDS + 1)),
        curriculum="default",
        fingerprint="abc",
        wavelengths=tuple(400.0 + 10 * band for band in range(BANDS + 2)),
    )


def network(name: str, components: int = COMPONENTS) -> nn.Module:
    torch.manual_seed(0)
    sizes = {"components": components, "patch_size": SIDE, "classes": len(CLASSES)}
    model = build_backbone(name, **sizes, **SMALL.get(name, {}))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            assert module.running_var is not None
            module.running_var.uniform_(0.5, 2.0)
    return model.eval()


def real_patches(count: int) -> NDArray[np.float32]:
    patches = spectra_of(count * SIDE * SIDE).reshape(count, SIDE, SIDE, BANDS)
    patches[0, 1, 2, 3], patches[-1, 4, 4, 0] = np.nan, np.inf
    return np.ascontiguousarray(np.moveaxis(patches, 3, 1))


@pytest.mark.parametrize("axis", ["components", "groups", "bands"])
def test_a_folded_network_sees_what_the_basis_projects(axis: str) -> None:
    basis = basis_of(axis)
    model = network("resnet2d", basis.rank)
    patches = real_patches(4)
    projected = basis.project(np.moveaxis(patches, 1, 3))
    assert not projected[0, 1, 2].any()  # a pixel that lacks a band
    with torch.no_grad():
        expected = model(torch.from_numpy(projected).permute(0, 3, 1, 2))
        folded = Folded(basis, model, basis.rank)(torch.from_numpy(patches))
    torch.testing.assert_close(folded, expected, rtol=1e-4, atol=1e-5)


def test_fewer_components_than_the_basis_has_are_its_first() -> None:
    basis, model = basis_of(), network("vit", 4)
    patches = real_patches(2)
    projected = basis.project(np.moveaxis(patches, 1, 3), 4)
    with torch.no_grad():
        expected = model(torch.from_numpy(projected).permute(0, 3, 1, 2))
        folded = Folded(basis, model, 4)(torch.from_numpy(patches))
    torch.testing.assert_close(folded, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", list(backbones()))
def test_every_backbone_gives_the_same_logits_in_onnx_for_any_number_of_patches(name: str) -> None:
    basis = basis_of("groups" if name == "cnn1d" else "components")
    folded = Folded(basis, network(name), COMPONENTS)
    data = build_onnx(folded, card_of(name))
    for patches in (likely_spectra(basis, COMPONENTS, SIDE), real_patches(1), real_patches(7)):
        difference, largest = compare(data, folded, patches)
        assert difference <= 1e-5 * largest
        assert largest > 0


def test_the_file_says_what_its_inputs_and_outputs_are() -> None:
    import onnx

    model = Folded(basis_of(), network("cnn1d"), COMPONENTS)
    proto = onnx.load_from_string(build_onnx(model, card_of("cnn1d")))
    onnx.checker.check_model(proto, full_check=True)
    said = {item.key: item.value for item in proto.metadata_props}
    assert json.loads(said["classes"]) == list(CLASSES)
    assert json.loads(said["class_names"]) == ["grass", "Wälder", "water"]
    assert json.loads(said["bands"]) == list(range(1, BANDS + 1))
    assert json.loads(said["wavelengths"]) == [410.0 + 10 * band for band in range(BANDS)]
    assert (said["backbone"], said["patch_size"]) == ("cnn1d", "5")
    (spectra,), (logits,) = proto.graph.input, proto.graph.output
    shapes = [
        [side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim]
        for value in (spectra, logits)
    ]
    assert (spectra.name, logits.name) == ("spectra", "logits")
    assert shapes == [["patches", BANDS, SIDE, SIDE], ["patches", len(CLASSES)]]


def test_random_patches_have_the_statistics_of_the_training_pixels() -> None:
    basis = basis_of()
    patches = likely_spectra(basis, COMPONENTS, SIDE)
    assert np.isnan(patches[0, :, 0, 0]).all()
    assert np.isfinite(patches[1:]).all()
    projected = basis.project(np.moveaxis(patches[1:], 1, 3)).reshape(-1, COMPONENTS)
    expected = np.sqrt(basis.variances_K) * basis.scale_K
    np.testing.assert_allclose(projected.std(axis=0), expected, rtol=0.15)
    np.testing.assert_allclose(projected.mean(axis=0) / expected, 0, atol=0.15)


def test_a_file_that_gives_other_logits_is_refused() -> None:
    basis = basis_of()
    data = build_onnx(Folded(basis, network("cnn1d"), COMPONENTS), card_of("cnn1d"))
    other = network("cnn1d")
    with torch.no_grad():
        other.head.bias += 0.1
    with pytest.raises(TrainingError, match=r"differs from the network by 0\.1 .*nothing was writ"):
        compare(data, Folded(basis, other, COMPONENTS), real_patches(2))


class Sorts(nn.Module):
    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        return torch.linalg.eigvalsh(patches[:, 0])[:, :3]


def test_a_network_that_onnx_cannot_express_is_one_line() -> None:
    model = Folded(basis_of(), Sorts(), COMPONENTS)
    with pytest.raises(TrainingError, match="backbone mine:net cannot be exported to ONNX") as told:
        build_onnx(model, card_of("mine:net"))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    model = Folded(basis_of(), network("cnn1d"), COMPONENTS)
    with pytest.raises(SpecError, match=rf"needs the package {package}.*pip install 'st_ray\[onnx"):
        build_onnx(model, card_of("cnn1d"))
