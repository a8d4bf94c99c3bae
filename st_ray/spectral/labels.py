"""Label rasters: class ids on the scene's pixels, 0 = unlabelled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from st_ray.errors import SceneError
from st_ray.spectral.files import Wanted, find_key, read_array


def whole_numbers(raster: NDArray[np.generic]) -> bool:
    """Whether every value is a whole number, of whatever type."""
    if raster.dtype.kind != "f":
        return raster.dtype.kind in "biu"
    return bool((np.isfinite(raster) & (raster == np.trunc(raster))).all())


_LABELS = Wanted(what="label raster", ndim=2, option="scene.labels_key", accepts=whole_numbers)


def read_labels(
    path: Path, key: str | None, shape: Sequence[int], *, own: bool
) -> NDArray[np.int32]:
    """Read the label raster of a scene.

    Args:
        path: The file.
        key: Variable in the file; None finds the only integer-valued 2-D one.
        shape: (H, W) of the scene.
        own: Whether the file is the cube's own, because no other was given.

    Raises:
        SceneError: No raster, more than one, or one that does not fit the scene.
    """
    try:
        found = find_key(path, key, _LABELS)
    except SceneError as error:
        if not own or key:
            raise
        raise SceneError(f"{error}; or give the class raster with --labels FILE") from None
    return as_labels(read_array(path, found), path, shape)


def as_labels(raster: NDArray[np.generic], path: Path, shape: Sequence[int]) -> NDArray[np.int32]:
    """Check that an array is a raster of class ids for a scene of this (H, W).

    Raises:
        SceneError: Not whole numbers, negative, of another shape, or nothing labelled.
    """
    if raster.shape != tuple(shape):
        raise SceneError(shape_mismatch(f"labels {path}", raster.shape, shape))
    if raster.dtype.kind not in "biuf":
        raise SceneError(f"labels {path}: expected class ids, found values of type {raster.dtype}")
    if not whole_numbers(raster):
        odd = raster[raster != np.trunc(raster)]
        example = odd.flat[0] if odd.size else "infinity"
        raise SceneError(
            f"labels {path}: expected whole class ids (0 = unlabelled), found {example}"
        )
    low, high = raster.min(), raster.max()
    if low < 0 or high > np.iinfo(np.int32).max:
        raise SceneError(
            f"labels {path}: expected class ids 0 to 2147483647, found {low} to {high}"
        )
    if high == 0:
        raise SceneError(f"labels {path}: no pixel is labelled (every value is 0)")
    return np.ascontiguousarray(raster, dtype=np.int32)


def shape_mismatch(what: str, came: Sequence[int], expected: Sequence[int]) -> str:
    """One line for a raster that does not fit its scene; says so if it is only transposed."""
    line = f"{what}: shape {tuple(came)} does not fit the scene's {tuple(expected)}"
    if tuple(came)[::-1] == tuple(expected):
        return f"{line}; it is transposed: save it with rows and columns swapped"
    return line


def without_classes(labels: NDArray[np.int32], ignored: tuple[int, ...]) -> NDArray[np.int32]:
    """The labels with some classes set to 0, unlabelled.

    Raises:
        SceneError: An ignored id is not in the labels, or none is left.
    """
    if not ignored:
        return labels
    present = [int(index) for index in np.unique(labels) if index != 0]
    unknown = sorted(set(ignored) - set(present))
    if unknown:
        raise SceneError(f"scene.ignore_classes={unknown}: the labels have classes {present}")
    kept = np.where(np.isin(labels, ignored), np.int32(0), labels)
    if not kept.any():
        raise SceneError(f"scene.ignore_classes={sorted(ignored)}: no class is left")
    return kept
