"""NetCDF and Zarr, through xarray: axes, units and coordinates by their names."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from st_ray.errors import SceneError, require, unknown_name
from st_ray.spectral.metadata import Metadata
from st_ray.spectral.readers.base import (
    USUAL,
    Hint,
    Reader,
    SlicedReader,
    Source,
    orient,
    reading,
    sizes,
    told,
)
from st_ray.spectral.readers.cf import axes_of, bad_bands, band_centres, grid_of
from st_ray.spectral.readers.hdf5 import is_hdf5

_VARIABLES = 12  # listed in one line


def describe(path: Path, key: str | None, hint: Hint) -> Source:
    """The only variable with three axes, or the one named.

    Raises:
        SceneError: Unreadable, no such variable, or more than one.
    """
    with reading(path), _quiet():
        groups = _open(path)
        cubes = {
            f"{group}/{name}".lstrip("/"): (dataset, str(name))
            for group, dataset in groups.items()
            for name, variable in dataset.data_vars.items()
            if variable.ndim == 3 and variable.dtype.kind in "biuf" and min(variable.shape) > 0
        }
        chosen = _choose(path, key, {name: cubes[name][0][cubes[name][1]].dims for name in cubes})
        dataset, name = cubes[chosen]
        return _source(path, chosen, dataset, name, groups, hint)


def open_reader(path: Path, key: str, layout: str, shape: tuple[int, int, int]) -> Reader:
    """Windows of a variable; only the chunks that a window touches are read.

    Raises:
        SceneError: Unreadable.
    """
    del shape
    group, _, name = key.rpartition("/")
    with reading(path), _quiet():
        return SlicedReader(_open(path)[f"/{group}"][name].variable, layout)


def _source(
    path: Path,
    key: str,
    dataset: Any,
    name: str,
    groups: Mapping[str, Any],
    hint: Hint,
) -> Source:
    variable, notes = dataset[name], []
    layout = axes_of(dataset, name)
    if layout is None:
        layout, note = orient(variable.shape, hint)
        notes.append(f"{path.name}: {note}" if note else _guessed(path, key, variable.dims))
    elif layout != USUAL:
        notes.append(f"{path.name}: {told(layout, 'as its axes are named')}")
    shape, said = sizes(layout, variable.shape), variable.attrs
    band_axis = str(variable.dims[layout.index("b")])
    meta = Metadata(
        wavelengths=band_centres(groups, dataset, band_axis, shape[2]),
        scale=(_number(said, 1.0, "scale_factor"),),
        offset=(_number(said, 0.0, "add_offset"),),
        nodata=_number(said, None, "_FillValue", "missing_value"),
        bad_bands=bad_bands(groups, shape[2]),
        grid=grid_of(dataset, name, layout),
    )
    return Source(key=key, shape=shape, layout=layout, meta=meta, notes=tuple(notes))


def _choose(path: Path, key: str | None, cubes: Mapping[str, Any]) -> str:
    if key is not None:
        if key not in cubes:
            raise SceneError(f"{path}: {unknown_name('variable', key, cubes)}")
        return key
    if len(cubes) == 1:
        return next(iter(cubes))
    listing = ", ".join(f"{name} {dims}" for name, dims in list(cubes.items())[:_VARIABLES])
    expected = f"{path}: expected a variable of 3 dimensions (rows, columns, bands), found"
    if not cubes:
        raise SceneError(f"{expected} none")
    raise SceneError(f"{expected} {listing}; say which with --set scene.cube_key=NAME")


def _guessed(path: Path, key: str, dims: tuple[Any, ...]) -> str:
    return f"{path.name}: the axes of {key}, {dims}, are taken as rows, columns, bands"


def _number(said: Mapping[str, Any], usual: Any, *names: str) -> Any:
    """The first of some attributes that is a single number."""
    for name in names:
        value = np.asarray(said.get(name, ""))
        if value.size == 1 and value.dtype.kind in "biuf":
            return float(value.reshape(-1)[0])
    return usual


def _open(path: Path) -> Mapping[str, Any]:
    """The groups of a file as xarray data sets by name, "/" first; values stay on disk."""
    xarray = require("xarray", "netcdf", f"reading {path.name}")
    options = {"mask_and_scale": False, "decode_times": False, "cache": False}
    if path.is_dir():
        require("zarr", "netcdf", f"reading {path.name}")
        return _mapping(xarray.open_groups(path, engine="zarr", **options))
    if is_hdf5(path):
        require("h5netcdf", "netcdf", f"reading {path.name}")
        return _mapping(xarray.open_groups(path, engine="h5netcdf", **options))
    return {"/": xarray.open_dataset(path, engine="scipy", **options)}


def _mapping(groups: Any) -> Mapping[str, Any]:
    return {str(name): dataset for name, dataset in groups.items()}


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of stores without consolidated metadata, and such
        yield
