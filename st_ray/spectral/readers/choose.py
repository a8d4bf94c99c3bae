"""Which reader opens a file: by its name, and by what is in it."""

from __future__ import annotations

import math
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from st_ray.errors import SceneError
from st_ray.spectral.files import ARRAY_SUFFIXES, FileStamp
from st_ray.spectral.readers.base import Hint, Reader, Source, reading
from st_ray.spectral.readers.envi import HEADER, header_beside
from st_ray.spectral.readers.hdf5 import is_hdf5
from st_ray.spectral.readers.zarr_arrays import is_zarr, names_axes

_NETCDF_SUFFIXES = (".nc", ".nc4", ".cdf", ".netcdf")
_NETCDF_3 = (b"CDF\x01", b"CDF\x02", b"CDF\x05")
# ENVI writes a .hdr beside these too, which then says nothing of how the values lie.
_OWN_HEADER = (".tif", ".tiff", ".png", ".jpg", ".jp2", ".vrt")
_KEPT = 16  # open files a process


class Family(Protocol):
    """A module of this package that reads some formats."""

    def describe(self, path: Path, key: str | None, hint: Hint) -> Source:
        """The cube in a file."""

    def open_reader(self, path: Path, key: str, layout: str, shape: tuple[int, int, int]) -> Reader:
        """Windows of it."""


def family(path: Path) -> str:
    """The name of the module that reads a file or folder.

    Raises:
        SceneError: It is a folder of no known kind, or not there.
        OSError: It may not be read.
    """
    if path.is_dir():
        if is_zarr(path):
            return "netcdf" if names_axes(path) else "zarr_arrays"
        raise SceneError(f"{path} is a folder; give the path of a file (or of a Zarr store)")
    if not path.is_file():
        raise SceneError(f"no such file: {path}")
    suffix = path.suffix.lower()
    if suffix in ARRAY_SUFFIXES:
        return "arrays"
    if suffix in _NETCDF_SUFFIXES:
        return "netcdf"
    if suffix == HEADER or (suffix not in _OWN_HEADER and header_beside(path) is not None):
        return "envi"
    with path.open("rb") as file:
        start = file.read(4)
    if start in _NETCDF_3:
        return "netcdf"
    return "arrays" if is_hdf5(path) else "raster"


def describe(path: Path, key: str | None, hint: Hint) -> Source:
    """What a file holds: its cube's shape and layout, and what it says of bands and pixels.

    Args:
        path: A file, or a Zarr store.
        key: The cube's variable, or None to find it.
        hint: What is known from elsewhere.

    Raises:
        SceneError: It cannot be read; one line.
    """
    with reading(path):
        source = _module(family(path)).describe(path, key, hint)
    if min(source.shape) < 1:
        raise SceneError(f"{path}: expected a cube, found one of shape {source.shape}")
    source.meta.check(source.shape[2], str(path))
    factors = (*source.meta.scale, *source.meta.offset)
    if not all(math.isfinite(factor) for factor in factors) or 0 in source.meta.scale:
        listing = ", ".join(f"{factor:g}" for factor in dict.fromkeys(factors))
        raise SceneError(f"{path}: its scale factors and offsets ({listing}) make no values")
    return source


@lru_cache(maxsize=_KEPT)
def open_reader(
    stamp: FileStamp, key: str, layout: str, shape: tuple[int, int, int], item: int | None = None
) -> Reader:
    """The opened file; kept open per process.

    Args:
        stamp: The file.
        key: The cube's variable.
        layout: Order of its axes.
        shape: (H, W, B).
        item: Of an array of many cubes, which one; None: the array is the cube.

    Raises:
        SceneError: It cannot be read.
    """
    path = Path(stamp.path)
    with reading(path):
        if item is None:
            return _module(family(path)).open_reader(path, key, layout, shape)
        from st_ray.spectral.readers.arrays import open_item

        return open_item(path, key, item)


def _module(name: str) -> Family:
    return cast("Family", import_module(f"st_ray.spectral.readers.{name}"))
