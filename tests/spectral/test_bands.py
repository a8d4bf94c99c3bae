"""Bad bands are found whatever the tiling, named as in the file, and taken out or refused."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from st_ray.errors import SceneError
from st_ray.spectral.bands import (
    BandSurvey,
    apply_verdict,
    judge_bands,
    survey_bands,
)
from st_ray.spectral.scene import Scene, SceneSpec, open_scene

if TYPE_CHECKING:
    from tests.conftest import SceneFiles

ALL = slice(None)


def _damaged(scene_files: SceneFiles) -> NDArray[np.float32]:
    """The small scene with every kind of damage, and what a reader should find."""
    values = scene_files.values.astype(np.float32)
    values[:, :, 3] = 7  # constant
    values[:, :, 5] = np.nan  # never measured
    values[:4, :, 8] = np.nan  # missing in 4 of 30 rows, more than 5 %
    values[0, 0, 10] = np.nan  # one labelled pixel lacks a band that is kept
    values[14, 3, 1] = np.nan  # an unlabelled pixel, of no consequence
    values[29, 0] = np.nan  # a labelled pixel without any value
    return values


def _tiled(values: NDArray[np.float32], labels: NDArray[np.uint8], side: int) -> list[BandSurvey]:
    height, width = labels.shape
    return [
        survey_bands(
            values[row : row + side, col : col + side],
            labels[row : row + side, col : col + side],
            (row, col),
        )
        for row in range(0, height, side)
        for col in range(0, width, side)
    ]


def _assert_equal(left: BandSurvey, right: BandSurvey) -> None:
    for item in fields(BandSurvey):
        mine, yours = getattr(left, item.name), getattr(right, item.name)
        np.testing.assert_array_equal(mine, yours, err_msg=item.name)
        assert mine.dtype == yours.dtype


@pytest.fixture
def damaged_scene(scene_files: SceneFiles, tmp_path: Path) -> Scene:
    np.save(tmp_path / "damaged.npy", _damaged(scene_files))
    spec = SceneSpec(name=str(tmp_path / "damaged.npy"), labels=str(scene_files.labels))
    return open_scene(spec)


def _survey(scene: Scene) -> BandSurvey:
    return survey_bands(scene.cube.read(ALL, ALL), scene.labels, (0, 0))


@pytest.mark.parametrize("side", [1, 7, 16, 30])
def test_a_survey_does_not_depend_on_tiling_or_order(side: int, scene_files: SceneFiles) -> None:
    values, labels = _damaged(scene_files), scene_files.truth
    whole = survey_bands(values, labels, (0, 0))
    parts = _tiled(values, labels, side)
    _assert_equal(reduce(BandSurvey.merge, parts), whole)
    np.random.default_rng(side).shuffle(parts)  # type: ignore[arg-type]
    _assert_equal(reduce(BandSurvey.merge, parts), whole)


def test_merging_is_associative(scene_files: SceneFiles) -> None:
    one, two, three, *_ = _tiled(_damaged(scene_files), scene_files.truth, 9)
    _assert_equal(one.merge(two).merge(three), one.merge(two.merge(three)))


def test_a_survey_survives_as_bytes(scene_files: SceneFiles) -> None:
    survey = survey_bands(_damaged(scene_files), scene_files.truth, (40, 50))
    data = survey.to_bytes()
    _assert_equal(BandSurvey.from_bytes(data), survey)
    assert data == survey.to_bytes()


def test_a_survey_counts_what_there_is(scene_files: SceneFiles) -> None:
    values, labels = _damaged(scene_files), scene_files.truth
    survey = survey_bands(values, labels, (100, 200))
    assert (int(survey.seen), int(survey.empty)) == (30 * 26 - 1, 1)
    assert survey.invalid.tolist() == [0, 1, 0, 0, 0, 779, 0, 0, 4 * 26, 0, 1, 0]
    assert survey.minimum[5] == np.inf
    np.testing.assert_array_equal(survey.minimum[:3], np.nanmin(values[:, :, :3], axis=(0, 1)))
    # Band 5 is missing everywhere, so every labelled pixel is listed.
    np.testing.assert_array_equal(survey.pixels, np.argwhere(labels) + np.array([100, 200]))


def test_bad_bands_are_named_with_their_reason(damaged_scene: Scene) -> None:
    verdict = judge_bands(_survey(damaged_scene), damaged_scene.cube.band_indices)
    assert verdict.bad == {
        3: "constant at 7",
        5: "NaN or nodata in every pixel",
        8: "NaN or nodata in 13.4% of the pixels",
    }
    assert verdict.masked.tolist() == [[0, 0], [29, 0]]
    assert verdict.empty == 1


def test_bands_are_numbered_as_in_the_file(damaged_scene: Scene) -> None:
    scene = replace(damaged_scene, cube=damaged_scene.cube.drop({0, 1, 2}))
    verdict = judge_bands(_survey(scene), scene.cube.band_indices)
    assert set(verdict.bad) == {3, 5, 8}


def test_bands_that_the_file_marks_as_bad_are_named_so(damaged_scene: Scene) -> None:
    verdict = judge_bands(_survey(damaged_scene), damaged_scene.cube.band_indices, marked=(3, 10))
    assert verdict.bad[3] == verdict.bad[10] == "marked bad in the header"
    assert verdict.bad[5] == "NaN or nodata in every pixel"
    assert verdict.masked.tolist() == [[29, 0]]  # what only band 10 lacked is not masked


def test_the_share_of_invalid_pixels_is_a_choice(damaged_scene: Scene) -> None:
    verdict = judge_bands(_survey(damaged_scene), damaged_scene.cube.band_indices, max_invalid=0.2)
    assert set(verdict.bad) == {3, 5}
    # Band 8 is kept, so the labelled pixels that lack it are masked: rows 0 to 3.
    expected = [*np.argwhere(damaged_scene.labels[:4]).tolist(), [29, 0]]
    assert verdict.masked.tolist() == expected


def test_dropping_leaves_a_scene_without_a_gap_under_its_labels(damaged_scene: Scene) -> None:
    verdict = judge_bands(_survey(damaged_scene), damaged_scene.cube.band_indices)
    scene, notes = apply_verdict(damaged_scene, verdict, "drop")
    assert scene.cube.band_indices == (0, 1, 2, 4, 6, 7, 9, 10, 11)
    assert scene.labels[0, 0] == scene.labels[29, 0] == 0
    assert (scene.labels != 0).sum() == (damaged_scene.labels != 0).sum() - 2
    assert not np.isnan(scene.cube.read(ALL, ALL)[scene.labels != 0]).any()
    assert set(scene.false_colour) <= set(scene.cube.band_indices)
    assert notes[0].startswith("left out 3 unusable bands: 3 (constant at 7), 5 (NaN")
    assert "2 labelled pixels with NaN or nodata in usable bands: (0, 0), (29, 0)" in notes[1]
    assert damaged_scene.labels[0, 0] != 0  # the given scene is left as it was


def test_the_error_policy_names_bands_and_remedy_in_one_line(damaged_scene: Scene) -> None:
    verdict = judge_bands(_survey(damaged_scene), damaged_scene.cube.band_indices)
    with pytest.raises(SceneError) as caught:
        apply_verdict(damaged_scene, verdict, "error")
    message = str(caught.value)
    assert "3 (constant at 7), 5 (NaN or nodata in every pixel), 8 (" in message
    assert "--set scene.bad_bands=drop" in message
    assert "\n" not in message


@pytest.mark.parametrize("policy", ["drop", "error"])
def test_a_sound_scene_is_left_alone(policy: str, small_scene: Scene) -> None:
    verdict = judge_bands(_survey(small_scene), small_scene.cube.band_indices)
    assert apply_verdict(small_scene, verdict, policy) == (small_scene, ())  # type: ignore[arg-type]


def test_a_class_lost_with_its_pixels_is_noted(scene_files: SceneFiles, tmp_path: Path) -> None:
    labels = scene_files.truth.copy()
    labels[15, 0] = 4
    values = scene_files.values.astype(np.float32)
    values[15, 0, 0] = np.nan
    np.save(tmp_path / "cube.npy", values)
    np.save(tmp_path / "gt.npy", labels)
    spec = SceneSpec(name=str(tmp_path / "cube.npy"), labels=str(tmp_path / "gt.npy"))
    given = open_scene(spec)
    verdict = judge_bands(_survey(given), given.cube.band_indices)
    scene, notes = apply_verdict(given, verdict, "drop")
    assert scene.classes == (2, 5, 9)
    assert set(scene.class_names) == {2, 5, 9}
    assert "left out classes [4], which have no valid pixel" in notes


def test_too_few_classes_left_says_what_took_them(scene_files: SceneFiles, tmp_path: Path) -> None:
    values = scene_files.values.astype(np.float32)
    values[scene_files.truth != scene_files.truth.max(), 0] = np.nan
    np.save(tmp_path / "cube.npy", values)
    given = open_scene(SceneSpec(name=str(tmp_path / "cube.npy"), labels=str(scene_files.labels)))
    verdict = judge_bands(_survey(given), given.cube.band_indices, max_invalid=0.99)
    with pytest.raises(SceneError, match=r"too few classes .* labelled pixels .* classes \["):
        apply_verdict(given, verdict, "drop")


def test_many_bad_bands_still_make_one_short_line(small_scene: Scene) -> None:
    values = small_scene.cube.read(ALL, ALL)
    values[:, :, :11] = 0
    verdict = judge_bands(survey_bands(values, small_scene.labels, (0, 0)), range(12))
    _, notes = apply_verdict(small_scene, verdict, "drop")
    assert notes[0].endswith("7 (constant at 0) and 3 more")


@pytest.mark.parametrize("policy", ["drop", "error"])
def test_a_scene_without_a_usable_band_is_refused(policy: str, small_scene: Scene) -> None:
    survey = survey_bands(np.ones((30, 26, 12), np.float32), small_scene.labels, (0, 0))
    verdict = judge_bands(survey, small_scene.cube.band_indices)
    with pytest.raises(SceneError, match="has no usable band"):
        apply_verdict(small_scene, verdict, policy)  # type: ignore[arg-type]


def test_a_scene_without_a_valid_value_is_refused(small_scene: Scene) -> None:
    survey = survey_bands(np.full((30, 26, 12), np.nan, np.float32), small_scene.labels, (0, 0))
    with pytest.raises(SceneError, match=r"no pixel .* valid value; check scene\.nodata"):
        judge_bands(survey, small_scene.cube.band_indices)


def test_a_scene_without_a_valid_labelled_pixel_is_refused(small_scene: Scene) -> None:
    values = small_scene.cube.read(ALL, ALL)
    values[small_scene.labels != 0] = np.nan
    verdict = judge_bands(survey_bands(values, small_scene.labels, (0, 0)), range(12))
    with pytest.raises(SceneError, match="every labelled pixel"):
        apply_verdict(small_scene, verdict, "drop")


def test_nodata_counts_as_invalid(scene_files: SceneFiles, tmp_path: Path) -> None:
    values = scene_files.values.astype(np.int32)
    values[:, :, 2] = -9999
    np.save(tmp_path / "cube.npy", values)
    scene = open_scene(
        SceneSpec(name=str(tmp_path / "cube.npy"), labels=str(scene_files.labels), nodata=-9999)
    )
    verdict = judge_bands(_survey(scene), scene.cube.band_indices)
    assert verdict.bad == {2: "NaN or nodata in every pixel"}


def test_indian_pines_is_sound() -> None:
    scene = open_scene(SceneSpec())
    verdict = judge_bands(_survey(scene), scene.cube.band_indices)
    assert (verdict.bad, len(verdict.masked), verdict.empty) == ({}, 0, 0)
