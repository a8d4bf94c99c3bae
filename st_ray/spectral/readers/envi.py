"""ENVI: a header and a file of raw values, memory-mapped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from st_ray.errors import SceneError
from st_ray.spectral.metadata import Grid, Metadata
from st_ray.spectral.readers.base import Hint, Reader, Source
from st_ray.spectral.readers.envi_header import (
    Fields,
    Layout,
    looks_like_envi,
    names,
    numbers,
    parse_header,
    read_layout,
)
from st_ray.spectral.readers.mapped import open_windows
from st_ray.spectral.wavelengths import to_nanometres, wavelengths_in

HEADER = ".hdr"
# What the data file beside image.hdr is called: image, image.dat and so on, in any case.
_DATA = ("", ".dat", ".img", ".raw", ".bsq", ".bil", ".bip", ".bin", ".envi", ".hyspex", ".cube")


@dataclass(frozen=True, kw_only=True, slots=True)
class EnviFile:
    """A header with its data file.

    Attributes:
        header: The .hdr file.
        data: The raw values.
        fields: Of the header.
        layout: How the values lie.
    """

    header: Path
    data: Path
    fields: Fields
    layout: Layout

    def reader(self) -> Reader:
        """Windows of the mapped values."""
        height, width, bands = self.layout.shape
        sides = {"r": height, "c": width, "b": bands}
        mapped: np.memmap[tuple[int, ...], np.dtype[np.generic]] = np.memmap(
            self.data,
            dtype=self.layout.dtype,
            mode="r",
            offset=self.layout.offset,
            shape=tuple(sides[axis] for axis in self.layout.order),
        )
        return open_windows(mapped, self.layout.order)


def header_beside(path: Path) -> Path | None:
    """The ENVI header of a data file: image.dat.hdr or image.hdr; None if there is none."""
    for suffix in (HEADER, HEADER.upper()):
        for header in (path.with_name(path.name + suffix), path.with_suffix(suffix)):
            if header != path and header.is_file() and looks_like_envi(header):
                return header
    return None


def open_envi(path: Path) -> EnviFile:
    """Read the header of an ENVI file, named by its header or by its data.

    Raises:
        SceneError: The header is not valid, or no data file fits it.
    """
    if path.suffix.lower() == HEADER:
        header, candidates = path, _data_files(path)
    else:
        beside = header_beside(path)
        if beside is None:
            raise SceneError(f"{path}: no ENVI header {path.stem}{HEADER} beside it")
        header, candidates = beside, [path]
    fields = parse_header(header)
    layout = read_layout(fields, header)
    if not candidates:
        raise SceneError(
            f"{header}: its data file is not beside it; expected {header.stem}, or that name with "
            f"one of {', '.join(_DATA[1:])}"
        )
    fitting = [data for data in candidates if data.stat().st_size == layout.size]
    if len(candidates) > 1 and len(fitting) != 1:
        listing = ", ".join(data.name for data in candidates)
        raise SceneError(f"{header}: any of {listing} may be its data; name that file instead")
    data = (fitting or candidates)[0]
    _check_size(header, data, layout)
    return EnviFile(header=header, data=data, fields=fields, layout=layout)


def describe(path: Path, key: str | None, hint: Hint) -> Source:
    """The cube of an ENVI file.

    Raises:
        SceneError: See `open_envi`.
    """
    del hint  # a header names its axes
    if key is not None:
        raise SceneError(f"{path} holds one array, without keys; leave --set scene.cube_key out")
    file = open_envi(path)
    meta, notes = read_meta(file)
    return Source(
        key="",
        shape=file.layout.shape,
        layout=file.layout.order,
        meta=meta,
        notes=(*file.layout.repairs, *notes),
    )


def open_reader(path: Path, key: str, layout: str, shape: tuple[int, int, int]) -> Reader:
    """Windows of an ENVI file."""
    del key, layout, shape  # as the header says
    return open_envi(path).reader()


def read_meta(file: EnviFile) -> tuple[Metadata, tuple[str, ...]]:
    """What a header says of bands and pixels, and notes on what in it cannot be used."""
    fields, bands = file.fields, file.layout.shape[2]
    notes: list[str] = []

    def listed(name: str) -> list[float]:
        values = numbers(fields, name)
        if values is None or len(values) == bands:
            return [] if values is None else values.tolist()
        notes.append(
            f"{file.header.name}: {len(values)} values of {name!r} for {bands} bands; unused"
        )
        return []

    centres = to_nanometres(listed("wavelength"), fields.get("wavelength units"))
    band_names = names(fields, "band names")
    if len(band_names) != bands:
        band_names = ()
    divisor = numbers(fields, "reflectance scale factor")
    whole = 1.0 if divisor is None or divisor[0] == 0 else float(1 / divisor[0])
    gains, offsets = listed("data gain values") or [1.0], listed("data offset values") or [0.0]
    ignored = numbers(fields, "data ignore value")
    grid, problem = _grid(file)
    meta = Metadata(
        wavelengths=centres or wavelengths_in(band_names),
        band_names=band_names,
        scale=_single([gain * whole for gain in gains]),
        offset=_single([offset * whole for offset in offsets]),
        nodata=None if ignored is None else float(ignored[0]),
        bad_bands=tuple(band for band, good in enumerate(listed("bbl")) if good == 0),
        grid=grid,
    )
    return meta, (*notes, *problem)


def _single(values: list[float]) -> tuple[float, ...]:
    return (values[0],) if len(set(values)) == 1 else tuple(values)


def _grid(file: EnviFile) -> tuple[Grid | None, tuple[str, ...]]:
    """Coordinates as GDAL reads them from the header."""
    if "map info" not in file.fields:
        return None, ()
    from st_ray.spectral.readers.raster import grid_of, opened, reason

    try:
        with opened(file.data, driver="ENVI") as dataset:
            return grid_of(dataset), ()
    except OSError as problem:
        why = reason(problem, file.data)
        return None, (f"{file.header.name}: its coordinates cannot be read ({why})",)


def _data_files(header: Path) -> list[Path]:
    """Files that may hold the data of a header."""
    wanted = {header.stem.lower() + suffix for suffix in _DATA}
    return sorted(
        item
        for item in header.parent.iterdir()
        if item.name.lower() in wanted and item.is_file() and item != header
    )


def _check_size(header: Path, data: Path, layout: Layout) -> None:
    size, (height, width, bands) = data.stat().st_size, layout.shape
    if size == layout.size:
        return
    said = f"{height} lines x {width} samples x {bands} bands of {layout.dtype.itemsize} bytes"
    if layout.offset:
        said += f" after an offset of {layout.offset}"
    remedy = "the file is cut short, or a number in the header is wrong"
    if size > layout.size:
        remedy = (
            "correct the numbers in the header; if the data begin after other bytes, add "
            f"`header offset = {layout.offset + size - layout.size}`"
        )
    raise SceneError(
        f"{header}: {said} are {layout.size} bytes, and {data.name} has {size}; {remedy}"
    )
