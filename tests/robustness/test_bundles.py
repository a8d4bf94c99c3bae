"""Bad inputs, sixth table: models and scenes that `st-ray predict` cannot bring together."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.robustness.conftest import Make, Row, Words, given, saved
from tests.small_bundles import card_of, write_bundle


def predict(change: Callable[[Path], object] = lambda model: None, *more: object) -> Make:
    """A map of a good scene by a changed model."""

    def make(folder: Path) -> Words:
        model = write_bundle(folder / "model", card_of())
        values = np.random.default_rng(0).normal(size=(9, 7, 8)).astype("f4")
        scene = saved(folder / "scene.npy", values)
        change(model)
        return ("predict", model, scene, "--workers", 0, "--out", "out.npy", *more)

    return make


def on(values: np.ndarray | bytes, name: str = "other.npy") -> Make:
    """A map of another scene by the good model."""

    def make(folder: Path) -> Words:
        words = predict()(folder)
        if isinstance(values, bytes):
            (folder / name).write_bytes(values)
        else:
            saved(folder / name, values)
        return (*words[:2], folder / name, *words[3:])

    return make


def cut(name: str, keep: int) -> Make:
    return predict(lambda model: (model / name).write_bytes((model / name).read_bytes()[:keep]))


def told(**changes: object) -> Make:
    """A card that says something else."""

    def change(model: Path) -> None:
        card = json.loads((model / "model.json").read_text())
        (model / "model.json").write_text(json.dumps({**card, **changes}))

    return predict(change)


ROWS = [
    Row("no model", predict(shutil.rmtree), r"is not a model bundle: model\.json is missing"),
    Row("a model without weights", predict(lambda m: (m / "weights.safetensors").unlink()), "weig"),
    Row("weights cut short", cut("weights.safetensors", 99), r"weights\.safetensors is damaged"),
    Row("a basis cut short", cut("basis.safetensors", 99), r"basis\.safetensors is damaged"),
    Row("a card cut short", cut("model.json", 40), r"model\.json"),
    Row("an empty card", cut("model.json", 0), r"model\.json"),
    Row("a card of other code", told(backbone="os:system"), r"may not choose"),
    Row("a card of a huge network", told(components=10**9), r"expected 1 to 6 components"),
    Row("a card of an even patch", told(patch_size=4), r"odd patch_size"),
    Row("a scene of fewer bands", on(np.ones((9, 7, 5), "f4")), r"5 bands.*8|8 bands.*5"),
    Row("a scene without values", on(b""), r"cannot read"),
    Row("a scene of text", on(b"hello", "scene.xyz"), r"cannot read"),
    Row("no scene", lambda folder: (*predict()(folder)[:2], "no.npy"), r"no such scene file"),
    Row("no tile", predict(lambda m: None, "--set", "tiles.side=0"), r"tiles\.side=0"),
    Row("a setting of training", predict(lambda m: None, "--set", "seed=3"), r"seed: expected"),
    Row("a form of nobody", predict(lambda m: None, "--out", "map.bmp"), r"map\.bmp"),
    Row(
        "a map with the name of the scene",
        predict(lambda m: None, "--out", "scene.npy"),
        r"scene\.npy",
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=given)
def test_a_bad_model_or_scene_is_one_line(check: Callable[[Row], None], row: Row) -> None:
    check(row)
