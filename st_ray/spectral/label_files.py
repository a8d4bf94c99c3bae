"""Label rasters in files: class ids with their names, colours and coordinates, if it has any.

Shape letters: H W the raster's own.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from st_ray.errors import SceneError, require
from st_ray.spectral.files import (
    ARRAY_SUFFIXES,
    IMAGE_SUFFIXES,
    Wanted,
    find_key,
    read_array,
)
from st_ray.spectral.heads import check_room
from st_ray.spectral.metadata import Grid
from st_ray.spectral.readers.base import reading
from st_ray.spectral.readers.choose import family
from st_ray.spectral.readers.envi import open_envi, read_meta
from st_ray.spectral.readers.envi_header import Colour, classes
from st_ray.spectral.readers.hdf5 import is_hdf5
from st_ray.spectral.readers.raster import grid_of, opened, reason

_NAMES_BESIDE = ".aux.xml"  # where GDAL keeps the names of a raster's categories
_LARGEST_BESIDE = 16 << 20  # bytes
_PNG_TAIL = 4096  # bytes, in which a .png says that it ends
_SAME = 1e-3  # of a pixel, by which two grids may differ


def whole_numbers(raster: NDArray[np.generic]) -> bool:
    """Whether every value is a whole number, of whatever type."""
    if raster.dtype.kind != "f":
        return raster.dtype.kind in "biu"
    return bool((np.isfinite(raster) & (raster == np.trunc(raster))).all())


_LABELS = Wanted(what="label raster", ndim=2, option="scene.labels_key", accepts=whole_numbers)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LabelRaster:
    """A raster of class ids.

    Attributes:
        values: (H, W) of any type.
        grid: Where its pixels lie, or None.
        nodata: Value that stands for "unlabelled" beside 0, or None.
        names: Class id to name, where the file says.
        colours: Class id to colour, where the file says.
        notes: What was repaired, one line each.
    """

    values: NDArray[np.generic]
    grid: Grid | None = None
    nodata: float | None = None
    names: dict[int, str] = field(default_factory=dict)
    colours: dict[int, Colour] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_raster(path: Path, key: str | None) -> LabelRaster:
    """Read the label raster of a file.

    Args:
        path: An array file, an ENVI classification, or any raster that GDAL opens.
        key: Variable in an array file; None finds the only integer-valued 2-D one.

    Raises:
        SceneError: Unreadable, no raster in it, or more than one.
    """
    if path.is_dir():
        raise SceneError(f"labels {path}: expected a file, found a folder")
    with reading(path):
        return _read(path, key)


def _read(path: Path, key: str | None) -> LabelRaster:
    kind = family(path)
    if path.suffix.lower() in ARRAY_SUFFIXES or is_hdf5(path):
        return LabelRaster(values=read_array(path, find_key(path, key, _LABELS)))
    if key is not None:
        raise SceneError(
            f"{path} holds one array, without keys; leave --set scene.labels_key={key} out"
        )
    if kind == "envi":
        return _read_envi(path)
    return _read_image(path)


def same_grid(one: Grid, other: Grid, shape: Sequence[int]) -> bool:
    """Whether the pixels of two rasters of this (H, W) coincide."""
    a, b, c, d, e, f = (x - y for x, y in zip(one.transform, other.transform, strict=True))
    width = max(abs(one.transform[0]) + abs(one.transform[1]), 1e-300)
    corners = [(0, 0), (shape[1], 0), (0, shape[0]), (shape[1], shape[0])]
    off = max(max(abs(a * x + b * y + c), abs(d * x + e * y + f)) for x, y in corners)
    return off <= _SAME * width and (one.crs == other.crs or _same_crs(one.crs, other.crs))


def warp(
    ids_HW: NDArray[np.int32], source: Grid, target: Grid, shape: Sequence[int]
) -> NDArray[np.int32]:
    """Class ids on another grid, by nearest neighbour; 0 where the raster does not reach.

    Args:
        ids_HW: Class ids, 0 = unlabelled.
        source: Where they lie; its CRS is known.
        target: Where they are wanted, in any CRS.
        shape: (H, W) of the target.
    """
    warping = require("rasterio.warp", "geo", "warping labels")
    affine = require("rasterio.transform", "geo", "warping labels").Affine
    out = np.zeros(tuple(shape), np.int32)
    warping.reproject(
        ids_HW,
        out,
        src_transform=affine(*source.transform),
        src_crs=source.crs,
        src_nodata=0,
        dst_transform=affine(*target.transform),
        dst_crs=target.crs,
        dst_nodata=0,
        resampling=warping.Resampling.nearest,
        tolerance=0,  # exact: by default a pixel may come from an eighth of a pixel away
    )
    return out


def _same_crs(one: str, other: str) -> bool:
    if not one or not other:
        return False
    crs = require("rasterio.crs", "geo", "comparing coordinates").CRS
    return bool(crs.from_user_input(one) == crs.from_user_input(other))


def _read_envi(path: Path) -> LabelRaster:
    file = open_envi(path)
    if file.layout.shape[2] != 1:
        raise _not_flat(path, file.layout.shape)
    meta, notes = read_meta(file)
    named, colours = classes(file.fields)
    values = file.reader().read(slice(None), slice(None), None)[:, :, 0]
    return LabelRaster(
        values=np.array(values),
        grid=meta.grid,
        nodata=meta.nodata,
        names=named,
        colours=colours,
        notes=(*file.layout.repairs, *notes),
    )


def _read_image(path: Path) -> LabelRaster:
    """Through GDAL; a plain picture can be read without it."""
    if path.suffix.lower() in IMAGE_SUFFIXES and find_spec("rasterio") is None:
        return LabelRaster(values=read_array(path, find_key(path, None, _LABELS)))
    try:
        with opened(path) as dataset:
            if dataset.count != 1:
                raise _not_flat(path, (dataset.height, dataset.width, dataset.count))
            size = np.dtype(dataset.dtypes[0]).itemsize
            check_room(path, dataset.height * dataset.width * size)
            if path.suffix.lower() == ".png":
                _check_picture(path)
            return LabelRaster(
                values=dataset.read(1),
                grid=grid_of(dataset),
                nodata=dataset.nodata,
                names=_names_beside(path),
                colours=_colour_table(dataset),
            )
    except OSError as problem:
        raise SceneError(f"cannot read labels {path}: {reason(problem, path)}; {_KINDS}") from None


def _check_picture(path: Path) -> None:
    """See that a .png is whole: of one cut short GDAL gives what it has, and noise.

    Raises:
        OSError: It is not.
    """
    with path.open("rb") as file:
        file.seek(-min(_PNG_TAIL, path.stat().st_size), os.SEEK_END)
        if b"IEND" not in file.read():
            raise OSError("the file is cut short")


_KINDS = (
    "labels are a .npy, .npz, .mat or HDF5 array, an ENVI classification, a raster such as a "
    ".tif or .png, or polygons or points (.gpkg, .geojson, .shp, .fgb)"
)


def _not_flat(path: Path, shape: tuple[int, int, int]) -> SceneError:
    return SceneError(
        f"{path}: expected a label raster of 2 dimensions (rows, columns), found {shape}"
    )


def _colour_table(dataset: Any) -> dict[int, Colour]:
    try:
        table: dict[int, tuple[int, int, int, int]] = dataset.colormap(1)
    except ValueError:  # it has none
        return {}
    return {index: colour[:3] for index, colour in table.items() if index != 0}


def _names_beside(path: Path) -> dict[int, str]:
    """Category names that GDAL keeps in an .aux.xml file beside a raster."""
    beside = path.with_name(path.name + _NAMES_BESIDE)
    if not beside.is_file() or beside.stat().st_size > _LARGEST_BESIDE:
        return {}
    try:
        found = ElementTree.parse(beside).iterfind("./PAMRasterBand/CategoryNames/Category")
        texts = [item.text or "" for item in found]
    except ElementTree.ParseError:
        return {}
    return {index: text for index, text in enumerate(texts) if index and text}
