"""One look, tile by tile, sees what NumPy sees in the whole array."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from st_ray.doctor.looking import Look, look_over
from st_ray.spectral.scene import Scene, SceneSpec, open_scene

Opened = Callable[..., Scene]


@pytest.fixture
def opened(tmp_path: Path, scene_files) -> Opened:
    """Write values and open them with the small scene's labels."""

    def write(values: NDArray[np.generic], nodata: float | None = None) -> Scene:
        np.save(tmp_path / "cube.npy", values)
        spec = SceneSpec(
            name=str(tmp_path / "cube.npy"), labels=str(scene_files.labels), nodata=nodata
        )
        return open_scene(spec)

    return write


@pytest.mark.parametrize("side", [7, 16, 64])
def test_sums_do_not_depend_on_the_tiles(side: int, small_scene: Scene, scene_files) -> None:
    values, truth = scene_files.values.astype(np.float64), scene_files.truth
    look = look_over(small_scene, side)
    np.testing.assert_allclose(look.mean, values.mean(axis=(0, 1)), rtol=1e-12)
    np.testing.assert_allclose(look.deviation, values.std(axis=(0, 1)), rtol=1e-10)
    np.testing.assert_array_equal(
        look.at_maximum, (values == values.max(axis=(0, 1))).sum(axis=(0, 1))
    )
    assert look.pixels.tolist() == [(truth == index).sum() for index in (2, 5, 9)]
    for position, index in enumerate((2, 5, 9)):
        np.testing.assert_allclose(look.spectra[position], values[truth == index].mean(axis=0))
    np.testing.assert_array_equal(look.picture, values[:, :, list(small_scene.false_colour)])
    assert not look.nan.any()
    assert look.flat == {}


def test_nan_and_nodata_are_told_apart(opened: Opened, scene_files) -> None:
    values = scene_files.values.astype(np.float32)
    values[3, 4, 2] = np.nan
    values[5, :6, 7] = np.inf
    values[0, :5] = -9999.0
    look = look_over(opened(values, -9999.0), 8)
    assert look.nan.tolist() == [0, 0, 1, 0, 0, 0, 0, 6, 0, 0, 0, 0]
    assert look.nodata.tolist() == [5] * 12
    assert int(look.survey.empty) == 5
    clean = np.where(np.isfinite(values) & (values != -9999.0), values, np.nan)
    np.testing.assert_allclose(look.mean, np.nanmean(clean.astype(float), axis=(0, 1)), rtol=1e-12)
    inside = scene_files.truth == 2
    np.testing.assert_allclose(look.spectra[0], np.nanmean(clean[inside].astype(float), axis=0))


def test_in_whole_numbers_every_invalid_value_is_nodata(opened: Opened, scene_files) -> None:
    values = scene_files.values.copy()
    values[0, :5, 3] = 7
    look = look_over(opened(values, 7), 8)
    assert (look.nodata[3], look.nodata.sum(), look.nan.sum()) == (5, 5, 0)


def test_pixels_without_a_spectrum_are_counted_by_value(opened: Opened, scene_files) -> None:
    values = scene_files.values.copy()
    values[:2, :4], values[9, 9] = 0, 65535
    assert look_over(opened(values), 8).flat == {0.0: 8, 65535.0: 1}


def test_a_band_that_is_never_measured_has_no_mean(opened: Opened, scene_files) -> None:
    values = scene_files.values.astype(np.float32)
    values[:, :, 4] = np.nan
    look = look_over(opened(values), 16)
    assert np.isnan(look.mean[4])
    assert np.isnan(look.spectra[:, 4]).all()
    assert np.isfinite(np.delete(look.mean, 4)).all()


def test_several_scenes_are_seen_without_what_lies_between(tmp_path: Path, scene_files) -> None:
    (tmp_path / "cubes").mkdir()
    for name, width in (("one", 26), ("two", 20)):
        np.save(tmp_path / "cubes" / f"{name}.npy", scene_files.values[:, :width])
        np.save(tmp_path / f"{name}_gt.npy", scene_files.truth[:, :width])
    spec = SceneSpec(name=str(tmp_path / "cubes" / "*.npy"), labels=str(tmp_path / "*_gt.npy"))
    look = look_over(open_scene(spec), 64)
    assert int(look.survey.empty) == 0
    assert not look.nan.any()
    both = np.concatenate([scene_files.values[:, :width].reshape(-1, 12) for width in (26, 20)])
    np.testing.assert_allclose(look.mean, both.astype(float).mean(axis=0))


def test_a_scene_without_labels_is_seen_all_the_same(small_scene: Scene) -> None:
    bare = replace(small_scene, labels=np.zeros_like(small_scene.labels), class_names={})
    look: Look = look_over(bare, 16)
    assert look.sample is None
    assert look.spectra.shape == (0, 12)
    np.testing.assert_array_equal(look.mean, look_over(small_scene, 16).mean)


def test_a_large_scene_is_pictured_thinned(tmp_path: Path) -> None:
    values = np.arange(4100 * 3 * 3, dtype=np.int32).reshape(4100, 3, 3)
    np.save(tmp_path / "tall.npy", values)
    labels = np.ones((4100, 3), np.uint8)
    labels[2000:] = 2
    np.save(tmp_path / "labels.npy", labels)
    scene = open_scene(
        SceneSpec(name=str(tmp_path / "tall.npy"), labels=str(tmp_path / "labels.npy"))
    )
    look = look_over(scene, 64)
    expected = values[::3, ::3][:, :, list(scene.false_colour)]
    np.testing.assert_array_equal(look.picture, expected)


def test_progress_ends_at_all_of_it(small_scene: Scene) -> None:
    told: list[float] = []
    look_over(small_scene, 8, told.append)
    assert told[-1] == 1.0
    assert told == sorted(told)
