"""Names of classes over several scenes: one id means one class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from st_ray.errors import SceneError

Names = Mapping[int, str]


def unnamed(index: int) -> str:
    """What a class is called that has no name."""
    return f"class {index}"


def renumber(scenes: Sequence[Names], numbered: Sequence[bool]) -> list[dict[int, int]]:
    """New ids by old, for each scene; empty where ids stay as they are.

    Where all scenes give their classes as text, whose ids are no more than its order, they are
    numbered anew in the order of all scenes' names.

    Args:
        scenes: Class id to name, of each.
        numbered: Whether the ids are no more than the order of the names, of each.
    """
    if not all(numbered):
        return [{} for _ in scenes]
    ids = {
        name: index
        for index, name in enumerate(
            sorted({name for names in scenes for name in names.values()}), 1
        )
    }
    return [{index: ids[name] for index, name in names.items()} for names in scenes]


def apply_ids(labels_HW: NDArray[np.int32], new: Mapping[int, int]) -> NDArray[np.int32]:
    """Labels (H, W) with other ids; those that are not mentioned stay."""
    if all(before == after for before, after in new.items()):
        return labels_HW
    table = np.arange(max(int(labels_HW.max()), *new) + 1, dtype=np.int32)
    for before, after in new.items():
        table[before] = after
    return table[labels_HW]


def join_names(scenes: Sequence[Names], files: Sequence[str]) -> dict[int, str]:
    """The names of all scenes' classes.

    Args:
        scenes: Class id to name, of each.
        files: The scenes' label files, for the error.

    Raises:
        SceneError: Two files give one id different names.
    """
    joined: dict[int, tuple[str, str]] = {}
    for names, file in zip(scenes, files, strict=True):
        for index, name in names.items():
            other, where = joined.get(index, (unnamed(index), ""))
            if unnamed(index) not in (name, other) and name != other:
                raise SceneError(
                    f"class {index} is {other!r} in {where} and {name!r} in {file}; give the same "
                    "ids to the same classes in all labels of a run"
                )
            if name != unnamed(index) or index not in joined:
                joined[index] = (name, file)
    return {index: name for index, (name, _) in joined.items()}
