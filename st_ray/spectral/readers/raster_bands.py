"""Wavelengths of a raster's bands: in tags, in band names, or in EnMAP's XML beside it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from st_ray.spectral.wavelengths import to_nanometres, wavelengths_in

_TAGS = ("wavelength", "central_wavelength", "center_wavelength", "wavelength_nm")
_UNIT_TAGS = ("wavelength_units", "wavelength_unit", "units")
_IMAGE, _XML = "-SPECTRAL_IMAGE", "-METADATA.XML"  # EnMAP's file names
_LARGEST_XML = 64 << 20  # bytes


def raster_wavelengths(dataset: Any, path: Path) -> tuple[float, ...]:
    """Nanometres of each band of a rasterio data set; empty unless all are known."""
    own = [_lower(dataset.tags(band)) for band in dataset.indexes]
    imagery = [_lower(dataset.tags(band, ns="IMAGERY")) for band in dataset.indexes]
    whole = _lower(dataset.tags())
    unit = next((whole[name] for name in _UNIT_TAGS if name in whole), None)
    return (
        _from_tags(own, unit)
        or _numbers([tags.get("central_wavelength_um") for tags in imagery], "um")
        or _from_list(whole, dataset.count, unit)
        or _from_enmap(path, dataset.count)
        or wavelengths_in(dataset.descriptions)
    )


def _lower(tags: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in tags.items()}


def _from_tags(bands: list[dict[str, str]], unit: str | None) -> tuple[float, ...]:
    for name in _TAGS:
        found = [tags.get(name) for tags in bands]
        units = {tags[each] for tags in bands for each in _UNIT_TAGS if each in tags}
        known = units.pop() if len(units) == 1 else "nm" if name.endswith("_nm") else unit
        centres = _numbers(found, known)
        if centres:
            return centres
    return ()


def _from_list(tags: dict[str, str], count: int, unit: str | None) -> tuple[float, ...]:
    for name in ("wavelength", "wavelengths"):
        words: list[str | None] = [*re.split(r"[,;\s]+", tags.get(name, "").strip("{}[] "))]
        if len(words) == count:
            return _numbers(words, unit)
    return ()


def _from_enmap(path: Path, count: int) -> tuple[float, ...]:
    """Centres that EnMAP's METADATA.XML lists, in the order of the image's bands."""
    head, found, _ = path.name.upper().partition(_IMAGE)
    if not found:
        return ()
    wanted = (head + _XML, "METADATA.XML")
    for beside in path.parent.iterdir():
        if beside.name.upper() in wanted and beside.stat().st_size < _LARGEST_XML:
            try:
                root = ElementTree.parse(beside).getroot()
            except ElementTree.ParseError:
                return ()
            centres = [item.text for item in root.iter("wavelengthCenterOfBand")]
            return _numbers(centres, "nm") if len(centres) == count else ()
    return ()


def _numbers(words: list[str | None], unit: str | None) -> tuple[float, ...]:
    try:
        return to_nanometres([float(word or "") for word in words], unit)
    except ValueError:
        return ()
