"""ENVI headers: text to values, and what can be repaired of the broken ones."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from st_ray.errors import SceneError

# "data type" of a header to NumPy's; 6 and 9 are complex.
_TYPES = {
    1: "u1",
    2: "i2",
    3: "i4",
    4: "f4",
    5: "f8",
    12: "u2",
    13: "u4",
    14: "i8",
    15: "u8",
}
_LAYOUTS = {"bsq": "brc", "bil": "rbc", "bip": "rcb"}
_SHOWN = 40  # letters of a value in an error
_LARGEST_HEADER = 16 << 20  # bytes; with names and wavelengths of 1000 bands it is under 1 MiB

Fields = Mapping[str, str]
Colour = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """How the values lie in the data file.

    Attributes:
        shape: (H, W, B).
        order: Order of the axes, such as "brc".
        dtype: Of a value, byte order and all.
        offset: Bytes before the first value.
        repairs: What was assumed, one line each.
    """

    shape: tuple[int, int, int]
    order: str
    dtype: np.dtype[np.generic]
    offset: int
    repairs: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes that the data file must have."""
        return self.offset + int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize


def looks_like_envi(header: Path) -> bool:
    """Whether a .hdr file is ENVI's rather than another program's."""
    with header.open("rb") as file:
        start = file.read(4096).lower()
    return start.lstrip(b"\xef\xbb\xbf \r\n").startswith(b"envi") or b"samples" in start


def parse_header(path: Path) -> dict[str, str]:
    """The fields of a header, names in lower case, lists without their braces.

    The packages that read ENVI headers fail on Latin-1 text, on blanks after a brace and on a
    missing first line, which files from the field have.

    Raises:
        SceneError: It is no header, or a list has no end.
    """
    size = path.stat().st_size
    if size > _LARGEST_HEADER:
        raise SceneError(f"{path}: {size} bytes are no ENVI header; name the header, not the data")
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith(";")]
    fields: dict[str, str] = {}
    while lines:
        name, sign, value = lines.pop(0).partition("=")
        name, value = name.strip().lower(), value.strip()
        if not sign or not name:
            continue
        if value.startswith("{"):
            while "}" not in value:
                if not lines:
                    raise SceneError(f"{path}: the list {name!r} has no closing brace; add it")
                value += " " + lines.pop(0).strip()
            value = value[1 : value.rindex("}")].strip()
        fields[name] = value
    if "samples" not in fields or "lines" not in fields:
        raise SceneError(f"{path}: expected an ENVI header, found no samples or no lines in it")
    return fields


def read_layout(fields: Fields, path: Path) -> Layout:
    """How the values lie, as the header says; what is missing but plain is assumed, and told.

    Raises:
        SceneError: A field is missing or not valid, and nothing tells what was meant.
    """
    height, width = _whole(fields, "lines", path), _whole(fields, "samples", path)
    bands = _whole(fields, "bands", path, usual=1)
    offset = _whole(fields, "header offset", path, usual=0, least=0)
    code = _whole(fields, "data type", path)
    if code not in _TYPES:
        raise SceneError(
            f"{path}: data type = {code}: expected one of {', '.join(map(str, _TYPES))} (integers "
            "and real numbers)"
        )
    if _whole(fields, "file compression", path, usual=0, least=0):
        raise SceneError(f"{path}: the data file is compressed; save it uncompressed")
    kind, repairs = np.dtype(_TYPES[code]), []
    order = fields.get("byte order", "").strip()
    if kind.itemsize > 1 and order not in ("0", "1"):
        found = f"byte order = {order[:_SHOWN]}" if order else "no byte order"
        repairs.append(f"{path.name}: {found} in the header; 0, least significant first, assumed")
    kind = kind.newbyteorder(">" if order == "1" else "<")
    layout, note = _interleave(fields, bands, path)
    return Layout(
        shape=(height, width, bands),
        order=layout,
        dtype=kind,
        offset=offset,
        repairs=(*repairs, *note),
    )


def numbers(fields: Fields, name: str) -> NDArray[np.float64] | None:
    """A list of numbers; None if there is none, or it holds something else."""
    words = [word for word in re.split(r"[,\s]+", fields.get(name, "")) if word]
    try:
        return np.array([float(word) for word in words]) if words else None
    except ValueError:
        return None


def names(fields: Fields, name: str) -> tuple[str, ...]:
    """A list of names, separated by commas."""
    text = fields.get(name, "").strip()
    return tuple(word.strip() for word in text.split(",")) if text else ()


def classes(fields: Fields) -> tuple[dict[int, str], dict[int, Colour]]:
    """Names and colours of the classes of a classification, without 0, "Unclassified"."""
    named = dict(enumerate(names(fields, "class names")))
    lookup = numbers(fields, "class lookup")
    colours: dict[int, Colour] = {}
    if lookup is not None and len(lookup) % 3 == 0 and np.isfinite(lookup).all():
        for index, (red, green, blue) in enumerate(lookup.reshape(-1, 3).clip(0, 255).tolist()):
            colours[index] = int(red), int(green), int(blue)
    named.pop(0, None)
    colours.pop(0, None)
    return {index: text for index, text in named.items() if text}, colours


def _whole(fields: Fields, name: str, path: Path, usual: int | None = None, least: int = 1) -> int:
    text = fields.get(name, "").strip()
    if not text and usual is not None:
        return usual
    if not text:
        raise SceneError(f"{path}: the header has no {name!r}; add the line `{name} = ...`")
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise SceneError(
            f"{path}: {name} = {text[:_SHOWN]}: expected a whole number of {least} or more"
        )
    return value


def _interleave(fields: Fields, bands: int, path: Path) -> tuple[str, tuple[str, ...]]:
    text = fields.get("interleave", "").strip()
    if text.lower() in _LAYOUTS:
        note = f"{path.name}: interleave = {text} in the header is read as {text.lower()}"
        return _LAYOUTS[text.lower()], () if text == text.lower() else (note,)
    if not text and bands == 1:  # then all three are the same
        return _LAYOUTS["bsq"], ()
    found = f"interleave = {text[:_SHOWN]}" if text else "no interleave"
    raise SceneError(f"{path}: {found} in the header; expected bsq, bil or bip")
