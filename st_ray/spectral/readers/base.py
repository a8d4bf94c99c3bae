"""What every reader gives: what a file holds, and windows of it.

Shape letters: H W scene, B bands, h w window. Letters of a layout: r rows, c columns, b bands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from st_ray.errors import SceneError, StRayError
from st_ray.spectral.metadata import Metadata

USUAL = "rcb"  # rows, columns, bands
_AXES = {"r": "rows", "c": "columns", "b": "bands"}
_MOST_RUNS = 32  # beyond it, one read of all bands between is faster than many small ones


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """The cube that a file holds.

    Attributes:
        key: Its variable in the file; "" where there is one array.
        shape: (H, W, B).
        layout: Order of the axes in the file, such as "brc".
        meta: What the file says of bands and pixels.
        notes: What was repaired or left out, one line each.
    """

    key: str
    shape: tuple[int, int, int]
    layout: str = USUAL
    meta: Metadata = field(default_factory=Metadata)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Hint:
    """What is known of a cube from elsewhere, for files that do not name their axes.

    Attributes:
        raster: (H, W) of its labels, asked only where it is needed; gives None if unknown.
        bands: Number of bands, or None.
    """

    raster: Callable[[], tuple[int, int] | None] = lambda: None
    bands: int | None = None


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Around what a library does with a file.

    Raises:
        SceneError: The library raised anything: on a damaged file it may.
    """
    try:
        yield
    except StRayError:
        raise
    except Exception as problem:
        first = (str(problem).splitlines() or [""])[0] or type(problem).__name__
        if isinstance(problem, OSError) and problem.strerror:
            first = problem.strerror
        raise SceneError(f"cannot read {path}: {first}") from None


class Reader(Protocol):
    """An opened file. Kept by the process that opened it, never sent to another."""

    def read(self, rows: slice, cols: slice, bands: Sequence[int] | None) -> NDArray[np.generic]:
        """Values (h, w, B) as they are stored; possibly a view of a mapped file."""

    def expect(self, rows: slice, cols: slice) -> None:
        """Have the system fetch a window, where it can."""

    def forget(self) -> None:
        """Give back memory that reading has filled; called when a window has been copied."""


class SlicedReader:
    """Windows of anything that is sliced like a NumPy array of three axes.

    Args:
        array: Such as an HDF5 data set.
        layout: Order of its axes.
    """

    def __init__(self, array: Any, layout: str) -> None:
        self.array, self.layout = array, layout

    def read(self, rows: slice, cols: slice, bands: Sequence[int] | None) -> NDArray[np.generic]:
        """See `Reader.read`."""
        return cut_bands(lambda run: self._window(rows, cols, run), bands)

    def expect(self, rows: slice, cols: slice) -> None:
        """Nothing: compressed chunks cannot be fetched ahead."""

    def forget(self) -> None:
        """Nothing: what was read is a copy."""

    def _window(self, rows: slice, cols: slice, bands: slice) -> NDArray[np.generic]:
        wanted = {"r": rows, "c": cols, "b": bands}
        values = np.asarray(self.array[tuple(wanted[axis] for axis in self.layout)])
        return values.transpose([self.layout.index(axis) for axis in USUAL])


def cut_bands(
    window: Callable[[slice], NDArray[np.generic]], bands: Sequence[int] | None
) -> NDArray[np.generic]:
    """A window (h, w, B) of some bands, joined from runs of neighbouring ones if they are few.

    Args:
        window: Gives the window of a run of bands.
        bands: Which; None for all.
    """
    if bands is None:
        return window(slice(None))
    runs = band_runs(tuple(bands))
    if len(runs) > _MOST_RUNS:
        low = min(bands)
        return window(slice(low, max(bands) + 1))[:, :, [band - low for band in bands]]
    parts = [window(run) for run in runs]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)


@lru_cache(maxsize=64)
def band_runs(bands: tuple[int, ...]) -> list[slice]:
    """Bands as runs of neighbours, in their order: [0, 1, 5] is [0:2, 5:6]."""
    runs: list[slice] = []
    for band in bands:
        if runs and runs[-1].stop == band:
            runs[-1] = slice(runs[-1].start, band + 1)
        else:
            runs.append(slice(band, band + 1))
    return runs


def sizes(layout: str, stored: Sequence[int]) -> tuple[int, int, int]:
    """(H, W, B) of an array of stored shape."""
    height, width, bands = (int(stored[layout.index(axis)]) for axis in USUAL)
    return height, width, bands


def orient(stored: Sequence[int], hint: Hint) -> tuple[str, str | None]:
    """The layout of an array that does not name its axes, and a note if it is not the usual one.

    It is rows, columns, bands, unless only another order, with rows still before columns, fits
    the labels or the number of bands.
    """
    raster = hint.raster()
    if raster is not None:
        fitting = [layout for layout in ("brc", "rbc") if sizes(layout, stored)[:2] == raster]
        if tuple(stored[:2]) == raster or len(fitting) != 1:
            return USUAL, None
        return fitting[0], told(fitting[0], "as its labels show")
    if hint.bands is not None and stored[2] != hint.bands == stored[0]:
        return "brc", told("brc", f"as its {hint.bands} bands show")
    return USUAL, None


def told(layout: str, why: str) -> str:
    """One line on a layout that is not the usual one."""
    axes = " x ".join(_AXES[axis] for axis in layout)
    return f"the cube is stored as {axes}, {why}; it is read as rows x columns x bands"
