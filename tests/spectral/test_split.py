"""Splits: disjoint parts, honest fractions, a guard band that holds, and a leakage that is true."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from st_ray.errors import SpecError, SplitError
from st_ray.spectral.parts import TEST, TRAIN, UNUSED, VALIDATION
from st_ray.spectral.scene import Scene, SceneSpec, open_scene
from st_ray.spectral.split import Split, SplitSpec, footprint_overlap, leakage, split_labels

RANDOM, DISJOINT = SplitSpec(), SplitSpec(kind="disjoint")


@pytest.fixture(scope="module")
def pines() -> NDArray[np.int32]:
    return open_scene(SceneSpec()).labels


@st.composite
def label_rasters(draw: st.DrawFn) -> NDArray[np.int32]:
    """Scenes of a few rectangles with non-contiguous ids, each class with 3 pixels or more."""
    height, width = draw(st.integers(12, 40)), draw(st.integers(12, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    labels = np.zeros((height, width), dtype=np.int32)
    for index in rng.permutation([1, 4, 5, 40])[: draw(st.integers(1, 4))]:
        row, col = rng.integers(0, height - 3), rng.integers(0, width - 3)
        labels[row : row + rng.integers(3, 20), col : col + rng.integers(3, 20)] = index
    ids, counts = np.unique(labels, return_counts=True)
    labels[np.isin(labels, ids[counts < 3])] = 0
    return labels


def _chebyshev(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> int:
    """Smallest Chebyshev distance between two sets of pixels, by trying every pair."""
    apart = np.abs(np.argwhere(one)[:, None] - np.argwhere(other)[None])
    return int(apart.max(axis=2).min())


def _check_coverage(split: Split, labels: NDArray[np.int32]) -> None:
    assert split.parts.dtype == np.uint8
    assert (split.parts[labels == 0] == UNUSED).all()
    assert set(np.unique(split.parts)) <= {UNUSED, TRAIN, VALIDATION, TEST}
    assert sum(part.astype(int) for part in (split.train, split.validation, split.test)).max() == 1
    table = split.counts(labels)
    for index, parts in table.items():
        assert sum(parts.values()) == (labels == index).sum()
        assert parts["train"] >= 1


@settings(max_examples=25, deadline=None)
@given(label_rasters(), st.floats(0.02, 0.6), st.floats(0.02, 0.39), st.integers(0, 2**32))
def test_a_random_split_is_stratified_and_uses_every_labelled_pixel(
    labels: NDArray[np.int32], train: float, validation: float, seed: int
) -> None:
    spec = SplitSpec(train_fraction=train, validation_fraction=validation)
    split = split_labels(labels, spec, seed, 3)
    _check_coverage(split, labels)
    for index, parts in split.counts(labels).items():
        total = int((labels == index).sum())
        assert parts["unused"] == 0
        assert min(parts["train"], parts["validation"], parts["test"]) >= 1
        # At least one test pixel comes first; beyond that, the fractions to the nearest pixel.
        assert parts["train"] == min(max(1, round(train * total)), total - 2)
        assert parts["validation"] in (
            max(1, round(validation * total)),
            total - 1 - parts["train"],
        )


@settings(max_examples=15, deadline=None)
@given(label_rasters(), st.sampled_from([1, 3, 5, 7]), st.integers(0, 2**32))
def test_a_disjoint_split_keeps_its_guard(
    labels: NDArray[np.int32], patch_size: int, seed: int
) -> None:
    try:
        split = split_labels(labels, DISJOINT, seed, patch_size)
    except SplitError:  # too small a scene for the guard; seldom, or hypothesis complains
        reject()
    _check_coverage(split, labels)
    assert _chebyshev(split.train, split.validation | split.test) > patch_size // 2
    assert leakage(split, patch_size) == 0


@pytest.mark.parametrize("kind", ["random", "disjoint"])
def test_a_seed_repeats_a_split_and_another_changes_it(kind: str, small_scene: Scene) -> None:
    spec = SplitSpec(kind=kind)
    one, same, other = (split_labels(small_scene.labels, spec, seed, 5) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.parts, same.parts)
    assert (one.parts != other.parts).any()


def test_a_class_of_three_pixels_has_one_in_each_part() -> None:
    labels = np.zeros((9, 9), dtype=np.int32)
    labels[:6] = 1
    labels[8, :3] = 7
    split = split_labels(labels, SplitSpec(train_fraction=0.8, validation_fraction=0.15), 0, 3)
    assert split.counts(labels)[7] == {"train": 1, "validation": 1, "test": 1, "unused": 0}


def test_the_test_part_keeps_a_pixel_when_rounding_would_take_all() -> None:
    labels = np.zeros((9, 9), dtype=np.int32)
    labels[:6] = 1
    labels[8, :5] = 7
    split = split_labels(labels, SplitSpec(train_fraction=0.6, validation_fraction=0.39), 0, 3)
    assert split.counts(labels)[7] == {"train": 3, "validation": 1, "test": 1, "unused": 0}


def test_the_test_part_keeps_a_pixel_of_what_the_guard_leaves() -> None:
    labels = np.zeros((30, 30), dtype=np.int32)
    labels[:, 8:] = 1
    labels[:10, :2] = 9  # as long and narrow as Indian Pines' Oats
    spec = SplitSpec(kind="disjoint", train_fraction=0.1, validation_fraction=0.8)
    parts = split_labels(labels, spec, 0, 11).counts(labels)[9]
    assert (parts["train"], parts["test"]) == (2, 1)
    assert parts["validation"] >= 1


@pytest.mark.parametrize("kind", ["random", "disjoint"])
def test_a_class_with_too_few_pixels_is_named_with_the_remedy(kind: str) -> None:
    labels = np.ones((9, 9), dtype=np.int32)
    labels[0, 0] = 9
    labels[1, :2] = 12
    with pytest.raises(SplitError) as caught:
        split_labels(labels, SplitSpec(kind=kind), 0, 3)
    message = str(caught.value)
    assert "class 9 has 1, class 12 has 2" in message
    assert "--set scene.ignore_classes=[9, 12]" in message


@pytest.mark.parametrize(
    ("train", "validation", "says"),
    [
        (0.0, 0.1, "split.train_fraction=0.0"),
        (-0.5, 0.1, "split.train_fraction=-0.5"),
        (1.0, 0.1, "split.train_fraction=1.0"),
        (float("nan"), 0.1, "split.train_fraction=nan"),
        (0.1, 0.0, "split.validation_fraction=0.0"),
        (0.1, float("inf"), "split.validation_fraction=inf"),
        (0.9, 0.1, "their sum must be below 1"),
        (0.7, 0.6, "their sum must be below 1"),
    ],
)
def test_impossible_fractions_are_named(train: float, validation: float, says: str) -> None:
    with pytest.raises(SplitError) as caught:
        SplitSpec(train_fraction=train, validation_fraction=validation)
    assert says in str(caught.value)


def test_other_impossible_settings_are_named() -> None:
    with pytest.raises(SplitError, match=r"split\.guard=-1"):
        SplitSpec(guard=-1)
    with pytest.raises(SplitError, match=r"split\.block_size=0"):
        SplitSpec(block_size=0)
    with pytest.raises(SplitError, match="go with a mask file, not with split.kind=auto"):
        SplitSpec(test_path="test.mat")


@pytest.mark.parametrize("size", [0, -3, 4])
def test_patch_sizes_are_odd_and_positive(size: int, small_scene: Scene) -> None:
    with pytest.raises(SpecError, match=f"patch_size={size}: expected an odd number"):
        split_labels(small_scene.labels, RANDOM, 0, size)


def test_a_patch_larger_than_the_scene_names_the_largest(small_scene: Scene) -> None:
    with pytest.raises(SpecError, match=r"27 exceeds .* 30 x 26 pixels; set patch_size <= 25"):
        split_labels(small_scene.labels, RANDOM, 0, 27)
    assert split_labels(small_scene.labels, RANDOM, 0, 25).test.any()


def test_an_unknown_split_lists_the_known_ones(small_scene: Scene) -> None:
    with pytest.raises(SplitError, match=r"did you mean 'random'.*disjoint, random, scenes.*path"):
        split_labels(small_scene.labels, SplitSpec(kind="randm"), 0, 5)
    with pytest.raises(SplitError, match=r"no such split file: missing\.mat"):
        split_labels(small_scene.labels, SplitSpec(kind="missing.mat"), 0, 5)


def test_a_guard_that_leaves_no_other_part_is_an_error(small_scene: Scene) -> None:
    with pytest.raises(SplitError, match=r"leaves no validation pixel; a smaller split\.guard"):
        split_labels(small_scene.labels, SplitSpec(kind="disjoint", guard=30), 0, 5)


def test_a_narrow_guard_is_obeyed_and_noted(small_scene: Scene) -> None:
    split = split_labels(small_scene.labels, SplitSpec(kind="disjoint", guard=0), 0, 7)
    assert leakage(split, 1) == 0
    assert leakage(split, 7) > 0
    assert any("narrower than the patch's radius 3" in note for note in split.notes)


def test_a_class_too_compact_for_the_guard_is_noted() -> None:
    labels = np.zeros((40, 40), dtype=np.int32)
    labels[:, 10:] = 1
    labels[:3, :3] = 6
    split = split_labels(labels, DISJOINT, 0, 9)
    assert split.counts(labels)[6]["train"] == 1
    assert "classes without a test pixel: [6]" in split.notes
    assert "classes without a validation pixel: [6]" in split.notes


def test_disjoint_on_indian_pines_gives_every_class_all_three_parts(
    pines: NDArray[np.int32],
) -> None:
    start = time.perf_counter()
    split = split_labels(pines, DISJOINT, 0, 11)
    assert time.perf_counter() - start < 10  # 0.7 s on an idle core
    _check_coverage(split, pines)
    assert leakage(split, 11) == 0
    for index, parts in split.counts(pines).items():
        assert parts["train"] == max(1, round(0.1 * (pines == index).sum()))
        assert parts["validation"] >= 1
        assert parts["test"] >= 1
    assert split.test.sum() > 4000


def test_random_on_indian_pines_leaks_nearly_everywhere(pines: NDArray[np.int32]) -> None:
    split = split_labels(pines, RANDOM, 0, 13)
    assert split.train.sum() == 1025
    assert leakage(split, 13) > 0.998
    assert footprint_overlap(split, 13) == 1
    assert leakage(split, 1) == 0


@settings(max_examples=15, deadline=None)
@given(label_rasters(), st.sampled_from([1, 3, 5, 9]))
def test_leakage_and_overlap_equal_their_definition(
    labels: NDArray[np.int32], patch_size: int
) -> None:
    split = split_labels(labels, RANDOM, 0, patch_size)
    train, test = np.argwhere(split.train), np.argwhere(split.test)
    nearest = np.abs(test[:, None] - train[None]).max(axis=2).min(axis=1)
    assert leakage(split, patch_size) == pytest.approx((nearest <= patch_size // 2).mean())
    assert footprint_overlap(split, patch_size) == pytest.approx(
        (nearest <= 2 * (patch_size // 2)).mean()
    )
