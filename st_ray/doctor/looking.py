"""One look at every pixel of a scene, tile by tile: memory does not grow with the scene.

Shape letters: H W scene, h w tile, B bands, C classes, N pixels of a tile, K bands of the sample.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from st_ray.doctor.orientation import Sample, Sampler
from st_ray.report.pictures import thinning
from st_ray.spectral.bands import BandSurvey, survey_bands
from st_ray.spectral.cube import Cube, FileCube
from st_ray.spectral.mosaic import MosaicCube
from st_ray.spectral.resample import ResampledCube
from st_ray.spectral.scene import Scene
from st_ray.spectral.sheet import lay_sheet
from st_ray.spectral.tiles import Tile, TileSpec, plan_tiles

_MOST_FLAT = 100  # different values of pixels without a spectrum that are told apart


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Look:
    """What was seen.

    Attributes:
        survey: What training itself looks at.
        nan: (B,) pixels whose value is NaN or infinite.
        nodata: (B,) pixels whose value is the one that stands for "not measured".
        mean: (B,) of valid values; NaN where there is none.
        deviation: (B,) their standard deviation.
        at_maximum: (B,) pixels that have the band's largest value.
        flat: Value to pixels that have it in every band.
        pixels: (C,) labelled pixels by class, classes ascending.
        spectra: (C, B) mean valid value by class; NaN where there is none.
        sample: For the test of the labels' orientation; None without labels, or with one a scene.
        picture: (h, w, 3) red, green and blue, every `thinning`-th row and column of its sheet.
    """

    survey: BandSurvey
    nan: NDArray[np.int64]
    nodata: NDArray[np.int64]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    at_maximum: NDArray[np.int64]
    flat: dict[float, int]
    pixels: NDArray[np.int64]
    spectra: NDArray[np.float64]
    sample: Sample | None
    picture: NDArray[np.float32]


def look_over(scene: Scene, side: int, say: Callable[[float], None] | None = None) -> Look:
    """Read a scene once.

    Args:
        scene: Labelled or not (no class).
        side: Of a tile, pixels.
        say: Told which share of the tiles has been read.
    """
    tiles = plan_tiles(scene.labels.shape, TileSpec(side=side), scene.cube.extents)
    seen = _Seen(scene)
    for number, tile in enumerate(tiles, start=1):
        scene.cube.expect(tile.rows, tile.cols)
        seen.add(tile)
        if say is not None:
            say(number / len(tiles))
    return seen.done()


class _Seen:
    """The sums of a look under way."""

    def __init__(self, scene: Scene) -> None:
        bands = scene.cube.shape[2]
        self.scene, self.labels = scene, scene.labels
        self.unmasked = _unmasked(scene.cube)
        self.survey: BandSurvey | None = None
        self.nan = np.zeros(bands, np.int64)
        self.nodata = np.zeros(bands, np.int64)
        self.valid = np.zeros(bands, np.int64)
        self.mean = np.zeros(bands)
        self.square = np.zeros(bands)
        self.maximum = np.full(bands, -np.inf, np.float32)
        self.at_maximum = np.zeros(bands, np.int64)
        self.flat: Counter[float] = Counter()
        self.classes = np.array(scene.classes, dtype=np.int64)
        self.pixels = np.zeros(len(self.classes), np.int64)
        self.sums = np.zeros((len(self.classes), bands))
        self.counts = np.zeros((len(self.classes), bands), np.int64)
        # A label given for all of a scene's pixels lies the same however it is turned.
        drawn = not scene.members or any(not member.whole for member in scene.members)
        self.sampler = Sampler(scene) if drawn and len(self.classes) > 1 else None
        sheet = lay_sheet(scene.cube.extents)
        self.places = {extent.top: (top, left) for extent, top, left in sheet.places}
        self.step = thinning(sheet.shape)
        thinned = (-(-size // self.step) for size in sheet.shape)
        self.picture = np.full((*thinned, 3), np.nan, np.float32)
        own = np.array(scene.cube.band_indices)
        self.shown = [int(np.abs(own - band).argmin()) for band in scene.false_colour]

    def add(self, tile: Tile) -> None:
        """Take in a tile."""
        values_hwB = self.scene.cube.read(tile.rows, tile.cols)
        labels_hw = self.labels[tile.rows, tile.cols]
        part = survey_bands(values_hwB, labels_hw, (tile.row, tile.col))
        self.survey = part if self.survey is None else self.survey.merge(part)
        flat_NB = values_hwB.reshape(-1, values_hwB.shape[2])
        invalid_NB = np.isnan(flat_NB)
        self._invalid(tile, invalid_NB)
        self._bands(flat_NB, invalid_NB)
        self._flat(flat_NB)
        self._classes(flat_NB, invalid_NB, labels_hw.ravel())
        self._paint(tile, values_hwB)
        if self.sampler is not None:
            self.sampler.add(tile, values_hwB)

    def _invalid(self, tile: Tile, invalid_NB: NDArray[np.bool_]) -> None:
        if self.unmasked is None:
            counts = invalid_NB.sum(axis=0)
            target = self.nan if _nodata(self.scene.cube) is None else self.nodata
            target += counts
            return
        plain_hwB = self.unmasked.read(tile.rows, tile.cols)
        nan_B = np.isnan(plain_hwB).sum(axis=(0, 1))
        self.nan += nan_B
        self.nodata += invalid_NB.sum(axis=0) - nan_B

    def _bands(self, values_NB: NDArray[np.float32], invalid_NB: NDArray[np.bool_]) -> None:
        """Chan et al. 1983: mean and sum of squared deviations of two parts."""
        count_B = len(values_NB) - invalid_NB.sum(axis=0)
        centred_NB, holed = values_NB.astype(np.float64), bool(invalid_NB.any())
        if holed:
            centred_NB[invalid_NB] = 0.0
        mean_B = centred_NB.sum(axis=0) / np.maximum(count_B, 1)
        centred_NB -= mean_B
        if holed:
            centred_NB[invalid_NB] = 0.0
        square_B = np.einsum("nb,nb->b", centred_NB, centred_NB)
        total = self.valid + count_B
        share = count_B / np.maximum(total, 1)
        apart = mean_B - self.mean
        self.mean += apart * share
        self.square += square_B + apart**2 * self.valid * share
        self.valid = total
        top_B = np.fmax.reduce(values_NB, axis=0, initial=np.float32(-np.inf))
        at_top = (values_NB == top_B).sum(axis=0)
        self.at_maximum = np.select(
            [top_B > self.maximum, top_B == self.maximum],
            [at_top, self.at_maximum + at_top],
            self.at_maximum,
        )
        self.maximum = np.maximum(self.maximum, top_B)

    def _flat(self, values_NB: NDArray[np.float32]) -> None:
        if values_NB.shape[1] < 2:
            return
        same_N = (values_NB == values_NB[:, :1]).all(axis=1)
        found, counts = np.unique(values_NB[same_N, 0], return_counts=True)
        for value, count in zip(found.tolist(), counts.tolist(), strict=True):
            if value in self.flat or len(self.flat) < _MOST_FLAT:
                self.flat[value] += count

    def _classes(
        self,
        values_NB: NDArray[np.float32],
        invalid_NB: NDArray[np.bool_],
        labels_N: NDArray[np.int32],
    ) -> None:
        chosen = np.flatnonzero(labels_N)
        if not chosen.size:
            return
        order = chosen[np.argsort(labels_N[chosen], kind="stable")]
        ids, starts, counts = np.unique(labels_N[order], return_index=True, return_counts=True)
        own = np.searchsorted(self.classes, ids)
        self.pixels[own] += counts
        lacking = invalid_NB[order]
        filled = np.where(lacking, 0.0, values_NB[order].astype(np.float64))
        self.sums[own] += np.add.reduceat(filled, starts, axis=0)
        self.counts[own] += np.add.reduceat(~lacking, starts, axis=0, dtype=np.int64)

    def _paint(self, tile: Tile, values_hwB: NDArray[np.float32]) -> None:
        extent_top = self.scene.cube.extent_at(tile.row).top
        first_row, first_col = self.places[extent_top]
        row, col = first_row + tile.row - extent_top, first_col + tile.col
        thin = values_hwB[-row % self.step :: self.step, -col % self.step :: self.step, self.shown]
        top, left = -(-row // self.step), -(-col // self.step)
        self.picture[top : top + thin.shape[0], left : left + thin.shape[1]] = thin

    def done(self) -> Look:
        """What was seen."""
        assert self.survey is not None  # a scene has at least one tile
        known = self.valid > 0
        with np.errstate(invalid="ignore"):
            spectra = self.sums / np.where(self.counts > 0, self.counts, np.nan)
        return Look(
            survey=self.survey,
            nan=self.nan,
            nodata=self.nodata,
            mean=np.where(known, self.mean, np.nan),
            deviation=np.where(known, np.sqrt(self.square / np.maximum(self.valid, 1)), np.nan),
            at_maximum=self.at_maximum,
            flat=dict(self.flat),
            pixels=self.pixels,
            spectra=spectra,
            sample=self.sampler.done() if self.sampler is not None else None,
            picture=self.picture,
        )


def _parts(cube: Cube) -> list[FileCube]:
    """The files that a cube is made of."""
    if isinstance(cube, MosaicCube):
        return [file for part in cube.parts for file in _parts(part)]
    if isinstance(cube, ResampledCube):
        return _parts(cube.source)
    return [cube] if isinstance(cube, FileCube) else []


def _nodata(cube: Cube) -> float | None:
    for part in _parts(cube):
        nodata = part.meta.nodata if part.nodata is None else part.nodata
        if nodata is not None:
            return nodata
    return None


def _unmasked(cube: Cube) -> Cube | None:
    """The cube with nodata values left in; None unless that tells them from NaN."""
    if _nodata(cube) is None or not any(part.dtype.kind == "f" for part in _parts(cube)):
        return None
    return _without_nodata(cube)


def _without_nodata(cube: Cube) -> Cube:
    if isinstance(cube, MosaicCube):
        parts = [_without_nodata(part) for part in cube.parts]
        kept = tuple(part for part in parts if isinstance(part, FileCube | ResampledCube))
        return replace(cube, parts=kept)
    if isinstance(cube, ResampledCube):
        return replace(cube, source=_without_nodata(cube.source))
    if isinstance(cube, FileCube):
        return replace(cube, nodata=None, meta=replace(cube.meta, nodata=None))
    return cube
