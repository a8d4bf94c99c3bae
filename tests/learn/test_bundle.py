"""Model bundles: what is saved is what is read, and what was tampered with is not read at all."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from torch import nn

from st_ray.errors import ModelError
from st_ray.learn.backbones import backbones, build_backbone
from st_ray.learn.bundle import BASIS, WEIGHTS, load_bundle
from st_ray.learn.card import CARD
from st_ray.storage import push
from tests.small_bundles import card_of, write_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "run" / "model", card_of())


def retell(folder: Path, **changes: Any) -> None:
    """Change a card; None takes a key out."""
    table = json.loads((folder / CARD).read_text())
    table.update(changes)
    kept = {key: value for key, value in table.items() if value is not None}
    (folder / CARD).write_text(json.dumps(kept))


def test_what_was_saved_is_read_from_the_run_or_its_model(bundle) -> None:
    card = card_of()
    for place in (bundle, bundle.parent, str(bundle)):
        model, basis, read = load_bundle(place)
        assert read.sha256.keys() == {WEIGHTS, BASIS}
        assert [getattr(read, name) for name in card.__slots__ if name != "sha256"] == [
            getattr(card, name) for name in card.__slots__ if name != "sha256"
        ]
        assert read.used_wavelengths == (400.0, 410.0, 420.0, 440.0, 460.0, 470.0)
        assert basis.rank == 6
        assert not model.training


def test_an_older_bundle_without_hashes_and_wavelengths_is_read(bundle) -> None:
    retell(bundle, sha256=None, wavelengths=None)
    _, _, card = load_bundle(bundle)
    assert card.wavelengths == card.used_wavelengths == ()
    assert card.sha256 == {}


@pytest.mark.parametrize("name", backbones())
def test_every_backbone_comes_out_of_its_bundle_as_it_went_in(name: str, tmp_path) -> None:
    card = card_of(backbone=name, backbone_options={})
    model = build_backbone(name, components=6, patch_size=5, classes=3).eval()
    write_bundle(tmp_path / "model", card, model)
    read, _, _ = load_bundle(tmp_path / "model")
    patches = torch.randn(4, 6, 5, 5, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(read(patches), model(patches))


def test_only_the_bundles_files_are_fetched_of_a_uri(bundle, s3) -> None:
    push(bundle.parent, s3("bundle/run"))
    _, _, card = load_bundle(s3("bundle/run"))
    assert card.classes == (2, 5, 9)
    retell(bundle, components=99)
    push(bundle / CARD, s3("bundle/run/model/model.json"))
    with pytest.raises(ModelError, match=r"^s3://bucket/bundle/run/model.*/model\.json: expected"):
        load_bundle(s3("bundle/run"))


def own(*, components: int, patch_size: int, classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(components * patch_size**2, classes))


def test_a_bundle_does_not_choose_what_code_is_run(tmp_path, monkeypatch) -> None:
    name = f"{__name__}:own"
    card = card_of(backbone=name, backbone_options={})
    folder = write_bundle(tmp_path / "m", card, own(components=6, patch_size=5, classes=3))
    called: list[object] = []
    monkeypatch.setattr(f"{__name__}.own", lambda **sizes: called.append(sizes))
    with pytest.raises(ModelError, match=rf"may not choose .*--backbone {name}"):
        load_bundle(folder)
    assert not called
    monkeypatch.undo()
    for allowed in (name, own):
        model, _, _ = load_bundle(folder, allowed)
        assert model(torch.zeros(1, 6, 5, 5)).shape == (1, 3)


def damage(change: Callable[[bytes], bytes], name: str, *, forge: bool = False) -> Any:
    """Rewrite a file; forged, the card's hashes go, as who tampers could have it."""

    def apply(folder: Path) -> None:
        (folder / name).write_bytes(change((folder / name).read_bytes()))
        if forge:
            retell(folder, sha256=None)

    return apply


def tell(**changes: Any) -> Any:
    return lambda folder: retell(folder, **changes)


def basis_with(**changes: Any) -> Any:
    def apply(folder: Path) -> None:
        tensors = {**load_file(folder / BASIS), **changes}
        save_file({k: v for k, v in tensors.items() if v is not None}, folder / BASIS)
        retell(folder, sha256=None)

    return apply


def weights_with(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    def apply(folder: Path) -> None:
        save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS)
        retell(folder, sha256=None)

    return apply


def poison(tensors: dict[str, Any]) -> dict[str, Any]:
    first = next(name for name, value in tensors.items() if value.dtype == np.float32)
    return {**tensors, first: np.full_like(tensors[first], np.nan)}


def flip(data: bytes) -> bytes:
    return data[:-5] + bytes([data[-5] ^ 1]) + data[-4:]


