"""Hyperspectral cubes on disk, read window by window.

Shape letters: H W scene, B bands.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from st_ray.errors import SceneError
from st_ray.spectral.files import FileStamp
from st_ray.spectral.metadata import Metadata
from st_ray.spectral.readers.base import USUAL, Reader, reading
from st_ray.spectral.readers.choose import open_reader
from st_ray.spectral.registry import locate


@dataclass(frozen=True, kw_only=True, slots=True)
class Extent:
    """Where a scene lies in its cube: from column 0 on.

    Attributes:
        top: Its first row.
        height: Its rows.
        width: Its columns.
    """

    top: int
    height: int
    width: int

    @property
    def bottom(self) -> int:
        """The row after its last."""
        return self.top + self.height

    @property
    def pixels(self) -> int:
        """How many it has."""
        return self.height * self.width

    @property
    def rows(self) -> slice:
        """Its rows."""
        return slice(self.top, self.bottom)


class Cube(Protocol):
    """A cube that is read window by window: of one file, or a mosaic of several.

    Small and picklable: every process that reads it opens the files itself.
    """

    @property
    def path(self) -> str:
        """Where it lies."""

    @property
    def file_shape(self) -> tuple[int, int, int]:
        """(H, W, B) with all bands of the file."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, B) with the kept bands only."""

    @property
    def band_indices(self) -> tuple[int, ...]:
        """Kept bands as numbered in the file, 0-based, in the order `read` returns them."""

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the values as they are stored; of a mosaic, the first scene's."""

    @property
    def extents(self) -> tuple[Extent, ...]:
        """The scenes in it, from top to bottom."""

    @property
    def meta(self) -> Metadata:
        """What the file says of all its bands; of a mosaic, the first's, without a grid."""

    def extent_at(self, row: int) -> Extent:
        """The scene that holds a row."""

    def read(self, rows: slice, cols: slice) -> NDArray[np.float32]:
        """A copy of a window (h, w, B); invalid values are NaN."""

    def expect(self, rows: slice, cols: slice) -> None:
        """Have the system fetch a window from the disk: it will be read soon."""

    def select(self, bands: Iterable[int]) -> Self:
        """The same cube with only these bands, numbered as in the file, in this order."""

    def drop(self, bands: Iterable[int]) -> Self:
        """The same cube without these bands, numbered as in the file."""


_NOTHING_SAID = Metadata()


