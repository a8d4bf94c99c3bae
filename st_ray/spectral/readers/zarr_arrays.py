"""Zarr arrays whose axes have no names, as NumPy's users write them: xarray cannot open those."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from st_ray.errors import SceneError, require, unknown_name
from st_ray.spectral.metadata import Metadata
from st_ray.spectral.readers.base import Hint, Reader, SlicedReader, Source, orient, reading, sizes

_FILES = ("zarr.json", ".zgroup", ".zarray")
_AXES = "_ARRAY_DIMENSIONS"  # xarray's attribute; Zarr 3 has a field of its own


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr store."""
    return any((path / name).is_file() for name in _FILES)


def names_axes(path: Path) -> bool:
    """Whether all of a store's arrays of three axes name them.

    Raises:
        SceneError: The store is damaged, or zarr is not installed.
    """
    with reading(path):
        arrays = _arrays(path)
        return "" not in arrays and all(_named(array) for array in arrays.values())


def describe(path: Path, key: str | None, hint: Hint) -> Source:
    """The only array with three axes, or the one named.

    Raises:
        SceneError: There is none, or more than one.
    """
    with reading(path):
        cubes = {name: array for name, array in _arrays(path).items() if array.ndim == 3}
        if key is not None and key not in cubes:
            raise SceneError(f"{path}: {unknown_name('array', key, cubes)}")
        found = [key] if key is not None else list(cubes)
        if len(found) != 1:
            listing = ", ".join(f"{name} {cubes[name].shape}" for name in found) or "none"
            remedy = "; say which with --set scene.cube_key=NAME" if found else ""
            raise SceneError(
                f"{path}: expected an array of 3 dimensions (rows, columns, bands), found "
                f"{listing}{remedy}"
            )
        shape = cubes[found[0]].shape
    layout, note = orient(shape, hint)
    return Source(
        key=found[0],
        shape=sizes(layout, shape),
        layout=layout,
        meta=Metadata(),
        notes=(f"{path.name}: {note}",) if note else (),
    )


def open_reader(path: Path, key: str, layout: str, shape: tuple[int, int, int]) -> Reader:
    """Windows of an array; only the chunks that a window touches are read."""
    del shape
    with reading(path):
        return SlicedReader(_arrays(path)[key], layout)


def _arrays(path: Path) -> dict[str, Any]:
    """The numeric arrays of a store by name; "" where it is one array."""
    zarr = require("zarr", "netcdf", f"reading {path.name}")
    node = zarr.open(path, mode="r")
    members = {"": node} if isinstance(node, zarr.Array) else dict(node.members(max_depth=None))
    return {
        name: item
        for name, item in members.items()
        if isinstance(item, zarr.Array) and item.dtype.kind in "biuf"
    }


def _named(array: Any) -> bool:
    names = getattr(array.metadata, "dimension_names", None) or array.attrs.get(_AXES)
    return array.ndim != 3 or (names is not None and None not in names)