TAMPERED = {
    "card cut off": (damage(lambda data: data[:70], CARD), "model.json"),
    "card empty": (damage(lambda _: b"", CARD), "model.json"),
    "card no text": (damage(lambda _: b"\xff\xfe\x00", CARD), "model.json"),
    "card a list": (damage(lambda _: b"[1, 2]", CARD), "expected a JSON object, found list"),
    "card too deep": (damage(lambda _: b"[" * 99999, CARD), "model.json"),
    "card without classes": (tell(classes=None), "lacks classes"),
    "card of another version": (tell(clases=[1]), "did you mean 'classes'"),
    "components in words": (tell(components="six"), "components='six'"),
    "components no whole number": (tell(components=2.5), "components=2.5"),
    "components a truth": (tell(components=True), "components=True"),
    "more components than bands": (tell(components=10**9), "expected 1 to 6 components"),
    "no components": (tell(components=0), "expected 1 to 6 components"),
    "even patch": (tell(patch_size=4), "odd patch_size"),
    "huge patch": (tell(patch_size=10**9 + 1), "odd patch_size up to 1023"),
    "class 0": (tell(classes=[0, 5, 9]), "class ids of 1 or more"),
    "class twice": (tell(classes=[5, 5, 9]), "ascending class ids"),
    "huge class": (tell(classes=[2, 5, 2**40]), "ascending class ids"),
    "one class": (tell(classes=[2], class_names=["a"]), "two or more"),
    "names missing": (tell(class_names=["a"]), "expected 3 class names, found 1"),
    "band beyond the file": (tell(bands=[0, 1, 2, 4, 6, 8]), "ascending bands below file_bands=8"),
    "bands backwards": (tell(bands=[7, 6, 4, 2, 1, 0]), "ascending bands"),
    "no bands": (tell(bands=[]), "ascending bands"),
    "wavelengths too few": (tell(wavelengths=[400.0]), "expected 8 wavelengths"),
    "wavelengths below 0": (tell(wavelengths=[-400.0] * 8), "wavelengths above 0"),
    "wavelengths no number": (tell(wavelengths=[float("nan")] * 8), "model.json"),
    "options a list": (tell(backbone_options=[1]), "backbone_options"),
    "option unknown": (tell(backbone_options={"wide": 8}), "did you mean 'width'"),
    "option of a wide network": (tell(backbone_options={"width": 1000}), "does not fit backbone"),
    "option of a huge network": (tell(backbone_options={"width": 10**7}), "width=10000000: expec"),
    "option of a deep network": (tell(backbone_options={"blocks": 10**9}), "blocks=1000000000: ex"),
    "hash wrong": (tell(sha256={WEIGHTS: "0" * 64}), "weights.safetensors"),
    "backbone unknown": (tell(backbone="resnet2e"), "none of st_ray's"),
    "backbone of other code": (tell(backbone="os:system"), "may not choose"),
    "backbone another": (tell(backbone="cnn1d", backbone_options={}), "weights.safetensors"),
    "weights empty": (damage(lambda _: b"", WEIGHTS, forge=True), "weights.safetensors"),
    "weights cut off": (damage(lambda data: data[:-9], WEIGHTS, forge=True), WEIGHTS),
    "weights a bit off": (damage(flip, WEIGHTS), "weights.safetensors is damaged"),
    "weights pickled": (damage(lambda _: pickle.dumps({}), WEIGHTS, forge=True), WEIGHTS),
    "weights claim a huge header": (
        damage(lambda data: b"\xff" * 8 + data[8:], WEIGHTS, forge=True), WEIGHTS
    ),
    "weights of another size": (
        weights_with(lambda all_: {k: np.stack([v, v]) for k, v in all_.items()}),
        "does not fit backbone resnet2d",
    ),
    "weights fewer": (weights_with(lambda all_: dict(list(all_.items())[1:])), "missing, expected"),
    "weights more": (weights_with(lambda all_: {**all_, "x": np.ones(2)}), "no such tensor"),
    "weights NaN": (weights_with(poison), "NaN or infinity"),
    "basis cut off": (damage(lambda data: data[:-9], BASIS, forge=True), BASIS),
    "basis a bit off": (damage(flip, BASIS), "basis.safetensors is damaged"),
    "basis without axes": (basis_with(axes=None), BASIS),
    "basis of other bands": (basis_with(axes=np.eye(5)), "6 components of 6 bands"),
    "basis too short": (basis_with(axes=np.eye(6)[:3], variances=np.ones(3)), "6 components"),
    "basis NaN": (basis_with(mean=np.full(6, np.nan)), "numbers that no basis has"),
    "basis of whole numbers": (basis_with(mean=np.ones(6, int)), "numbers that no basis has"),
    "basis of a negative variance": (basis_with(variances=-np.ones(6)), "numbers that no basis"),
    "basis whitened too far": (
        basis_with(total_variance_whitening_count=np.array([6, 7.0, 9])), "numbers that no basis"
    ),
    "basis of one number": (
        basis_with(total_variance_whitening_count=np.array([6.0])), "basis.safetensors"
    ),
    "basis with a count of NaN": (
        basis_with(total_variance_whitening_count=np.array([6, 0.5, np.nan])), "basis.safetensors"
    ),
    "weights gone": (lambda folder: (folder / WEIGHTS).unlink(), "weights.safetensors is missing"),
    "basis a folder": (
        lambda folder: [(folder / BASIS).unlink(), (folder / BASIS).mkdir()], "basis.safetensors"
    ),
    "all gone": (shutil.rmtree, "model.json is missing"),
}  # fmt: skip


@pytest.mark.parametrize(("tamper", "message"), TAMPERED.values(), ids=TAMPERED)
def test_a_tampered_bundle_is_refused_in_one_line_that_names_the_file(
    bundle, tamper, message
) -> None:
    tamper(bundle)
    with pytest.raises(ModelError, match=message) as caught:
        load_bundle(bundle)
    assert "\n" not in str(caught.value)
    assert str(bundle) in str(caught.value)
