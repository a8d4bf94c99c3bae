"""Spatially disjoint parts: compact blocks of training pixels with a guard band around them.

Shape letters: H W scene, N labelled pixels, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

Mask = NDArray[np.bool_]

# Work of one search, in pixels looked at; keeps Indian Pines below a second.
_WORK = 12_000_000
_FEWEST, _MOST = 16, 400


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockQuotas:
    """How many pixels each class gives to training and to validation.

    Attributes:
        train: (C,) int64.
        validation: (C,) int64.
    """

    train: NDArray[np.int64]
    validation: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Pixels:
    """The labelled pixels: positions (N, 2), classes (N,) as 0..C-1, scene (H, W)."""

    places: NDArray[np.int64]
    classes: NDArray[np.int64]
    shape: tuple[int, int]
    totals: NDArray[np.int64]


def reach(mask_HW: Mask, distance: int) -> Mask:
    """Pixels within a Chebyshev distance of any pixel of a mask, itself included."""
    near = maximum_filter(mask_HW.view(np.uint8), size=2 * distance + 1, mode="constant")
    return np.asarray(near, dtype=bool)


def draw_blocks(
    labels_HW: NDArray[np.integer],
    quotas: BlockQuotas,
    *,
    guard: int,
    block_size: int,
    rng: np.random.Generator,
) -> tuple[Mask, Mask, Mask]:
    """Search for compact training and validation areas, farther than a guard from the rest.

    Each candidate lays a grid at a random offset and ranks its blocks at random. Each class fills
    its training quota from the blocks in that order, so classes share blocks, and takes the last
    block's pixels from one side, so that even a class of a few pixels can lie on both sides of
    the guard. What is left beyond the guard gives validation in the same way, then test. The best
    candidate has the fewest classes without test pixels, then the fewest without validation
    pixels, then wastes the smallest share of a class, on average, on the guard.

    Args:
        labels_HW: Class ids, 0 = unlabelled.
        quotas: Pixels per class, classes ascending.
        guard: Training pixels are farther than this from the other parts (Chebyshev distance).
        block_size: Side of a block, in pixels.
        rng: Decides every candidate.

    Returns:
        Masks (H, W) of the training, validation and test pixels.
    """
    places = np.argwhere(labels_HW != 0)
    _, classes, totals = np.unique(
        labels_HW[places[:, 0], places[:, 1]], return_inverse=True, return_counts=True
    )
    height, width = labels_HW.shape
    pixels = _Pixels(places=places, classes=classes, shape=(height, width), totals=totals)
    attempts = int(np.clip(_WORK // (labels_HW.size + len(places)), _FEWEST, _MOST))
    best: tuple[tuple[int, int, float], NDArray[np.uint8]] | None = None
    for _ in range(attempts):
        parts_N = _candidate(pixels, quotas, guard, block_size, rng)
        score = _score(pixels, parts_N)
        if best is None or score < best[0]:
            best = score, parts_N
    chosen_N = best[1] if best else np.zeros(len(places), dtype=np.uint8)
    train, validation, test = (
        _paint(pixels, chosen_N == part) for part in (_TRAIN, _VALIDATION, _TEST)
    )
    return train, validation, test


_TRAIN, _VALIDATION, _TEST = 1, 2, 3


def _candidate(
    pixels: _Pixels, quotas: BlockQuotas, guard: int, block_size: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    rows, cols = pixels.places.T
    block_row = (rows + rng.integers(block_size)) // block_size
    block_col = (cols + rng.integers(block_size)) // block_size
    block = block_row * (int(block_col.max()) + 1) + block_col
    rank = rng.random(int(block.max()) + 1)[block]
    angle = rng.uniform(0, 2 * np.pi)
    side = np.cos(angle) * rows + np.sin(angle) * cols
    parts = np.zeros(len(rows), dtype=np.uint8)
    train = _first(pixels, np.ones(len(rows), dtype=bool), quotas.train, rank, side)
    parts[train] = _TRAIN
    free = ~reach(_paint(pixels, train), guard)[rows, cols]
    counts = np.bincount(pixels.classes[free], minlength=len(pixels.totals))
    # A class with one pixel left gives it to the test part.
    wanted = np.minimum(quotas.validation, np.maximum(counts - 1, 0))
    parts[free] = _TEST
    parts[_first(pixels, free, wanted, 1 - rank, side)] = _VALIDATION
    return parts


def _first(
    pixels: _Pixels,
    allowed_N: Mask,
    quota_C: NDArray[np.int64],
    rank_N: NDArray[np.float64],
    side_N: NDArray[np.float64],
) -> Mask:
    """The first pixels of every class up to its quota, by block rank, then from one side."""
    candidates = np.flatnonzero(allowed_N)
    classes = pixels.classes[candidates]
    order = np.lexsort((side_N[candidates], rank_N[candidates], classes))
    sorted_classes = classes[order]
    starts = np.searchsorted(sorted_classes, np.arange(len(quota_C)))
    position = np.arange(len(order)) - starts[sorted_classes]
    chosen = np.zeros(len(allowed_N), dtype=bool)
    chosen[candidates[order[position < quota_C[sorted_classes]]]] = True
    return chosen


def _score(pixels: _Pixels, parts_N: NDArray[np.uint8]) -> tuple[int, int, float]:
    per_part = [
        np.bincount(pixels.classes[parts_N == part], minlength=len(pixels.totals))
        for part in (0, _VALIDATION, _TEST)
    ]
    unused, validation, test = per_part
    waste = float((unused / pixels.totals).mean())
    return int((test == 0).sum()), int((validation == 0).sum()), waste


def _paint(pixels: _Pixels, chosen_N: Mask) -> Mask:
    mask = np.zeros(pixels.shape, dtype=bool)
    mask[tuple(pixels.places[chosen_N].T)] = True
    return mask
