"""GeoTIFF and every other raster that GDAL opens, through rasterio."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from st_ray.errors import SceneError, require
from st_ray.spectral.metadata import Grid, Metadata
from st_ray.spectral.readers.base import Hint, Reader, Source
from st_ray.spectral.readers.raster_bands import raster_wavelengths

_CACHE = 256  # MiB of blocks that GDAL keeps; by itself it takes a twentieth of the memory


@contextmanager
def opened(path: Path | str, **options: Any) -> Iterator[Any]:
    """An opened rasterio data set.

    Raises:
        SceneError: rasterio is not installed.
        OSError: GDAL cannot open the file.
    """
    dataset = _open(path, **options)
    try:
        yield dataset
    finally:
        dataset.close()


def grid_of(dataset: Any) -> Grid | None:
    """Where the pixels of a data set lie; None if it does not say."""
    if dataset.transform.is_identity:
        return None
    a, b, c, d, e, f = dataset.transform[:6]
    crs = dataset.crs
    return Grid(crs=crs.to_wkt() if crs else "", transform=(a, b, c, d, e, f))


def describe(path: Path, key: str | None, hint: Hint) -> Source:
    """The cube of a raster: all of its bands.

    Raises:
        SceneError: GDAL cannot open it, it has several images inside, or no real numbers.
    """
    del hint  # a raster names its axes
    try:
        with opened(_subset(path, key)) as dataset:
            if not dataset.count:
                raise SceneError(_several(path, dataset.subdatasets))
            if any(np.dtype(kind).kind not in "biuf" for kind in set(dataset.dtypes)):
                raise SceneError(
                    f"{path}: expected real numbers, found values of type {dataset.dtypes[0]}"
                )
            meta, notes = _meta(dataset, path)
            shape = (dataset.height, dataset.width, dataset.count)
    except OSError as problem:
        raise SceneError(unreadable(path, problem)) from None
    return Source(key=key or "", shape=shape, meta=meta, notes=notes)


def open_reader(path: Path, key: str, layout: str, shape: tuple[int, int, int]) -> Reader:
    """Windows of a raster.

    Raises:
        SceneError: GDAL cannot open it.
    """
    del layout, shape  # as the file says
    try:
        return RasterReader(_open(_subset(path, key)))
    except OSError as problem:
        raise SceneError(unreadable(path, problem)) from None


class RasterReader:
    """Windows of an open data set; GDAL reads the blocks that they touch.

    Args:
        dataset: Of rasterio; not shared between threads.
    """

    def __init__(self, dataset: Any) -> None:
        self._dataset, self._lock = dataset, threading.Lock()

    def read(self, rows: slice, cols: slice, bands: Sequence[int] | None) -> NDArray[np.generic]:
        """See `Reader.read`."""
        indexes = None if bands is None else [band + 1 for band in bands]
        top, bottom, _ = rows.indices(self._dataset.height)
        left, right, _ = cols.indices(self._dataset.width)
        with self._lock, _sparing():
            try:
                values = self._dataset.read(indexes, window=((top, bottom), (left, right)))
            except OSError as problem:
                raise SceneError(unreadable(self._dataset.name, problem)) from None
        return np.asarray(values).transpose(1, 2, 0)

    def expect(self, rows: slice, cols: slice) -> None:
        """Nothing: GDAL's blocks are read when they are wanted."""

    def forget(self) -> None:
        """Nothing: GDAL's cache of blocks is bounded."""


def unreadable(path: Path | str, problem: Exception) -> str:
    """One line on a file that GDAL cannot open or read."""
    return (
        f"cannot read {path}: {reason(problem, path)}; a cube is a .npy, .npz, .mat or HDF5 "
        "array, an ENVI file with its .hdr, a NetCDF or Zarr data set, or a raster that GDAL "
        "reads, such as a GeoTIFF"
    )


def reason(problem: Exception, path: Path | str) -> str:
    """What a library says of a file, in one line and without the file's name."""
    first = (str(problem).splitlines() or [type(problem).__name__])[0]
    return first.replace(f"'{path}'", "").replace(f"{path}:", "").strip(" .")


def _open(path: Path | str, **options: Any) -> Any:
    rasterio = require("rasterio", "geo", f"reading {Path(path).name}")
    with _sparing(), warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        return rasterio.open(path, **options)


@contextmanager
def _sparing() -> Iterator[None]:
    """GDAL with a small cache; the first read settles its size."""
    import rasterio

    with rasterio.Env(GDAL_CACHEMAX=_CACHE):
        yield


def _subset(path: Path, key: str | None) -> Path | str:
    """An image inside a file, by its full name or the end of it."""
    if not key:
        return path
    with opened(path) as dataset:
        inside: list[str] = list(dataset.subdatasets)
    for name in inside:
        if key in (name, name.rpartition(":")[2], name.rpartition("/")[2]):
            return name
    if inside:
        raise SceneError(_several(path, inside))
    raise SceneError(f"{path} holds one image, without keys; leave --set scene.cube_key={key} out")


def _several(path: Path, inside: Sequence[str]) -> str:
    if not inside:
        return f"{path}: expected a raster, found no band in it"
    listing = ", ".join(name.rpartition(":")[2] for name in inside)
    return f"{path} holds several images: {listing}; say which with --set scene.cube_key=NAME"


def _meta(dataset: Any, path: Path) -> tuple[Metadata, tuple[str, ...]]:
    names = tuple(text or "" for text in dataset.descriptions)
    given = (value for value in dataset.nodatavals if value is not None)
    # As text, in which every NaN is the same.
    kinds = list(dict.fromkeys(f"{value:.17g}" for value in given))
    notes: tuple[str, ...] = ()
    if len(kinds) > 1:
        listing = ", ".join(f"{float(value):g}" for value in kinds)
        notes = (
            f"{path.name}: its bands have different nodata values ({listing}); the first used",
        )
    meta = Metadata(
        wavelengths=raster_wavelengths(dataset, path),
        band_names=names if any(names) else (),
        scale=_single(dataset.scales),
        offset=_single(dataset.offsets),
        nodata=float(kinds[0]) if kinds else None,
        bad_bands=_bad_bands(dataset),
        grid=grid_of(dataset),
    )
    return meta, notes


def _single(values: Sequence[float]) -> tuple[float, ...]:
    return (float(values[0]),) if len(set(values)) == 1 else tuple(map(float, values))


def _bad_bands(dataset: Any) -> tuple[int, ...]:
    words = dataset.tags().get("bbl", "").strip("{} ").replace(",", " ").split()
    if len(words) != dataset.count:
        return ()
    return tuple(band for band, word in enumerate(words) if word in ("0", "0.0"))
