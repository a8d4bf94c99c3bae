"""Several scenes of the same bands as one: their pixels one below the other, with space between.

What is cut, split, measured and drawn is one tall scene; a tile never holds pixels of two scenes,
and what lies beyond a scene's border is mirrored there, as it is for a scene alone.
"""

from __future__ import annotations

import glob
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from st_ray.errors import SceneError
from st_ray.spectral.cube import Cube, Extent, FileCube, known_bands
from st_ray.spectral.metadata import Metadata
from st_ray.spectral.resample import ResampledCube, differing_band

# Rows between two scenes at least: a guard band as wide as this crosses no border. (No patch does:
# what lies beyond a scene's border is mirrored.)
_APART = 64

Part: TypeAlias = FileCube | ResampledCube


@dataclass(frozen=True, kw_only=True, slots=True)
class MosaicCube:
    """The cubes of several scenes.

    Attributes:
        parts: Their cubes, with the same bands.
        tops: First row of each in the mosaic, ascending.
        width: Columns of the widest.
    """

    parts: tuple[Part, ...]
    tops: tuple[int, ...]
    width: int

    @property
    def path(self) -> str:
        """The scenes' file, or the first's folder if each has its own."""
        first, last = self.parts[0].path, self.parts[-1].path
        return first if first == last else str(Path(first).parent)

    @property
    def file_shape(self) -> tuple[int, int, int]:
        """(H, W, B): down to the last scene's last row, as wide as the widest, all bands."""
        return (
            self.tops[-1] + self.parts[-1].file_shape[0],
            self.width,
            self.parts[0].file_shape[2],
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, B) with the kept bands only."""
        return (*self.file_shape[:2], len(self.band_indices))

    @property
    def band_indices(self) -> tuple[int, ...]:
        """Kept bands as numbered in the files, 0-based."""
        return self.parts[0].band_indices

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the first scene's values as they are stored."""
        return self.parts[0].dtype

    @property
    def extents(self) -> tuple[Extent, ...]:
        """Where each scene lies."""
        return tuple(self.extent_at(top) for top in self.tops)

    @property
    def meta(self) -> Metadata:
        """What the first scene's file says of its bands; bad ones are those of any scene."""
        bad = {band for part in self.parts for band in part.meta.bad_bands}
        return replace(self.parts[0].meta, grid=None, bad_bands=tuple(sorted(bad)))

    def extent_at(self, row: int) -> Extent:
        """The scene that holds a row, or the last above it."""
        which = bisect_right(self.tops, row) - 1
        height, width, _ = self.parts[which].file_shape
        return Extent(top=self.tops[which], height=height, width=width)

    def read(self, rows: slice, cols: slice) -> NDArray[np.float32]:
        """Read a window (h, w, B); NaN between the scenes."""
        height, width, bands = self.shape
        rows, cols = (slice(*span.indices(size)) for span, size in ((rows, height), (cols, width)))
        out = np.full((rows.stop - rows.start, cols.stop - cols.start, bands), np.nan, np.float32)
        for part, own, here, columns in self._parts_of(rows, cols):
            out[here, : columns.stop - columns.start] = part.read(own, columns)
        return out

    def expect(self, rows: slice, cols: slice) -> None:
        """See `Cube.expect`."""
        for part, own, _, columns in self._parts_of(rows, cols):
            part.expect(own, columns)

    def _parts_of(self, rows: slice, cols: slice) -> Iterator[tuple[Part, slice, slice, slice]]:
        """Scenes that a window meets: rows and columns of each, and its rows of the window."""
        which = max(0, bisect_right(self.tops, rows.start) - 1)
        while which < len(self.tops) and self.tops[which] < rows.stop:
            part, extent = self.parts[which], self.extent_at(self.tops[which])
            which += 1
            first, last = max(rows.start, extent.top), min(rows.stop, extent.bottom)
            right = min(cols.stop, extent.width)
            if first < last and cols.start < right:
                own = slice(first - extent.top, last - extent.top)
                here = slice(first - rows.start, last - rows.start)
                yield part, own, here, slice(cols.start, right)

    def select(self, bands: Iterable[int]) -> MosaicCube:
        """The same scenes with only these bands, numbered as in the files.

        Raises:
            SceneError: A band is not in the files.
        """
        # One tuple for all, which pickle then writes once.
        chosen = known_bands(bands, self.parts[0].file_shape[2])
        return replace(self, parts=tuple(replace(part, bands=chosen) for part in self.parts))

    def drop(self, bands: Iterable[int]) -> MosaicCube:
        """The same scenes without these bands."""
        dropped = set(bands)
        return self.select(band for band in self.band_indices if band not in dropped)


