"""Cubes as plain arrays: .npy, .npz, MATLAB (v5 and v7.3) and HDF5.

Their axes have no names: the labels' shape tells where they differ from rows, columns, bands.
MATLAB runs through the first axis fastest, so its v7.3 files hold every array with its axes
reversed, and its lists of pixels go down the columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from st_ray.spectral.files import (
    MATLAB,
    FileStamp,
    Wanted,
    array_shapes,
    find_key,
    map_array,
    read_array,
)
from st_ray.spectral.metadata import Metadata
from st_ray.spectral.readers.base import (
    USUAL,
    Hint,
    Reader,
    SlicedReader,
    Source,
    orient,
    sizes,
)
from st_ray.spectral.readers.hdf5 import attributes, is_hdf5, open_dataset
from st_ray.spectral.readers.mapped import open_windows
from st_ray.spectral.wavelengths import to_nanometres

_CUBE = Wanted(what="cube", ndim=3, option="scene.cube_key")
_WAVELENGTHS = ("wavelength", "wavelengths", "wl", "wvl", "lambda", "bandcenters", "band_centers")

Shapes = Mapping[str, tuple[int, ...]]


def describe(path: Path, key: str | None, hint: Hint) -> Source:
    """The cube in an array file.

    Raises:
        SceneError: Unreadable, none, or more than one.
    """
    shapes = array_shapes(path)
    source = _pixel_list(path, key, shapes, hint)
    if source is None:
        found = find_key(path, key, _CUBE)
        layout, note = orient(shapes[found], hint)
        source = Source(
            key=found,
            shape=sizes(layout, shapes[found]),
            layout=_as_stored(path, layout),
            notes=(f"{path.name}: {note}",) if note else (),
        )
    meta = _meta(path, source.key, shapes, source.shape[2])
    return Source(
        key=source.key, shape=source.shape, layout=source.layout, meta=meta, notes=source.notes
    )


def open_reader(path: Path, key: str, layout: str, shape: tuple[int, int, int]) -> Reader:
    """Windows of the array; a list of pixels is cut into rows as it lies.

    Raises:
        SceneError: The file cannot be read, or the cache cannot be written.
    """
    if is_hdf5(path):
        dataset = open_dataset(path, key)
        unfold = dataset.ndim < len(layout)
        return SlicedReader(
            _Unfolded(dataset, layout, shape) if unfold else dataset,
            layout,
        )
    mapped = map_array(FileStamp.of(path), key)
    if mapped.ndim < len(layout) and not mapped.flags.c_contiguous:
        # Cut as it is, it would be copied whole; turned, it is cut in place.
        mapped, layout = mapped.T, layout[1:] + "b" if layout[0] == "b" else "b" + layout[:-1]
    return open_windows(mapped.reshape(_stored(layout, shape)), layout)


def open_item(path: Path, key: str, item: int) -> Reader:
    """Windows of one of the cubes in an array (N, H, W, B).

    Raises:
        SceneError: The file cannot be read, or the cache cannot be written.
    """
    if not is_hdf5(path):
        return open_windows(np.asanyarray(map_array(FileStamp.of(path), key)[item]), USUAL)
    layout = _as_stored(path, USUAL)
    return SlicedReader(_Item(open_dataset(path, key), item, first=layout == USUAL), layout)


def _pixel_list(path: Path, key: str | None, shapes: Shapes, hint: Hint) -> Source | None:
    """The cube of a file whose only candidate is bands x pixels, if the labels tell its sides."""
    shown = {name: shape for name, shape in shapes.items() if key in (None, name)}
    flat = {name: shape for name, shape in shown.items() if len(shape) == 2 and min(shape) > 1}
    if not flat or any(len(shape) == 3 and min(shape) > 0 for shape in shown.values()):
        return None
    raster = hint.raster()
    if raster is None:
        return None
    pixels = raster[0] * raster[1]
    fitting = [
        (name, shape)
        for name, shape in flat.items()
        if (shape[0] == pixels) != (shape[1] == pixels) and shape != raster
    ]
    if len(fitting) != 1:
        return None
    name, shape = fitting[0]
    down = path.suffix.lower() == MATLAB
    rows_and_columns = "cr" if down else "rc"
    layout = "b" + rows_and_columns if shape[1] == pixels else rows_and_columns + "b"
    sides = "bands x pixels" if layout[0] == "b" else "pixels x bands"
    note = (
        f"{path.name}: {name or 'the array'} is stored as {sides} {shape}; it is read as "
        f"{raster[0]} rows x {raster[1]} columns, as its labels show, with its pixels taken "
        + ("down the columns, as MATLAB does" if down else "along the rows")
    )
    bands = shape[0] if layout[0] == "b" else shape[1]
    if is_hdf5(path) and down:
        layout = layout[1:] + "b" if layout[0] == "b" else "b" + layout[:-1]
    return Source(key=name, shape=(*raster, bands), layout=layout, notes=(note,))


def _as_stored(path: Path, layout: str) -> str:
    """The layout of what is in the file, from the layout as MATLAB shows it."""
    return layout[::-1] if path.suffix.lower() == MATLAB and is_hdf5(path) else layout


def _stored(layout: str, shape: tuple[int, int, int]) -> list[int]:
    sides = dict(zip("rcb", shape, strict=True))
    return [sides[axis] for axis in layout]


def _meta(path: Path, key: str, shapes: Shapes, bands: int) -> Metadata:
    """Wavelengths of a variable beside the cube, and what an HDF5 data set says of itself."""
    wavelengths: tuple[float, ...] = ()
    for name, shape in shapes.items():
        named = name.rpartition("/")[2].lower() in _WAVELENGTHS
        if named and int(np.prod(shape)) == bands:
            values = read_array(path, name).astype(np.float64).ravel()
            unit = attributes(path, name).get("units") if is_hdf5(path) else None
            wavelengths = wavelengths or to_nanometres(values.tolist(), unit and str(unit))
    said = attributes(path, key) if is_hdf5(path) else {}
    return Metadata(wavelengths=wavelengths, **_units(said))


def _units(said: Mapping[str, Any]) -> dict[str, Any]:
    """Scale, offset and nodata of an HDF5 data set; NEON's factor divides, CF's multiplies."""
    units: dict[str, Any] = {}
    if "scale_factor" in said:
        units["scale"] = (float(said["scale_factor"]),)
    elif float(said.get("Scale_Factor", 0)) != 0:
        units["scale"] = (1 / float(said["Scale_Factor"]),)
    if "add_offset" in said:
        units["offset"] = (float(said["add_offset"]),)
    for name in ("_FillValue", "Data_Ignore_Value"):
        if name in said and "nodata" not in units:
            units["nodata"] = float(said[name])
    return units


class _Item:
    """One of the cubes in an HDF5 data set, sliced as if it were alone.

    Args:
        dataset: Of four axes.
        item: Which of the cubes.
        first: Whether they are counted along the first axis, or along the last.
    """

    def __init__(self, dataset: Any, item: int, *, first: bool) -> None:
        self._dataset, self._item, self._first = dataset, item, first

    def __getitem__(self, window: tuple[slice, ...]) -> NDArray[np.generic]:
        place = (self._item, *window) if self._first else (*window, self._item)
        return np.asarray(self._dataset[place])


class _Unfolded:
    """A list of pixels in an HDF5 file, sliced as if it were cut into rows.

    Args:
        dataset: Bands x pixels, or pixels x bands.
        layout: Its order, with the pixels' two axes named.
        shape: (H, W, B).
    """

    def __init__(self, dataset: Any, layout: str, shape: tuple[int, int, int]) -> None:
        self._dataset, self._bands_first = dataset, layout[0] == "b"
        stored = _stored(layout, shape)
        self._outer, self._inner = stored[1:] if self._bands_first else stored[:2]

    def __getitem__(self, window: Sequence[slice]) -> NDArray[np.generic]:
        bands, outer, inner = window if self._bands_first else (window[2], *window[:2])
        start, stop, _ = inner.indices(self._inner)
        lines = []
        for line in range(*outer.indices(self._outer)):
            pixels = slice(line * self._inner + start, line * self._inner + stop)
            lines.append(self._dataset[(bands, pixels) if self._bands_first else (pixels, bands)])
        return np.stack(lines, axis=1 if self._bands_first else 0)
