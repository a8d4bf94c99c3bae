"""Many small scenes in one array (N, H, W, B), with one label each, as CloudPatch-7 is published.

Of each patch the labels say one class, or they are rasters like those of any scene.

Shape letters: N patches, H W patch, B bands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from st_ray.errors import SceneError, unknown_name
from st_ray.spectral.cube import FileCube
from st_ray.spectral.files import ARRAY_SUFFIXES, FileStamp, array_shapes, read_array
from st_ray.spectral.labels import as_ids
from st_ray.spectral.readers.base import USUAL
from st_ray.spectral.readers.choose import open_reader


@dataclass(frozen=True, kw_only=True, slots=True)
class StackLabels:
    """The labels of a stack's patches.

    Attributes:
        rasters: (H, W) int32 of each patch; 0 = unlabelled.
        names: Class id to name, where the file gives names.
        whole: Whether the file gives one label a patch.
    """

    rasters: tuple[NDArray[np.int32], ...]
    names: dict[int, str]
    whole: bool


def find_stack(path: Path, key: str | None) -> tuple[str, tuple[int, int, int, int]] | None:
    """The key and shape of a file's array of patches; None if it holds a cube, or neither.

    Raises:
        SceneError: The file cannot be read, holds several such arrays, its patches are empty, or
            their bands come first.
    """
    if path.suffix.lower() not in ARRAY_SUFFIXES:
        return None
    shapes = array_shapes(path)
    if key is not None:
        shapes = {name: shape for name, shape in shapes.items() if name == key}
    elif any(len(shape) == 3 and min(shape[:2]) > 1 for shape in shapes.values()):
        # A raster for each patch has three dimensions too.
        shapes = {name: shape for name, shape in shapes.items() if _with_rasters(shape, shapes)}
    found = {name: shape for name, shape in shapes.items() if len(shape) == 4}
    if not found:
        return None
    if len(found) > 1:
        listing = ", ".join(f"{name} {shape}" for name, shape in found.items())
        raise SceneError(
            f"{path}: expected one array of patches, found {listing}; say which with "
            "--set scene.cube_key=NAME"
        )
    name, shape = next(iter(found.items()))
    items, height, width, bands = shape
    if min(shape) < 1:
        raise SceneError(f"{path}: {name or 'the array'} of shape {shape} holds no pixel")
    if height != width == bands:
        raise SceneError(
            f"{path}: expected patches x rows x columns x bands, found {shape}, which looks as if "
            "bands came before rows; save np.moveaxis(array, 1, -1)"
        )
    return name, (items, height, width, bands)


def stack_cubes(
    path: Path, key: str, shape: tuple[int, int, int, int], nodata: float | None
) -> list[FileCube]:
    """The patches of a file's array, as cubes.

    Args:
        path: The file.
        key: Its variable.
        shape: (N, H, W, B).
        nodata: Value that stands for "not measured", or None.

    Raises:
        SceneError: The file cannot be read, or holds something else than real numbers.
    """
    stamp = FileStamp.of(path)
    open_reader(stamp, key, USUAL, shape[1:], 0)
    return [
        FileCube(path=stamp.path, key=key, file_shape=shape[1:], nodata=nodata, item=item)
        for item in range(shape[0])
    ]


def _with_rasters(shape: tuple[int, ...], shapes: dict[str, tuple[int, ...]]) -> bool:
    """Whether an array's other arrays of three dimensions are all rasters of its patches."""
    others = [other for other in shapes.values() if len(other) == 3 and min(other[:2]) > 1]
    return len(shape) == 4 and all(other == shape[:3] for other in others)


def read_stack_labels(
    path: Path, key: str | None, shape: Sequence[int], *, cube_key: str | None, ignored: bool
) -> StackLabels:
    """Read the labels of a stack's patches.

    Args:
        path: The file.
        key: Variable in the file; None finds the only one that fits.
        shape: (N, H, W, B) of the stack.
        cube_key: The stack's key, if the file is its own because no other was given; else None.
        ignored: Whether a label 0 is known to stand for unlabelled.

    Raises:
        SceneError: No labels, more than one array of them, or some that do not fit; or a patch's
            only label is 0 and nobody said that it stands for unlabelled.
    """
    items, height, width, _ = shape
    found = _find_labels(path, key, shape, cube_key)
    values = read_array(path, found)
    if values.size == items * height * width and height * width > 1:
        ids = as_ids(values.reshape(items, height, width), path)
        return StackLabels(rasters=tuple(ids), names={}, whole=False)
    values, names = values.reshape(items), {}
    if values.dtype.kind in "US":
        known, position = np.unique(values.astype(np.str_), return_inverse=True)
        names = {number: str(name) for number, name in enumerate(known, start=1)}
        values = position + 1
    ids_N = as_ids(values, path)
    unlabelled = int((ids_N == 0).sum())
    if unlabelled and not ignored:
        raise SceneError(
            f"labels {path}: {unlabelled} of {items} patches have the label 0, which stands for "
            "unlabelled; count classes from 1 (save the labels + 1), or, if they are unlabelled, "
            "--set 'scene.ignore_classes=[0]'"
        )
    rasters = tuple(np.full((height, width), value, np.int32) for value in ids_N)
    return StackLabels(rasters=rasters, names=names, whole=True)


def _find_labels(path: Path, key: str | None, shape: Sequence[int], cube_key: str | None) -> str:
    shapes = array_shapes(path)
    if cube_key is not None:
        del shapes[cube_key]
    if key is not None:
        if key not in shapes:
            raise SceneError(f"{path}: {unknown_name('key', key, shapes)}")
        shapes = {key: shapes[key]}
    items, height, width, _ = shape
    fitting = [
        name
        for name, came in shapes.items()
        if tuple(size for size in came if size != 1) == ((items,) if items > 1 else ())
        or tuple(came) == (items, height, width)
    ]
    if len(fitting) == 1:
        return fitting[0]
    expected = (
        f"{path}: expected a label for each of the {items} patches, ({items},), or a raster for "
        f"each, ({items}, {height}, {width})"
    )
    if fitting:
        raise SceneError(
            f"{expected}; found {', '.join(fitting)}; say which with --set scene.labels_key=NAME"
        )
    listing = ", ".join(f"{name or 'one array'} {came}" for name, came in shapes.items())
    remedy = "; or give the labels with --labels FILE" if cube_key is not None else ""
    if any(max(came) == shape[3] == np.prod(came) for came in shapes.values()):
        remedy = (
            f"; there is a label for each of the {shape[3]} along the array's last axis: save "
            "np.moveaxis(array, -1, 0), in MATLAB permute(array, [4 1 2 3])"
        )
    raise SceneError(f"{expected}, found {listing or 'no other array'}{remedy}")
