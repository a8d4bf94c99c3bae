"""Whether labels lie on their image as they should: rows and columns swapped, or turned.

A square label raster that was transposed on its way fits its image in shape, and nothing warns:
the classes just look hard. But classes explain most of the spectra's variance only where they
lie right. So the share of variance that lies between classes is computed for the eight ways to
lay a square raster down (four, of another rectangle), on one sample of pixels. It is adjusted for
what as many classes would explain by chance (epsilon squared: Kelley 1935, "An unbiased
correlation ratio measure", PNAS 21, 554-559).

Shape letters: H W scene, h w tile, M sampled pixels, K bands of the sample, G orientations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from st_ray.spectral.scene import Scene
from st_ray.spectral.tiles import Tile

Labels = NDArray[np.int32]

AS_IS = "as they are"
# How a raster would have to be saved anew, in words and in NumPy.
TURNS: dict[str, tuple[str, Callable[[Labels], Labels]]] = {
    AS_IS: ("labels", lambda labels: labels),
    "with rows in reverse": ("labels[::-1]", lambda labels: labels[::-1]),
    "with columns in reverse": ("labels[:, ::-1]", lambda labels: labels[:, ::-1]),
    "turned by 180 degrees": ("labels[::-1, ::-1]", lambda labels: labels[::-1, ::-1]),
    "transposed": ("labels.T", lambda labels: labels.T),
    "turned left": ("labels.T[::-1]", lambda labels: labels.T[::-1]),
    "turned right": ("labels.T[:, ::-1]", lambda labels: labels.T[:, ::-1]),
    "transposed about the other diagonal": (
        "labels.T[::-1, ::-1]",
        lambda labels: labels.T[::-1, ::-1],
    ),
}
_BANDS, _PIXELS = 24, 60_000  # of the sample, at most
_CLEAR = 0.8  # of the variance within classes: what is less than that is clearly better
LEAST = 0.02  # of the variance: classes that explain no more than that say nothing


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Spectra and, under each orientation, their labels.

    Attributes:
        names: (G,) of `TURNS`.
        spectra: (M, K) float32.
        labels: (G, M) class ids, 0 = unlabelled.
    """

    names: tuple[str, ...]
    spectra: NDArray[np.float32]
    labels: NDArray[np.int32]


class Sampler:
    """Draws the sample while a scene is read; several scenes are turned each for itself.

    Args:
        scene: With at least two classes.
    """

    def __init__(self, scene: Scene) -> None:
        square = all(extent.height == extent.width for extent in scene.cube.extents)
        bands = scene.cube.shape[2]
        self.names = tuple(TURNS) if square else tuple(TURNS)[:4]
        self.scene = scene
        self.bands = np.unique(np.linspace(0, bands - 1, min(bands, _BANDS)).round().astype(int))
        labelled = int(np.count_nonzero(scene.labels))
        self.share = min(1.0, _PIXELS / (labelled * len(self.names)))
        self.rng = np.random.default_rng(0)
        self.spectra: list[NDArray[np.float32]] = []
        self.labels: list[NDArray[np.int32]] = []

    def add(self, tile: Tile, values_hwB: NDArray[np.float32]) -> None:
        """Draw from a tile: pixels that are labelled under any orientation."""
        extent = self.scene.cube.extent_at(tile.row)
        own = self.scene.labels[extent.rows, : extent.width]
        rows = slice(tile.row - extent.top, tile.row - extent.top + tile.height)
        labels_Ghw = np.stack([TURNS[name][1](own)[rows, tile.cols] for name in self.names])
        chosen_hw = labels_Ghw.any(axis=0)
        chosen_hw &= self.rng.random(chosen_hw.shape) < self.share
        self.spectra.append(values_hwB[chosen_hw][:, self.bands])
        self.labels.append(labels_Ghw[:, chosen_hw])

    def done(self) -> Sample:
        """The sample."""
        return Sample(self.names, np.concatenate(self.spectra), np.concatenate(self.labels, axis=1))


def explained(sample: Sample) -> dict[str, float]:
    """By orientation, the share of variance that classes explain, up to 1; the mean over bands."""
    usable = ~np.isnan(sample.spectra).any(axis=1)
    values_MK = sample.spectra[usable].astype(np.float64)
    return {
        name: _epsilon_squared(values_MK, labels_M[usable])
        for name, labels_M in zip(sample.names, sample.labels, strict=True)
    }


def better(shares: dict[str, float]) -> str | None:
    """The orientation that fits clearly better than the labels as they are, or None."""
    best = max(shares, key=lambda name: shares[name])
    clear = 1.0 - shares[best] < _CLEAR * (1.0 - shares[AS_IS])
    return best if best != AS_IS and clear and shares[best] > LEAST else None


def _epsilon_squared(values_MK: NDArray[np.float64], labels_M: NDArray[np.int32]) -> float:
    """One minus the ratio of the variances within classes and of all; the mean over bands."""
    labelled = labels_M != 0
    values_MK, labels_M = values_MK[labelled], labels_M[labelled]
    spare = len(labels_M) - len(np.unique(labels_M))
    if spare < 1:
        return 0.0
    values_MK = values_MK - values_MK.mean(axis=0)
    order = np.argsort(labels_M, kind="stable")
    _, starts, counts = np.unique(labels_M[order], return_index=True, return_counts=True)
    sums_CK = np.add.reduceat(values_MK[order], starts, axis=0)
    between_K = (sums_CK**2 / counts[:, None]).sum(axis=0)
    total_K = (values_MK**2).sum(axis=0)
    varying = total_K > 0
    if not varying.any():
        return 0.0
    within_K = 1.0 - between_K[varying] / total_K[varying]
    return float(1.0 - (within_K * (len(labels_M) - 1) / spare).mean())
