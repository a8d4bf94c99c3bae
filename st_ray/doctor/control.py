"""The control of an audit: a support-vector machine that sees one spectrum at a time.

It has no neighbourhood, so training pixels inside a test patch tell it nothing. What it loses
from a random to a disjoint split it loses to spectra that differ from place to place; what a
network loses on top of that, it had from the neighbourhood.

Shape letters: N pixels, B bands, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from st_ray.learn.metrics import Confusion
from st_ray.spectral.parts import TEST, TRAIN, VALIDATION, Split
from st_ray.spectral.scene import Scene
from st_ray.spectral.tiles import Tile

NAME = "svm, single spectra"
COSTS = (1.0, 10.0, 100.0, 1000.0)  # C of the SVM; the best on validation pixels is taken
# Pixels of each part at most: an SVM's time grows with the square of its training pixels.
_MOST = {TRAIN: 4000, VALIDATION: 4000, TEST: 100_000}


@dataclass(frozen=True, kw_only=True, slots=True)
class Controlled:
    """What the control reached.

    Attributes:
        test: Of the test pixels.
        cost: C, as chosen.
        thinned: Which parts had more pixels than it takes; the rest was drawn, by class.
    """

    test: Confusion
    cost: float
    thinned: tuple[str, ...]


def score_control(scene: Scene, split: Split, tiles: tuple[Tile, ...], seed: int) -> Controlled:
    """Train on the training pixels' spectra, choose C on validation, score the test part once.

    Args:
        scene: Without bad bands.
        split: Of its labels.
        tiles: Of the scene.
        seed: Draws pixels where a part has too many.
    """
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    rng = np.random.default_rng(seed)
    chosen_HW, thinned = _choose(scene, split, rng)
    pixels = _gather(scene, chosen_HW, tiles)
    train, validation, test = (pixels[part] for part in (TRAIN, VALIDATION, TEST))
    best: tuple[float, float, Any] | None = None
    for cost in COSTS:
        model = make_pipeline(StandardScaler(), SVC(C=cost, cache_size=500))
        model.fit(*train)
        accuracy = float(model.score(*validation))
        if best is None or accuracy > best[0]:
            best = accuracy, cost, model
    assert best is not None  # there is more than one cost
    positions = np.searchsorted(scene.classes, [test[1], best[2].predict(test[0])])
    counts_CC = np.zeros((len(scene.classes),) * 2, np.int64)
    np.add.at(counts_CC, tuple(positions), 1)
    return Controlled(test=Confusion(counts_CC), cost=best[1], thinned=thinned)


def _choose(
    scene: Scene, split: Split, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """The pixels that are taken, with their parts (H, W); too large parts thinned by class."""
    chosen_HW, thinned = split.parts.copy(), []
    flat, labels = chosen_HW.reshape(-1), scene.labels.reshape(-1)
    for part, name in ((TRAIN, "train"), (VALIDATION, "validation"), (TEST, "test")):
        places = np.flatnonzero(flat == part)
        if len(places) <= _MOST[part]:
            continue
        thinned.append(name)
        share = _MOST[part] / len(places)
        for index in scene.classes:
            own = rng.permutation(places[labels[places] == index])
            flat[own[max(1, round(share * len(own))) :]] = 0
    return chosen_HW, tuple(thinned)


def _gather(
    scene: Scene, chosen_HW: NDArray[np.uint8], tiles: tuple[Tile, ...]
) -> dict[int, tuple[NDArray[np.float32], NDArray[np.int32]]]:
    """Spectra (N, B) and class ids (N,) of the chosen pixels, by part."""
    spectra: dict[int, list[NDArray[np.float32]]] = {TRAIN: [], VALIDATION: [], TEST: []}
    labels: dict[int, list[NDArray[np.int32]]] = {TRAIN: [], VALIDATION: [], TEST: []}
    for tile in tiles:
        parts_hw = chosen_HW[tile.rows, tile.cols]
        if not parts_hw.any():
            continue
        values_hwB = scene.cube.read(tile.rows, tile.cols)
        for part in spectra:
            own_hw = parts_hw == part
            spectra[part].append(values_hwB[own_hw])
            labels[part].append(scene.labels[tile.rows, tile.cols][own_hw])
    return {part: (np.concatenate(spectra[part]), np.concatenate(labels[part])) for part in spectra}
