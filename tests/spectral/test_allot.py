"""Splits by scene: no scene is in two parts, and every class is where it can be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from st_ray.errors import SplitError
from st_ray.spectral.cube import Extent
from st_ray.spectral.members import Member
from st_ray.spectral.parts import TEST, TRAIN, UNUSED, VALIDATION
from st_ray.spectral.split import Split, SplitSpec, footprint_overlap, leakage, split_labels
from st_ray.spectral.splitfile import save_split

SIDE, STEP = 6, 70


def mosaic(
    classes: list[list[int]], parts: list[str] | None = None, *, whole: bool = True
) -> tuple[NDArray[np.int32], tuple[Member, ...]]:
    """Scenes of some classes each, one column strip a class; their labels and members."""
    labels = np.zeros((STEP * len(classes), SIDE), np.int32)
    members = []
    for index, held in enumerate(classes):
        extent = Extent(top=STEP * index, height=SIDE, width=SIDE)
        labels[extent.rows] = np.resize(held or [0], SIDE)
        part = parts[index] if parts else ""
        members.append(Member(name=f"s{index}", extent=extent, part=part, whole=whole))
    return labels, tuple(members)


def parts_of(split: Split, members: tuple[Member, ...]) -> list[int]:
    """The one part of every scene's labelled pixels; 0 without any."""
    found = []
    for member in members:
        own = set(np.unique(split.parts[member.extent.rows])) - {UNUSED}
        assert len(own) <= 1
        found.append(int(own.pop()) if own else UNUSED)
    return found


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.lists(st.integers(3, 30), min_size=1, max_size=5),
    st.floats(0.02, 0.6),
    st.floats(0.02, 0.39),
    st.integers(0, 2**32),
)
def test_scenes_of_one_class_are_drawn_class_by_class(
    totals: list[int], train: float, validation: float, seed: int
) -> None:
    classes = [[index + 1] for index, total in enumerate(totals) for _ in range(total)]
    labels, members = mosaic(classes)
    spec = SplitSpec(train_fraction=train, validation_fraction=validation)
    split = split_labels(labels, spec, seed, 5, members)
    parts = np.array(parts_of(split, members))
    assert leakage(split, 11) == footprint_overlap(split, 11) == 0.0
    for index, total in enumerate(totals, start=1):
        own = parts[[held == [index] for held in classes]]
        assert {TRAIN, VALIDATION, TEST} <= set(own)
        assert (own == TRAIN).sum() == min(max(1, round(train * total)), total - 2)
    again = split_labels(labels, spec, seed, 5, members)
    np.testing.assert_array_equal(split.parts, again.parts)


def test_scenes_of_many_classes_are_drawn_so_that_every_class_trains_and_is_tested() -> None:
    # Classes 1 and 2 are in two scenes each, 3 in all.
    classes = [[1, 3], [1, 3], [2, 3], [2, 3], [3], [3], [3]]
    labels, members = mosaic(classes, whole=False)
    spec = SplitSpec(kind="scenes", train_fraction=0.4, validation_fraction=0.2)
    for seed in range(5):
        split = split_labels(labels, spec, seed, 5, members)
        table = split.counts(labels)
        assert all(row["train"] and row["test"] for row in table.values())
        parts = parts_of(split, members)
        assert [parts.count(part) for part in (TRAIN, VALIDATION, TEST)] == [3, 1, 3]


def test_a_class_that_no_training_scene_can_hold_is_named() -> None:
    labels, members = mosaic([[1, 2], [1, 3], [1, 4], [1, 5]], whole=False)
    with pytest.raises(SplitError, match=r"no training scene holds classes \[.*ignore_classes"):
        split_labels(labels, SplitSpec(kind="scenes"), 0, 5, members)


def test_the_manifests_parts_are_kept_and_the_others_drawn() -> None:
    parts = ["test", "train", "validation", "", "", "", ""]
    labels, members = mosaic([[1]] * 3 + [[2]] * 4, parts)
    split = split_labels(labels, SplitSpec(), 3, 5, members)
    found = parts_of(split, members)
    assert found[:3] == [TEST, TRAIN, VALIDATION]
    assert sorted(found[3:]) == [TRAIN, VALIDATION, TEST, TEST]
    assert split.notes[0].endswith("2 train, 2 validation, 3 test (3 as the manifest says)")


def test_without_a_validation_part_training_scenes_are_carved() -> None:
    parts = ["train"] * 6 + ["test"] * 2
    labels, members = mosaic([[1], [1], [1], [2], [2], [2], [1], [2]], parts)
    split = split_labels(labels, SplitSpec(), 0, 5, members)
    found = parts_of(split, members)
    assert sorted(found[:3]) == sorted(found[3:6]) == [TRAIN, TRAIN, VALIDATION]
    assert "2 of the training scenes validate" in split.notes[1]


