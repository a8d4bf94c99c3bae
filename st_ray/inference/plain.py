"""Maps without GDAL: NumPy arrays, a PNG with a palette, and Zarr."""

from __future__ import annotations

import shutil
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from st_ray.errors import OutputError, require
from st_ray.inference.layers import CLASSES, Layer, Legend, Made, beside, windows
from st_ray.report.palette import UNLABELLED
from st_ray.spectral.metadata import Grid

_CHUNK = 512  # pixels on a side
_BLOCK = 1 << 20


def write_npy(made: Made, target: Path) -> None:
    """One array for each raster: ``map.npy`` (H, W), ``map_probability.npy`` (H, W, C)."""
    for layer in made.layers:
        shape = layer.shape if layer.shape[2] > 1 else layer.shape[:2]
        kind = {"descr": np.dtype(layer.dtype).str, "fortran_order": False, "shape": shape}
        with beside(target, layer).open("wb") as file, layer.path.open("rb") as values:
            np.lib.format.write_array_header_1_0(file, kind)
            shutil.copyfileobj(values, file, _BLOCK)


def write_png(made: Made, target: Path) -> None:
    """The class ids as a picture whose palette holds their colours, row by row.

    Written here because every library takes a picture whole.
    """
    layer, legend = made.layers[0], made.legend
    height, width, _ = layer.shape
    palette = [UNLABELLED] * (legend.most + 1)
    for index, colour in zip(legend.ids, legend.colours, strict=True):
        palette[index] = colour
    with target.open("wb") as file, layer.path.open("rb") as values:
        file.write(b"\x89PNG\r\n\x1a\n")
        # Eight bits a pixel, colours by palette.
        _chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0))
        _chunk(file, b"PLTE", bytes(part for colour in palette for part in colour))
        for block in _deflated(values, width):
            _chunk(file, b"IDAT", block)
        _chunk(file, b"IEND", b"")


def _deflated(values: BinaryIO, width: int) -> Iterator[bytes]:
    packer, pending = zlib.compressobj(), b""
    while line := values.read(width):
        pending += packer.compress(b"\0" + line)  # each line says how it is filtered: not at all
        if len(pending) > _BLOCK:
            yield pending
            pending = b""
    yield pending + packer.flush()


def _chunk(file: BinaryIO, kind: bytes, content: bytes) -> None:
    file.write(struct.pack(">I", len(content)) + kind + content)
    file.write(struct.pack(">I", zlib.crc32(kind + content)))


def write_zarr(made: Made, target: Path) -> None:
    """One group of all rasters, with coordinates as xarray and GDAL read them (CF).

    Raises:
        OutputError: The package zarr is not installed.
    """
    zarr = require("zarr", "netcdf", f"writing {target.name}", OutputError)
    group = zarr.open_group(str(target), mode="w", zarr_format=2)
    group.attrs["software"] = "st_ray"
    placed = _write_coordinates(group, made)
    for layer in made.layers:
        array = _make_array(group, layer)
        array.attrs.update({**_facts(layer, made.legend), **placed})
        source = layer.open()
        for rows, cols in windows(layer.shape, _CHUNK):
            values = source[rows, cols]
            array[rows, cols] = values if layer.shape[2] > 1 else values[:, :, 0]
    zarr.consolidate_metadata(str(target), zarr_format=2)


def _make_array(group: Any, layer: Layer) -> Any:
    bands = layer.shape[2]
    many = bands > 1
    array = group.create_array(
        layer.name,
        shape=layer.shape if many else layer.shape[:2],
        chunks=(_CHUNK, _CHUNK, bands) if many else (_CHUNK, _CHUNK),
        dtype=layer.dtype,
        fill_value=layer.nodata,
    )
    array.attrs["_ARRAY_DIMENSIONS"] = ["y", "x", "class"] if many else ["y", "x"]
    return array


def _facts(layer: Layer, legend: Legend) -> dict[str, Any]:
    if layer.name != CLASSES:
        return {"long_name": layer.name, "units": "1"}
    return {
        "long_name": "class",
        "flag_values": list(legend.ids),
        "flag_meanings": " ".join("_".join(name.split()) for name in legend.names),
        "flag_colors": " ".join("#{:02x}{:02x}{:02x}".format(*colour) for colour in legend.colours),
    }


def _write_coordinates(group: Any, made: Made) -> dict[str, str]:
    """Axes of pixel centres and the reference system; gives what points a raster to it."""
    if len(made.layers) > 1:
        names = _axis(group, "class", np.array(made.legend.ids, "int32"))
        names.attrs["names"] = list(made.legend.names)
    grid: Grid | None = made.grid
    if grid is None:
        return {}
    a, b, c, d, e, f = grid.transform
    height, width, _ = made.layers[0].shape
    if b == d == 0:  # else x and y are no axes; the transform tells all
        _axis(group, "x", c + a * (np.arange(width) + 0.5)).attrs["axis"] = "X"
        _axis(group, "y", f + e * (np.arange(height) + 0.5)).attrs["axis"] = "Y"
    place = group.create_array("spatial_ref", shape=(), dtype="int64")
    place.attrs.update(
        {
            "_ARRAY_DIMENSIONS": [],
            "crs_wkt": grid.crs,
            "spatial_ref": grid.crs,
            "GeoTransform": " ".join(map(repr, (c, a, b, f, d, e))),
        }
    )
    return {"grid_mapping": "spatial_ref"}


def _axis(group: Any, name: str, values: np.typing.NDArray[Any]) -> Any:
    array = group.create_array(name, shape=values.shape, dtype=values.dtype, chunks=values.shape)
    array[:] = values
    array.attrs["_ARRAY_DIMENSIONS"] = [name]
    return array
