"""Classes of drawn labels: the attribute that holds them, their ids and their names.

Shape letters: F features.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from st_ray.errors import SceneError, unknown_name

# Attributes that hold a class, the likeliest first; in any case.
_CLASS = ("class", "class_id", "classid", "label", "labels", "class_name", "category", "landcover")
_LAST = ("id", "name")
# Attributes that may name the classes of another one's ids, the likeliest first.
_NAMES = ("class_name", "classname", "name", "label", "labels", "category", "landcover", "class")
_LARGEST = np.iinfo(np.int32).max


class Classes(NamedTuple):
    """Names of class ids, and whether the ids are no more than their order."""

    names: dict[int, str]
    numbered: bool


def class_attribute(path: Path, fields: list[str], key: str | None) -> tuple[str, tuple[str, ...]]:
    """The attribute that holds the class, and what was assumed.

    Args:
        path: For messages.
        fields: Attributes that the layer has.
        key: The one that was asked for; None finds it.

    Raises:
        SceneError: There is none, or none of that name.
    """
    if key is not None:
        if key not in fields:
            raise SceneError(f"labels {path}: {unknown_name('attribute', key, fields)}")
        return key, ()
    lower = {field.lower(): field for field in reversed(fields)}
    named = [lower[name] for name in (*_CLASS, *_LAST) if name in lower]
    found = named[:1] or (fields if len(fields) == 1 else [])
    if not found:
        listing = ", ".join(fields) or "none"
        raise SceneError(
            f"labels {path}: no attribute named like a class (found: {listing}); say which with "
            "--set scene.labels_key=NAME"
        )
    others = [field for field in named[1:] if field.lower() in _CLASS]
    if others:
        note = f"{path.name}: classes are read from {found[0]!r}, not from {', '.join(others)}"
        return found[0], (note,)
    return found[0], ()


def naming_attributes(fields: list[str], chosen: str) -> list[str]:
    """Attributes that may name the classes whose ids the chosen one holds, the likeliest first."""
    lower = {field.lower(): field for field in fields if field != chosen}
    return [lower[name] for name in _NAMES if name in lower]


def class_ids(
    path: Path,
    values: NDArray[np.generic],
    attribute: str,
    beside: dict[str, NDArray[np.generic]],
) -> tuple[NDArray[np.int32], Classes, tuple[str, ...]]:
    """Class ids (F,): numbers as they are, text by its order; their names, and what was assumed.

    Args:
        path: For messages.
        values: (F,) of the attribute that holds the class.
        attribute: Its name.
        beside: Attributes that may name the classes to their values (F,), the likeliest first.

    Raises:
        SceneError: Numbers that are no class ids.
    """
    try:
        numbers = values.astype(np.float64)
    except (TypeError, ValueError):
        texts = np.array([str(value).strip() for value in values])
        known, index = np.unique(texts, return_inverse=True)
        names = {number: str(text) for number, text in enumerate(known, 1)}
        listing = ", ".join(f"{number} {text}" for number, text in list(names.items())[:20])
        more = f" and {len(names) - 20} more" if len(names) > 20 else ""
        note = f"{path.name}: the classes of {attribute!r} are numbered: {listing}{more}"
        return (index + 1).astype(np.int32), Classes(names, numbered=True), (note,)
    valid = np.isfinite(numbers) & (numbers == np.trunc(numbers))
    valid &= (numbers >= 0) & (numbers <= _LARGEST)
    if not valid.all():
        raise SceneError(
            f"labels {path}: expected whole class ids from 0 in {attribute!r}, found "
            f"{numbers[~valid][0]:g}"
        )
    ids_F = numbers.astype(np.int32)
    names, told = _named(path, ids_F, beside)
    return ids_F, Classes(names, numbered=False), told


def _named(
    path: Path, ids_F: NDArray[np.int32], beside: dict[str, NDArray[np.generic]]
) -> tuple[dict[int, str], tuple[str, ...]]:
    """Names of ids, from the first attribute that has one text for each id and no other's."""
    for field, values in beside.items():
        pairs = {
            (int(index), value.strip())
            for index, value in zip(ids_F, values, strict=True)
            if index != 0 and isinstance(value, str) and value.strip()
        }
        names = dict(pairs)
        if names and len(names) == len(set(names.values())) == len(pairs):
            return dict(sorted(names.items())), (
                f"{path.name}: names of the classes are read from {field!r}",
            )
    return {}, ()
