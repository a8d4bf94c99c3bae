"""Splits that keep scenes whole: of several scenes, each trains, validates or tests.

Shape letters: H W mosaic, N scenes, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from st_ray.errors import SplitError
from st_ray.spectral.masks import carve
from st_ray.spectral.members import Member
from st_ray.spectral.parts import PART_NAMES, TEST, TRAIN, UNUSED, VALIDATION, list_small

_TRIES = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Shares:
    """How many of the scenes go where.

    Attributes:
        train: Share of them that trains, in 0..1; at least one.
        validation: Share of them that validates, likewise.
        pixels: Labelled pixels of a scene that train or validate, at most; None: all.
    """

    train: float
    validation: float
    pixels: int | None = None


def allot(
    labels_HW: NDArray[np.integer],
    members: Sequence[Member],
    shares: Shares,
    rng: np.random.Generator,
) -> tuple[NDArray[np.uint8], list[str]]:
    """Give every scene with a labelled pixel a part.

    What a manifest says is kept. The other scenes are drawn: class by class where each of them
    holds one class, else so that as few classes as possible lack a part. Without a validation
    part, one is carved from the training scenes.

    Args:
        labels_HW: Class ids, 0 = unlabelled.
        members: The scenes.
        shares: Of the drawn ones.
        rng: Decides the draw.

    Returns:
        Parts (H, W), and notes.

    Raises:
        SplitError: There are too few scenes, or a class has none to train on.
    """
    crops = [labels_HW[m.extent.rows, : m.extent.width] for m in members]
    classes_N = [frozenset(np.unique(crop[crop != 0]).tolist()) for crop in crops]
    parts_N = np.full(len(members), UNUSED, np.uint8)
    for index, member in enumerate(members):
        if member.part and classes_N[index]:
            parts_N[index] = PART_NAMES.index(member.part)
    given = int((parts_N != UNUSED).sum())
    free = [index for index, held in enumerate(classes_N) if held and not parts_N[index]]
    if free:
        parts_N[free] = _draw([classes_N[index] for index in free], shares, rng)
    carved = "" if (parts_N == VALIDATION).any() else _carve(parts_N, classes_N, shares, rng)
    _check_training(parts_N, classes_N)
    parts_HW = np.zeros(labels_HW.shape, np.uint8)
    for member, part, crop in zip(members, parts_N, crops, strict=True):
        parts_HW[member.extent.rows, : member.extent.width][crop != 0] = part
    notes = [_describe(parts_N, given)]
    if carved:
        notes.append(carved)
    if not (parts_N == VALIDATION).any():
        notes.append(_carve_pixels(parts_HW, labels_HW, members, shares, rng))
    if shares.pixels is not None:
        notes.append(_thin(parts_HW, members, shares.pixels, rng))
    return parts_HW, notes


def _draw(
    classes_N: Sequence[frozenset[int]], shares: Shares, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Parts (N,) of scenes that nobody has given one."""
    if all(len(held) == 1 for held in classes_N):
        return _draw_by_class(np.array([next(iter(held)) for held in classes_N]), shares, rng)
    if len(classes_N) < 3:
        raise SplitError(
            f"a split by scene needs 3 scenes, for training, validation and test, and there are "
            f"{len(classes_N)} to draw from; name their parts in a manifest, or use --split random "
            "or disjoint"
        )
    return _best_draw(classes_N, _counts(len(classes_N), shares), rng)


def _draw_by_class(
    class_N: NDArray[np.int64], shares: Shares, rng: np.random.Generator
) -> NDArray[np.uint8]:
    ids, totals = np.unique(class_N, return_counts=True)
    few = [(int(c), int(n)) for c, n in zip(ids, totals, strict=True) if n < 3]
    if few:
        raise SplitError(
            "every class needs 3 scenes to draw from, for training, validation and test: "
            f"{list_small(few)}, or name their parts in a manifest"
        )
    parts_N = np.full(len(class_N), TEST, np.uint8)
    for index, total in zip(ids, totals, strict=True):
        places = rng.permutation(np.flatnonzero(class_N == index))
        train, validation = _counts(int(total), shares)
        parts_N[places[:train]] = TRAIN
        parts_N[places[train : train + validation]] = VALIDATION
    return parts_N


def _counts(total: int, shares: Shares) -> tuple[int, int]:
    """Of so many scenes, those that train and those that validate; one is left to test."""
    train = min(max(1, round(shares.train * total)), total - 2)
    return train, min(max(1, round(shares.validation * total)), total - 1 - train)