def test_one_training_scene_gives_pixels_to_validation() -> None:
    labels, members = mosaic([[1, 2], [1, 2]], ["train", "test"], whole=False)
    split = split_labels(labels, SplitSpec(validation_fraction=0.2), 0, 5, members)
    counts = split.counts(labels)
    assert {row["validation"] for row in counts.values()} == {4}
    assert any("none can be spared" in note for note in split.notes)
    labels, members = mosaic([[1], [2], [1], [2]], ["train", "train", "test", "test"])
    with pytest.raises(SplitError, match=r"no scene is left to validate on"):
        split_labels(labels, SplitSpec(), 0, 5, members)


@pytest.mark.parametrize(
    ("classes", "parts", "message"),
    [
        ([[1]] * 3 + [[2]] * 2, None, r"class 2 has 2; leave out.*ignore_classes=\[2\]"),
        ([[1], [2]] * 2, ["train", "", "test", ""], r"class 2 has 2"),
        ([[1], [2]] * 3, ["test", "test", "", "", "", ""], r"class 1 has 2, class 2 has 2"),
        ([[1]] * 6, ["train"] * 4 + ["validation"] * 2, r"leaves no test pixel; give a scene part"),
        ([[1]] * 4, ["test"] * 4, r"no training scene holds classes \[1\]"),
    ],
)
def test_what_cannot_be_split_by_scene_says_why(classes, parts, message) -> None:
    labels, members = mosaic(classes, parts)
    with pytest.raises(SplitError, match=message):
        split_labels(labels, SplitSpec(), 0, 5, members)


def test_a_scene_without_labels_is_in_no_part() -> None:
    labels, members = mosaic([[1], [1], [1], []])
    split = split_labels(labels, SplitSpec(), 0, 5, members)
    assert parts_of(split, members)[3] == UNUSED


@pytest.mark.parametrize("kind", ["random", "disjoint"])
def test_scenes_with_one_label_are_never_split_by_pixel(kind: str, tmp_path: Path) -> None:
    labels, members = mosaic([[1]] * 4 + [[2]] * 4)
    with pytest.raises(SplitError, match=rf"a {kind} split draws pixels, and 8 of the 8 scenes"):
        split_labels(labels, SplitSpec(kind=kind), 0, 5, members)
    drawn = split_labels(labels, SplitSpec(kind="random"), 0, 5)
    save_split(drawn, tmp_path / "split.json", labels)
    with pytest.raises(SplitError, match=r"scene s0, .* is in train and "):
        split_labels(labels, SplitSpec(kind=str(tmp_path / "split.json")), 0, 5, members)


def test_a_split_by_scene_is_read_back(tmp_path: Path) -> None:
    labels, members = mosaic([[1]] * 4 + [[2]] * 4)
    split = split_labels(labels, SplitSpec(), 0, 5, members)
    save_split(split, tmp_path / "split.json", labels)
    again = split_labels(labels, SplitSpec(kind=str(tmp_path / "split.json")), 1, 5, members)
    np.testing.assert_array_equal(again.parts, split.parts)


def test_what_a_manifest_says_is_not_overruled_by_another_split() -> None:
    labels, members = mosaic([[1, 2]] * 3, ["train", "", ""], whole=False)
    with pytest.raises(SplitError, match=r"would ignore the parts that the manifest gives 1"):
        split_labels(labels, SplitSpec(kind="random"), 0, 5, members)
    with pytest.raises(SplitError, match=r"needs several scenes"):
        split_labels(labels, SplitSpec(kind="scenes"), 0, 5)


def test_scenes_of_many_pixels_may_give_fewer_to_training() -> None:
    labels, members = mosaic([[1]] * 4 + [[2]] * 4)
    split = split_labels(labels, SplitSpec(pixels_per_scene=5), 0, 5, members)
    table = split.counts(labels)
    assert all(row["train"] == row["validation"] == 5 for row in table.values())
    assert all(row["test"] == 2 * SIDE**2 for row in table.values())
    with pytest.raises(SplitError, match=r"pixels_per_scene=0"):
        SplitSpec(pixels_per_scene=0)
    with pytest.raises(SplitError, match=r"goes with a split by scene"):
        SplitSpec(kind="random", pixels_per_scene=5)


def test_leakage_looks_at_each_scene_alone() -> None:
    # Footprints wider than the space between two scenes do not meet all the same.
    labels, members = mosaic([[1], [1], [1]])
    split = split_labels(labels, SplitSpec(), 0, 5, members)
    assert leakage(split, 151) == footprint_overlap(split, 151) == 0.0
    alone = Split(parts=split.parts)
    assert leakage(alone, 151) > 0
