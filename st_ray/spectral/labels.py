"""Labels of a scene: class ids on its pixels, 0 = unlabelled, from a raster or from drawings.

Shape letters: H W scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from st_ray.errors import SceneError
from st_ray.spectral.label_files import LabelRaster, read_raster, same_grid, warp, whole_numbers
from st_ray.spectral.label_vectors import VECTOR_SUFFIXES, draw
from st_ray.spectral.metadata import Grid
from st_ray.spectral.readers.envi_header import Colour


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Labels:
    """Class ids on a scene's pixels.

    Attributes:
        ids: (H, W) int32, 0 = unlabelled.
        names: Class id to name, where the file says; of classes that it gives as text, all.
        colours: Class id to colour, where the file says.
        numbered: Whether the ids are no more than the order of the names.
        notes: What was repaired, assumed or left out, one line each.
    """

    ids: NDArray[np.int32]
    names: dict[int, str] = field(default_factory=dict)
    colours: dict[int, Colour] = field(default_factory=dict)
    numbered: bool = False
    notes: tuple[str, ...] = ()


def one_label(index: int, name: str, shape: Sequence[int]) -> Labels:
    """The same class on all pixels of a scene.

    Args:
        index: Class id.
        name: Of the class; "" if it has none.
        shape: (H, W) of the scene.
    """
    ids = np.full(tuple(shape), index, np.int32)
    return Labels(ids=ids, names={index: name} if name else {}, numbered=bool(name))


class LabelFile:
    """The file of a scene's labels, read when it is first asked for.

    Args:
        path: A raster, or polygons or points.
        key: Variable or attribute in the file; None finds it.
        own: Whether the file is the cube's own, because no other was given.
    """

    def __init__(self, path: Path, key: str | None, *, own: bool) -> None:
        self.path, self._key, self._own = path, key, own

    def shape(self) -> tuple[int, int] | None:
        """(H, W) that a raster has; None of drawings.

        Raises:
            SceneError: See `on`.
        """
        if self._drawn:
            return None
        shape = self._raster.values.shape
        return (shape[0], shape[1]) if len(shape) == 2 else None

    def on(self, shape: Sequence[int], grid: Grid | None) -> Labels:
        """The labels on a scene's pixels.

        Args:
            shape: (H, W) of the scene.
            grid: Where its pixels lie, or None.

        Raises:
            SceneError: Unreadable, no class ids, or not to be laid over the scene.
        """
        if self._drawn:
            drawn = draw(self.path, self._key, grid, shape)
            return Labels(
                ids=drawn.ids, names=drawn.names, numbered=drawn.numbered, notes=drawn.notes
            )
        raster = self._raster
        values, own, notes = _unmarked(raster), raster.grid, raster.notes
        if own and grid and _lies_apart(own, values.shape, grid, shape):
            ids = self._warped(values, own, grid, shape)
            notes += (
                f"{self.path.name}: warped to the scene's pixels by nearest neighbour, from "
                f"{values.shape[0]} x {values.shape[1]} pixels of its own",
            )
        else:
            ids = as_labels(values, self.path, shape)
        return Labels(ids=ids, names=raster.names, colours=raster.colours, notes=notes)

    @property
    def _drawn(self) -> bool:
        return self.path.suffix.lower() in VECTOR_SUFFIXES

    @cached_property
    def _raster(self) -> LabelRaster:
        try:
            return read_raster(self.path, self._key)
        except SceneError as error:
            if not self._own or self._key:
                raise
            raise SceneError(
                f"no labels were given, and the cube's file holds none: {error}; give the labels "
                "with --labels FILE"
            ) from None

    def _warped(
        self, values: NDArray[np.generic], own: Grid, grid: Grid, shape: Sequence[int]
    ) -> NDArray[np.int32]:
        ids = warp(as_ids(values, self.path), own, grid, shape)
        if not ids.any():
            raise SceneError(
                f"labels {self.path}: no labelled pixel lies in the scene; check that both have "
                "the right coordinates"
            )
        return ids


def as_labels(raster: NDArray[np.generic], path: Path, shape: Sequence[int]) -> NDArray[np.int32]:
    """Check that an array is a raster of class ids for a scene of this (H, W).

    Raises:
        SceneError: Not whole numbers, negative, of another shape, or nothing labelled.
    """
    if raster.shape != tuple(shape):
        raise SceneError(shape_mismatch(f"labels {path}", raster.shape, shape))
    return as_ids(raster, path)


def as_ids(raster: NDArray[np.generic], path: Path) -> NDArray[np.int32]:
    """Check that an array of any shape holds class ids.

    Raises:
        SceneError: Not whole numbers, negative, or nothing labelled.
    """
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


def _unmarked(raster: LabelRaster) -> NDArray[np.generic]:
    """The values with the file's nodata as 0, unlabelled."""
    values, nodata = raster.values, raster.nodata
    if nodata is None or nodata == 0 or values.dtype.kind not in "biuf":
        return values
    marked = np.isnan(values) if np.isnan(nodata) else values == nodata
    return np.where(marked, np.zeros((), values.dtype), values)


def _lies_apart(own: Grid, own_shape: Sequence[int], grid: Grid, shape: Sequence[int]) -> bool:
    """Whether a raster with coordinates has other pixels than the scene; not without a CRS."""
    if not own.crs or not grid.crs:
        return False
    return tuple(own_shape) != tuple(shape) or not same_grid(own, grid, shape)


def without_classes(labels: NDArray[np.int32], ignored: tuple[int, ...]) -> NDArray[np.int32]:
    """The labels with some classes set to 0, unlabelled.

    Raises:
        SceneError: An ignored id is not in the labels, or none is left.
    """
    ignored = tuple(index for index in ignored if index != 0)  # which is unlabelled already
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