def _best_draw(
    classes_N: Sequence[frozenset[int]], counts: tuple[int, int], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """The draw that leaves the fewest classes without training, then test, then validation."""
    everything = frozenset().union(*classes_N)
    best: tuple[tuple[int, ...], NDArray[np.uint8]] | None = None
    for _ in range(_TRIES):
        order = rng.permutation(len(classes_N))
        parts_N = np.full(len(classes_N), TEST, np.uint8)
        parts_N[order[: counts[0]]] = TRAIN
        parts_N[order[counts[0] : sum(counts)]] = VALIDATION
        score = tuple(
            len(everything - _held(classes_N, parts_N == part))
            for part in (TRAIN, TEST, VALIDATION)
        )
        if best is None or score < best[0]:
            best = score, parts_N
        if not any(score):
            break
    assert best is not None  # there is at least one try
    return best[1]


def _held(classes_N: Sequence[frozenset[int]], chosen_N: NDArray[np.bool_]) -> frozenset[int]:
    """The classes of the chosen scenes."""
    return frozenset().union(*(classes_N[index] for index in np.flatnonzero(chosen_N).tolist()))


def _carve(
    parts_N: NDArray[np.uint8],
    classes_N: Sequence[frozenset[int]],
    shares: Shares,
    rng: np.random.Generator,
) -> str:
    """Let some training scenes validate, as long as every class keeps one to train on.

    Returns:
        A note; "" if none could be spared.
    """
    training = rng.permutation(np.flatnonzero(parts_N == TRAIN))
    wanted = max(1, round(shares.validation * len(training)))
    # Scenes of as many classes as possible come first: every class should be validated.
    seen: set[int] = set()
    spared: list[int] = []
    for fresh in (True, False):
        for index in training.tolist():
            useful = bool(classes_N[index] - seen) if fresh else len(spared) < wanted
            if index in spared or not useful:
                continue
            without = parts_N == TRAIN
            without[index] = False
            if classes_N[index] <= _held(classes_N, without):
                parts_N[index] = VALIDATION
                spared.append(index)
                seen |= classes_N[index]
    if not spared:
        return ""
    number = (
        "1 of the training scenes validates"
        if len(spared) == 1
        else (f"{len(spared)} of the training scenes validate")
    )
    return f"no scene was given to validation: {number}"


def _carve_pixels(
    parts_HW: NDArray[np.uint8],
    labels_HW: NDArray[np.integer],
    members: Sequence[Member],
    shares: Shares,
    rng: np.random.Generator,
) -> str:
    """Let some pixels of the training scenes validate, where no scene can be spared."""
    if any(member.whole for member in members):
        raise SplitError(
            "no scene is left to validate on: every class has one training scene; give some "
            "scenes part=validation in the manifest"
        )
    parts_HW[carve(parts_HW == TRAIN, labels_HW, shares.validation, rng)] = VALIDATION
    return (
        f"no scene was given to validation, and none can be spared: {shares.validation:.0%} of the "
        "training pixels, stratified, validate"
    )


def _thin(
    parts_HW: NDArray[np.uint8], members: Sequence[Member], most: int, rng: np.random.Generator
) -> str:
    """Leave at most so many pixels of a scene to training, and to validation."""
    for member in members:
        crop = parts_HW[member.extent.rows, : member.extent.width]
        for part in (TRAIN, VALIDATION):
            places = np.argwhere(crop == part)
            dropped = rng.permutation(len(places))[most:]
            crop[tuple(places[dropped].T)] = UNUSED
    return f"at most {most} pixels of a scene train or validate; test scenes are scored in full"


def _check_training(parts_N: NDArray[np.uint8], classes_N: Sequence[frozenset[int]]) -> None:
    everything = frozenset().union(*classes_N)
    without = sorted(everything - _held(classes_N, parts_N == TRAIN))
    if without:
        raise SplitError(
            f"no training scene holds classes {without}; a larger --train-fraction, another "
            "--seed, parts in a manifest, or leave them out with "
            f"--set scene.ignore_classes={without}"
        )


def _describe(parts_N: NDArray[np.uint8], given: int) -> str:
    used = int((parts_N != UNUSED).sum())
    counts = ", ".join(
        f"{int((parts_N == part).sum())} {PART_NAMES[part]}" for part in (TRAIN, VALIDATION, TEST)
    )
    how = {0: "drawn", used: "as the manifest says"}.get(given, f"{given} as the manifest says")
    return f"each scene is wholly in one part: {counts} ({how})"