@dataclass(frozen=True, kw_only=True, slots=True)
class FileCube:
    """A cube in one file. Small and picklable: every process that reads it opens the file itself.

    Attributes:
        path: The file or Zarr store, absolute; of ENVI, the header or the data.
        key: Variable in the file; "" where it holds one array.
        file_shape: (H, W, B) in the file.
        bands: Kept bands as numbered in the file, 0-based; None keeps all.
        nodata: Stored value that stands for "not measured", instead of the file's own; or None.
        registered: Name in the registry, where a machine without ``path`` looks; or None.
        meta: What the file says of its bands and pixels.
        layout: Order of the axes in the file: r rows, c columns, b bands.
        item: Which of the cubes in an array (N, H, W, B) this is; None: the array is the cube.
    """

    path: str
    key: str
    file_shape: tuple[int, int, int]
    bands: tuple[int, ...] | None = None
    nodata: float | None = None
    registered: str | None = None
    meta: Metadata = _NOTHING_SAID
    layout: str = USUAL
    item: int | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, B) with the kept bands only."""
        return (*self.file_shape[:2], len(self.band_indices))

    @property
    def extents(self) -> tuple[Extent, ...]:
        """The one scene."""
        return (self.extent_at(0),)

    def extent_at(self, row: int) -> Extent:
        """The one scene, which holds every row."""
        del row
        return Extent(top=0, height=self.file_shape[0], width=self.file_shape[1])

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the values as they are stored."""
        one = slice(0, 1)
        with reading(Path(self.path)):
            return self._reader().read(one, one, self.band_indices[:1]).dtype

    @property
    def band_indices(self) -> tuple[int, ...]:
        """Kept bands as numbered in the file, 0-based, in the order `read` returns them."""
        return tuple(range(self.file_shape[2])) if self.bands is None else self.bands

    def read(self, rows: slice, cols: slice) -> NDArray[np.float32]:
        """Read a window; only its part of the file is touched.

        Args:
            rows: Rows of the scene.
            cols: Columns of the scene.

        Returns:
            A copy (h, w, B) with the file's scale and offset applied; nodata, infinite and too
            large values are NaN.

        Raises:
            SceneError: The file is not on this machine, or it cannot be read.
        """
        reader = self._reader()
        with reading(Path(self.path)):
            raw = reader.read(rows, cols, self.bands)
        values = self._scaled(raw)
        if raw.dtype.kind == "f" or not self._plain:
            values[~np.isfinite(values)] = np.nan
        nodata = self.meta.nodata if self.nodata is None else self.nodata
        if nodata is not None:
            values[_equals(raw, nodata)] = np.nan
        reader.forget()
        return values

    def expect(self, rows: slice, cols: slice) -> None:
        """See `Cube.expect`."""
        self._reader().expect(rows, cols)

    def select(self, bands: Iterable[int]) -> FileCube:
        """The same cube with only these bands, numbered as in the file, in this order.

        Raises:
            SceneError: A band is not in the file.
        """
        return replace(self, bands=known_bands(bands, self.file_shape[2]))

    def drop(self, bands: Iterable[int]) -> FileCube:
        """The same cube without these bands, numbered as in the file."""
        dropped = set(bands)
        return self.select(band for band in self.band_indices if band not in dropped)

    def _reader(self) -> Reader:
        given = FileStamp.of(self._place()), self.key, self.layout, self.file_shape
        # As who opened the scene has asked, so that it is kept once.
        return open_reader(*given) if self.item is None else open_reader(*given, self.item)

    @property
    def _plain(self) -> bool:
        return set(self.meta.scale) == {1.0} and set(self.meta.offset) == {0.0}

    def _scaled(self, raw: NDArray[np.generic]) -> NDArray[np.float32]:
        """A copy in physical units; factors of small integers lose nothing in float32."""
        with np.errstate(over="ignore"):  # beyond float32: infinite, so NaN
            if self._plain:
                return np.array(raw, dtype=np.float32, order="C")
            values = np.array(raw, dtype=np.result_type(raw.dtype, np.float32), order="C")
            kept = list(self.band_indices)
            for factors, apply in ((self.meta.scale, np.multiply), (self.meta.offset, np.add)):
                each = factors if len(factors) == 1 else [factors[band] for band in kept]
                apply(values, np.asarray(each, values.dtype), out=values)
            return np.asarray(values, dtype=np.float32)

    def _place(self) -> Path:
        path = Path(self.path)
        if path.exists():
            return path
        if self.registered is not None:
            return locate(self.registered)[0]
        raise SceneError(
            f"{path} is not on machine {platform.node()}; put the scene on storage that every "
            "node mounts at the same place"
        )


def known_bands(bands: Iterable[int], count: int) -> tuple[int, ...]:
    """Bands as a tuple.

    Raises:
        SceneError: One is not among the ``count`` of the file, or there is none.
    """
    chosen = tuple(int(band) for band in bands)
    unknown = [band for band in chosen if not 0 <= band < count]
    if unknown or not chosen:
        raise SceneError(f"bands {unknown}: the file has bands 0 to {count - 1}")
    return chosen


def _equals(raw: NDArray[np.generic], value: float) -> NDArray[np.bool_]:
    """Where stored values are this one; a type that cannot hold it has it nowhere."""
    if raw.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return np.asarray(raw == np.asarray(value).astype(raw.dtype), dtype=bool)
    if not np.isfinite(value) or value != int(value):
        return np.zeros(raw.shape, dtype=bool)
    return np.asarray(raw == int(value), dtype=bool)
