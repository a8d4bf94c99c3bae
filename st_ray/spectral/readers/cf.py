"""What NetCDF variables mean, by the CF conventions and by habit.

Data sets are xarray's. Letters of a layout: r rows, c columns, b bands.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from st_ray.errors import StRayError, require
from st_ray.spectral.metadata import Grid
from st_ray.spectral.wavelengths import is_wavelength_unit, to_nanometres

_NAMES = {
    "b": ("band", "bands", "wavelength", "wavelengths", "wl", "lambda", "channel", "channels"),
    "r": ("y", "lat", "latitude", "row", "rows", "line", "lines", "northing", "downtrack"),
    "c": ("x", "lon", "longitude", "col", "column", "columns", "sample", "samples", "crosstrack"),
}
_STANDARD = {
    "b": ("radiation_wavelength", "sensor_band_central_radiation_wavelength"),
    "r": ("projection_y_coordinate", "latitude"),
    "c": ("projection_x_coordinate", "longitude"),
}
_GOOD = ("good_wavelengths", "good_bands")
_GEOGRAPHIC = "EPSG:4326"
_UNEVEN = 0.05  # of a pixel, by which coordinates may lie off even steps


def axes_of(dataset: Any, name: str) -> str | None:
    """The layout of a variable of three axes, by their names; None if they do not tell."""
    dims = [str(dim) for dim in dataset[name].dims]
    letters = [_letter(dataset, dim) for dim in dims]
    known = [letter for letter in letters if letter]
    if len(set(known)) != len(known) or not known:
        return None
    missing = [letter for letter in "rcb" if letter not in known]
    if len(missing) > 1 and "b" in missing:
        return None
    # Of the two axes that are left beside the bands, rows come first.
    return "".join(letter or missing.pop(0) for letter in letters)


def band_centres(
    groups: Mapping[str, Any], dataset: Any, band_axis: str, bands: int
) -> tuple[float, ...]:
    """Nanometres of each band, from a variable along the bands; empty if there is none.

    Args:
        groups: All data sets of the file: some keep wavelengths apart from the cube.
        dataset: The cube's own.
        band_axis: Name of its axis of bands.
        bands: How many there are.
    """
    for each in (dataset, *groups.values()):
        for name, variable in each.variables.items():
            unit = variable.attrs.get("units")
            along = str(name) == band_axis and (unit is None or is_wavelength_unit(unit))
            named = str(name).lower() in ("wavelength", "wavelengths", "wl")
            standard = variable.attrs.get("standard_name") in _STANDARD["b"]
            if (
                variable.shape == (bands,)
                and variable.dtype.kind in "iuf"
                and (along or named or standard)
            ):
                centres = to_nanometres(np.asarray(variable.values, np.float64).tolist(), unit)
                if centres:
                    return centres
    return ()


def bad_bands(groups: Mapping[str, Any], bands: int) -> tuple[int, ...]:
    """Bands that a variable of flags, 1 for a good one, marks as bad."""
    for each in groups.values():
        for name, variable in each.variables.items():
            if str(name).lower() in _GOOD and variable.shape == (bands,):
                return tuple(int(band) for band in np.flatnonzero(np.asarray(variable.values) == 0))
    return ()


def grid_of(dataset: Any, name: str, layout: str) -> Grid | None:
    """Where the pixels lie: of evenly spaced coordinates, or GDAL's attribute; None if unknown."""
    variable = dataset[name]
    rows, cols = (str(variable.dims[layout.index(axis)]) for axis in "rc")
    mapping = _mapping(dataset, variable)
    crs = _wkt(mapping)
    if rows in dataset.coords and cols in dataset.coords:
        y, x = (_even(dataset.coords[dim]) for dim in (rows, cols))
        if y is not None and x is not None:
            if not crs and _in_degrees(dataset, cols):
                crs = _user_crs(_GEOGRAPHIC)
            return Grid(crs=crs, transform=(x[1], 0.0, x[0], 0.0, y[1], y[0]))
    words = str(mapping.get("GeoTransform", "")).split()
    if len(words) == 6:
        c, a, b, f, d, e = (float(word) for word in words)
        return Grid(crs=crs, transform=(a, b, c, d, e, f))
    return None


def _letter(dataset: Any, dim: str) -> str | None:
    said = dataset.variables[dim].attrs if dim in dataset.variables else {}
    for letter, names in _NAMES.items():
        if dim.lower() in names or said.get("standard_name") in _STANDARD[letter]:
            return letter
    if is_wavelength_unit(said.get("units")):
        return "b"
    return {"Y": "r", "X": "c"}.get(str(said.get("axis")))


def _mapping(dataset: Any, variable: Any) -> Mapping[str, Any]:
    """The attributes of the variable that holds the projection."""
    named = variable.attrs.get("grid_mapping") or variable.encoding.get("grid_mapping")
    first = str(named or "").split(":")[0].strip()  # "crs: x y" names the coordinates too
    for name in (first, "spatial_ref", "crs"):
        if name in dataset.variables:
            found: Mapping[str, Any] = dataset.variables[name].attrs
            return found
    return {}


def _wkt(mapping: Mapping[str, Any]) -> str:
    for name in ("crs_wkt", "spatial_ref"):
        if mapping.get(name):
            return _user_crs(str(mapping[name]))
    return (
        _user_crs(f"EPSG:{mapping['epsg_code']}".replace("EPSG:EPSG:", "EPSG:"))
        if mapping.get("epsg_code")
        else ""
    )


def _user_crs(text: str) -> str:
    """A system as WKT in GDAL's words, so that two files of one system have the same."""
    crs = require("rasterio.crs", "geo", "reading coordinates").CRS
    errors = require("rasterio.errors", "geo", "reading coordinates")
    try:
        return str(crs.from_user_input(text).to_wkt())
    except (errors.CRSError, StRayError):
        return text


def _in_degrees(dataset: Any, dim: str) -> bool:
    said = dataset.coords[dim].attrs
    return said.get("standard_name") == "longitude" or "degrees_east" in str(said.get("units"))


def _even(coordinate: Any) -> tuple[float, float] | None:
    """The outer edge of the first pixel and the step of evenly spaced centres, or None."""
    stored = np.asarray(coordinate.values)
    values = stored.astype(np.float64)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
        return None
    step = float(values[-1] - values[0]) / (len(values) - 1)
    off = np.abs(values - (values[0] + step * np.arange(len(values)))).max()
    digits = np.finfo(stored.dtype).eps if stored.dtype.kind == "f" else 0.0
    if step == 0 or off > _UNEVEN * abs(step) + digits * np.abs(values).max():
        return None
    return float(values[0]) - step / 2, step
