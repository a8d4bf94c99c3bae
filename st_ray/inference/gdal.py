"""Maps as GDAL writes them, through rasterio: Cloud-Optimised GeoTIFF and ENVI.

A raster's plain file is described to GDAL by a few lines of XML (a VRT) with coordinates, colours
and names; one of its drivers then copies it block by block, within a cache of fixed size.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import numpy as np

from st_ray.errors import OutputError, require
from st_ray.inference.layers import CLASSES, Layer, Legend, Made, beside
from st_ray.spectral.metadata import Grid

_CACHE_MB = 128
_TYPES = {"uint8": "Byte", "uint16": "UInt16", "uint32": "UInt32", "float32": "Float32"}
_MOST_COLOURS = 1 << 16  # of a colour table
_NOBODY = "Unclassified"  # ENVI's own name for 0

_COG: dict[str, Any] = {"COMPRESS": "DEFLATE", "BLOCKSIZE": 512, "BIGTIFF": "IF_SAFER"}
# A pixel of an overview is what most of those below it are, or their mean. Shares are noise to a
# compressor: more effort takes twice as long and saves a twentieth.
_IDS: dict[str, Any] = {**_COG, "OVERVIEW_RESAMPLING": "MODE"}
_SHARES: dict[str, Any] = {
    **_COG,
    "OVERVIEW_RESAMPLING": "AVERAGE",
    "PREDICTOR": "YES",
    "LEVEL": 1,
}


def write_cog(made: Made, target: Path) -> None:
    """One Cloud-Optimised GeoTIFF for each raster, such as ``map_probability.tif``.

    Raises:
        OutputError: GDAL cannot write it.
    """
    for layer in made.layers:
        options = _IDS if layer.name == CLASSES else _SHARES
        _copy(layer, made, beside(target, layer), "COG", options)


def write_envi(made: Made, target: Path) -> None:
    """One ENVI raster with its header for each: an ENVI Classification, and Standard ones.

    Raises:
        OutputError: GDAL cannot write it, or ENVI headers cannot hold the coordinates.
    """
    rasterio = require("rasterio", "geo", "writing ENVI", OutputError)
    tame = tuple(name.translate(_NO_LISTS) for name in made.legend.names)
    made = replace(made, legend=replace(made.legend, names=tame))
    for layer in made.layers:
        layer = replace(layer, titles=tuple(title.translate(_NO_LISTS) for title in layer.titles))
        path = beside(target, layer)
        _copy(layer, made, path, "ENVI", {"INTERLEAVE": "BIP" if layer.shape[2] > 1 else "BSQ"})
        Path(f"{path}.aux.xml").unlink(missing_ok=True)  # repeats the header, in part wrongly
        header = path.with_suffix(".hdr")  # whose description is the path of the draft
        header.write_bytes(header.read_bytes().replace(str(path).encode(), path.name.encode()))
        if made.grid is not None:
            with rasterio.open(path) as written:
                kept = tuple(written.transform)[:6]
            if not np.allclose(kept, made.grid.transform, rtol=1e-9, atol=0):
                raise OutputError(
                    f"an ENVI header cannot hold the transform {made.grid.transform}; "
                    "choose --out with .tif"
                )


# Commas, braces and ends of lines end an entry of a header.
_NO_LISTS = str.maketrans(",{}\n\r", ";()  ")


def _copy(layer: Layer, made: Made, path: Path, driver: str, options: dict[str, Any]) -> None:
    rasterio = require("rasterio", "geo", f"writing {path.name}", OutputError)
    copy = require("rasterio.shutil", "geo", f"writing {path.name}", OutputError).copy
    description = layer.path.with_suffix(".vrt")
    description.write_bytes(describe(layer, made.legend, made.grid))
    try:
        with warnings.catch_warnings(), rasterio.Env(GDAL_CACHEMAX=_CACHE_MB):
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            copy(description, path, driver=driver, **options)
    except Exception as problem:  # GDAL's errors have no class in common
        first = str(problem).partition("\n")[0]
        raise OutputError(
            f"cannot write {path.name}: {first}; free space there or choose another --out"
        ) from None


def describe(layer: Layer, legend: Legend, grid: Grid | None) -> bytes:
    """A VRT of a raster's plain file."""
    height, width, bands = layer.shape
    root = Xml.Element("VRTDataset", rasterXSize=str(width), rasterYSize=str(height))
    if grid is not None:
        a, b, c, d, e, f = grid.transform
        _add(root, "SRS", grid.crs)
        _add(root, "GeoTransform", ", ".join(map(repr, (c, a, b, f, d, e))))
    facts = _add(root, "Metadata")
    _add(facts, "MDI", "st_ray", key="TIFFTAG_SOFTWARE")
    for index, name in zip(legend.ids, legend.names, strict=True):
        _add(facts, "MDI", name, key=f"CLASS_{index}")
    for number, title in enumerate(layer.titles):
        band = _add(
            root,
            "VRTRasterBand",
            dataType=_TYPES[layer.dtype],
            band=str(number + 1),
            subClass="VRTRawRasterBand",
        )
        _add(band, "Description", title)
        _add(band, "NoDataValue", f"{layer.nodata:g}")
        if layer.name == CLASSES and legend.most < _MOST_COLOURS:
            _add_legend(band, legend)
        value_bytes = layer.pixel_bytes // bands
        _add(band, "SourceFilename", layer.path.name, relativetoVRT="1")
        _add(band, "ImageOffset", str(number * value_bytes))
        _add(band, "PixelOffset", str(layer.pixel_bytes))
        _add(band, "LineOffset", str(width * layer.pixel_bytes))
    return bytes(Xml.tostring(root, encoding="utf-8"))


def _add_legend(band: Xml.Element, legend: Legend) -> None:
    known = dict(zip(legend.ids, zip(legend.names, legend.colours, strict=True), strict=True))
    _add(band, "ColorInterp", "Palette")
    names, colours = _add(band, "CategoryNames"), _add(band, "ColorTable")
    for index in range(legend.most + 1):
        name, (red, green, blue) = known.get(index, ("" if index else _NOBODY, (0, 0, 0)))
        _add(names, "Category", name)
        _add(
            colours,
            "Entry",
            c1=str(red),
            c2=str(green),
            c3=str(blue),
            c4="255" if index in known else "0",
        )


def _add(parent: Xml.Element, tag: str, text: str | None = None, **attributes: str) -> Xml.Element:
    child = Xml.SubElement(parent, tag, attributes)
    child.text = text
    return child
