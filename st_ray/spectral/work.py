"""Work on tiles: what a block of tiles yields. Plain picklable callables, with or without Ray.

Each takes tiles with a crop of some raster under each, and returns arrays that share their first
axis, so that the results of blocks can be concatenated.

Shape letters: T tiles of the block, s tile side, E padded edge, B bands, K components.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import reduce
from itertools import islice
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from st_ray.spectral.bands import BandSurvey, survey_bands
from st_ray.spectral.cube import Cube
from st_ray.spectral.ingest import StackPlan
from st_ray.spectral.moments import Precision, SpectralMoments, measure, merge_all
from st_ray.spectral.tiles import Tile

Arrays = dict[str, NDArray[np.generic]]
Merge = Callable[[Iterable[Arrays]], Arrays]
TileWork = Callable[[Sequence[Tile], Sequence[NDArray[np.generic]]], Arrays]
Item = TypeVar("Item")
Result = TypeVar("Result")


class TileStream(Protocol):
    """Work that each process sets up once, such as by loading a model; then tile after tile."""

    def open(self) -> Callable[[Iterable[Tile]], Iterator[Arrays]]:
        """Set it up in this process: gives what makes one result of each tile, in their order."""


def ahead(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """What a function gives of each item; the next is made in a thread while one is used."""
    items = iter(items)
    with ThreadPoolExecutor(1) as maker:
        coming = deque(maker.submit(function, item) for item in islice(items, 1))
        while coming:
            ready = coming.popleft()
            result = ready.result()
            coming.extend(maker.submit(function, item) for item in islice(items, 1))
            yield result


@dataclass(frozen=True, slots=True)
class SurveyTiles:
    """Find bad bands; the raster is the labels."""

    cube: Cube

    def __call__(self, tiles: Sequence[Tile], labels_Tss: Sequence[NDArray[np.generic]]) -> Arrays:
        """One serialised `BandSurvey` of the block, in column "survey"."""
        survey: BandSurvey | None = None
        _announce(self.cube, tiles)
        for tile, labels_ss in zip(tiles, labels_Tss, strict=True):
            part = survey_bands(
                self.cube.read(tile.rows, tile.cols),
                np.asarray(labels_ss, dtype=np.int32)[: tile.height, : tile.width],
                origin=(tile.row, tile.col),
            )
            survey = part if survey is None else survey.merge(part)
        return {"survey": np.array([survey.to_bytes() if survey else b""], dtype=object)}


def read_surveys(parts: Iterable[Arrays]) -> BandSurvey:
    """All surveys that `SurveyTiles` made, as one."""
    blobs = (bytes(blob) for part in parts for blob in part["survey"])
    return reduce(BandSurvey.merge, map(BandSurvey.from_bytes, blobs))


def merge_surveys(parts: Iterable[Arrays]) -> Arrays:
    """The same, serialised."""
    return {"survey": np.array([read_surveys(parts).to_bytes()], dtype=object)}


@dataclass(frozen=True, slots=True)
class MeasureTiles:
    """Moments of the chosen pixels; the raster is nonzero where a pixel counts."""

    cube: Cube
    precision: Precision = "exact"

    def __call__(self, tiles: Sequence[Tile], chosen_Tss: Sequence[NDArray[np.generic]]) -> Arrays:
        """The merged moments of the block, one row."""
        bands = self.cube.shape[2]
        total = SpectralMoments.empty(bands)
        _announce(
            self.cube,
            [tile for tile, chosen_ss in zip(tiles, chosen_Tss, strict=True) if chosen_ss.any()],
        )
        for tile, chosen_ss in zip(tiles, chosen_Tss, strict=True):
            chosen_hw = np.asarray(chosen_ss, dtype=bool)[: tile.height, : tile.width]
            if not chosen_hw.any():
                continue
            values_hwB = self.cube.read(tile.rows, tile.cols)
            if chosen_hw.mean() < _SPARSE:
                part = measure(values_hwB[chosen_hw], precision=self.precision)
            else:
                part = measure(
                    values_hwB.reshape(-1, bands), chosen_hw.ravel(), precision=self.precision
                )
            total = total.merge(part)
        return total.to_arrays()


def read_moments(parts: Iterable[Arrays]) -> SpectralMoments:
    """All moments that `MeasureTiles` made, as one."""
    return merge_all(SpectralMoments.from_arrays(part) for part in parts)


def merge_moments(parts: Iterable[Arrays]) -> Arrays:
    """The same, as one row."""
    return read_moments(parts).to_arrays()


# Below this share of chosen pixels it is cheaper to copy those out than to multiply zeros.
_SPARSE = 0.5


@dataclass(frozen=True, slots=True)
class ProjectTiles:
    """Project tiles with their halo; the raster is not used."""

    plan: StackPlan

    def __call__(self, tiles: Sequence[Tile], unused: Sequence[NDArray[np.generic]]) -> Arrays:
        """Columns "index" (T,) and "values" float32 (T, E, E, K)."""
        del unused
        _announce(self.plan.cube, tiles)
        values_TEEK = np.stack([self.plan.project(tile) for tile in tiles])
        return {"index": np.array([tile.index for tile in tiles]), "values": values_TEEK}


def _announce(cube: Cube, tiles: Sequence[Tile]) -> None:
    """Have the tiles of a block fetched together; neighbours side by side as one window."""
    runs: list[tuple[slice, int, int]] = []
    for tile in tiles:
        rows, first, last = runs[-1] if runs else (None, 0, 0)
        if rows == tile.rows and last == tile.cols.start:
            runs[-1] = (tile.rows, first, tile.cols.stop)
        else:
            runs.append((tile.rows, tile.cols.start, tile.cols.stop))
    for own, first, last in runs:
        cube.expect(own, slice(first, last))