def lay_out(cubes: Sequence[FileCube], align: int, *, resample: bool = False) -> Cube:
    """The mosaic of some cubes; of one, the cube itself.

    Args:
        cubes: Opened cubes, in their order.
        align: Each begins at a multiple of so many rows: the side of a tile.
        resample: Whether cubes at other wavelengths than the first's are interpolated to them.

    Raises:
        SceneError: Their bands differ.
    """
    if len(cubes) == 1:
        return cubes[0]
    parts = (cubes[0], *(_alike(cube, cubes[0], resample=resample) for cube in cubes[1:]))
    tops, top = [], 0
    for part in parts:
        tops.append(top)
        top = -(-(top + part.file_shape[0] + _APART) // align) * align
    width = max(part.file_shape[1] for part in parts)
    return MosaicCube(parts=parts, tops=tuple(tops), width=width)


def _alike(cube: FileCube, first: FileCube, *, resample: bool) -> Part:
    """A cube with the first one's bands.

    Raises:
        SceneError: It has others, and is not to be resampled, or cannot be.
    """
    bands, wanted = cube.file_shape[2], first.file_shape[2]
    own, target = cube.meta.wavelengths, first.meta.wavelengths
    band = differing_band(target, own) if bands == wanted else None
    if bands == wanted and band is None:
        return cube
    if resample and own and target:
        resampled = ResampledCube(source=cube, wavelengths=target)
        resampled.read(slice(0, 1), slice(0, 1))  # wavelengths out of reach end here
        return resampled
    differ = f"{cube.path} has {bands} bands, {first.path} has {wanted}"
    if band is not None:
        differ = (
            f"band {band} of {cube.path} lies at {own[band]:g} nm, that of {first.path} at "
            f"{target[band]:g} nm"
        )
    remedy = "--set scene.resample=true interpolates them to the first scene's wavelengths"
    if not (own and target):
        remedy = "resample one of them to the other's wavelengths first"
    raise SceneError(f"{differ}; scenes of one run need the same bands: {remedy}")


def lay_labels(cube: Cube, rasters: Sequence[NDArray[np.int32]]) -> NDArray[np.int32]:
    """The label rasters of a mosaic's scenes in one (H, W); 0 between them."""
    if len(rasters) == 1:
        return rasters[0]
    labels_HW = np.zeros(cube.shape[:2], np.int32)
    for extent, raster in zip(cube.extents, rasters, strict=True):
        labels_HW[extent.rows, : extent.width] = raster
    return labels_HW


def match_files(scenes: str, labels: str | None) -> list[tuple[str, str | None]]:
    """Pairs of scene and label files that two patterns name.

    Args:
        scenes: A path in which one ``*`` stands for the part that differs, or a plain path.
        labels: Likewise; its ``*`` is filled with what the scene's stood for. None: the scenes'
            own files hold the labels.

    Raises:
        SceneError: No file matches, or a scene has no labels.
    """
    if "*" not in scenes:
        return [(scenes, labels)]
    if scenes.count("*") > 1 or (labels is not None and labels.count("*") != 1):
        raise SceneError(
            f"{scenes!r} with labels {labels!r}: expected one * in each, which stands for what a "
            "scene and its labels are named after"
        )
    head, tail = (part for part in str(Path(scenes).expanduser()).split("*"))
    pattern = f"{glob.escape(head)}*{glob.escape(tail)}"
    found = sorted(glob.glob(pattern))  # noqa: PTH207 - Path.glob takes no absolute pattern
    if not found:
        raise SceneError(f"no file matches {scenes!r} (in {Path.cwd()})")
    pairs = []
    for path in found:
        name = path[len(head) : len(path) - len(tail)]
        raster = None if labels is None else str(Path(labels).expanduser()).replace("*", name)
        if raster is not None and not Path(raster).is_file():
            raise SceneError(f"{path} has no labels: {raster} is not there")
        pairs.append((path, raster))
    return pairs
