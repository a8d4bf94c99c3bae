"""The result of splitting: the part of every pixel, and how much the parts share.

Parts are disjoint by construction: one raster says the part of every pixel.

Shape letters: H W scene.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from st_ray.spectral.blocks import reach
from st_ray.spectral.cube import Extent

UNUSED, TRAIN, VALIDATION, TEST = 0, 1, 2, 3
PART_NAMES = ("unused", "train", "validation", "test")

Labels = NDArray[np.integer]
Mask = NDArray[np.bool_]
Setting = str | int | float | None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Split:
    """The part of every pixel.

    Attributes:
        parts: (H, W) uint8: 0 unused, 1 train, 2 validation, 3 test.
        notes: What the reader of a result should know about the split.
        labels_sha256: Fingerprint of the label raster the split was made for.
        extents: Where each scene lies, if it is several: no patch reaches from one to another.
        rule: How the pixels were chosen: "kind" and the settings of that kind; plain.
        seed: What the draw was seeded with; None if it is not known.
    """

    parts: NDArray[np.uint8]
    notes: tuple[str, ...] = ()
    labels_sha256: str = ""
    rule: Mapping[str, Setting] = field(default_factory=dict)
    seed: int | None = None
    extents: tuple[Extent, ...] = ()

    @property
    def train(self) -> Mask:
        """(H, W), the training pixels."""
        return np.asarray(self.parts == TRAIN)

    @property
    def validation(self) -> Mask:
        """(H, W), the validation pixels."""
        return np.asarray(self.parts == VALIDATION)

    @property
    def test(self) -> Mask:
        """(H, W), the test pixels."""
        return np.asarray(self.parts == TEST)

    def counts(self, labels_HW: Labels) -> dict[int, dict[str, int]]:
        """Pixels per class id and part: "train", "validation", "test" and "unused"."""
        table = {}
        for index in np.unique(labels_HW[labels_HW != 0]):
            per_part = np.bincount(self.parts[labels_HW == index], minlength=len(PART_NAMES))
            order = (TRAIN, VALIDATION, TEST, UNUSED)
            table[int(index)] = {PART_NAMES[part]: int(per_part[part]) for part in order}
        return table


def list_small(small: Sequence[tuple[int, int]]) -> str:
    """Classes (id, how many) that are too small, in words, and how to leave them out."""
    named = ", ".join(f"class {index} has {count}" for index, count in small[:_NAMED])
    if len(small) > _NAMED:
        return f"{named} and {len(small) - _NAMED} more; are the values class ids?"
    return f"{named}; leave out with --set scene.ignore_classes={[index for index, _ in small]}"


_NAMED = 20  # classes in one line


def leakage(split: Split, patch_size: int) -> float:
    """Share of the test patches, in 0..1, whose footprint holds a training pixel."""
    return _share_near_train(split, patch_size // 2)


def footprint_overlap(split: Split, patch_size: int) -> float:
    """Share of the test patches, in 0..1, whose footprint overlaps a training patch's."""
    return _share_near_train(split, patch_size - 1)


def labels_fingerprint(labels_HW: Labels) -> str:
    """SHA-256 of a label raster, whatever its integer type and memory layout."""
    told = hashlib.sha256(repr(labels_HW.shape).encode())
    for row in range(0, len(labels_HW), _ROWS):  # widened a few rows at a time
        told.update(np.ascontiguousarray(labels_HW[row : row + _ROWS], dtype="<i8").data)
    return told.hexdigest()


_ROWS = 256


def _share_near_train(split: Split, distance: int) -> float:
    height, width = split.parts.shape
    near = tests = 0
    for extent in split.extents or (Extent(top=0, height=height, width=width),):
        crop = split.parts[extent.rows, : extent.width]
        test = crop == TEST
        tests += int(test.sum())
        if test.any() and (crop == TRAIN).any():
            near += int(reach(crop == TRAIN, distance)[test].sum())
    return near / tests if tests else 0.0


def parts_fingerprint(parts_HW: NDArray[np.uint8]) -> str:
    """SHA-256 of a raster of parts: one byte a pixel, row by row."""
    return hashlib.sha256(np.ascontiguousarray(parts_HW, dtype=np.uint8).data).hexdigest()
