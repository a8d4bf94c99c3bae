"""What inspect finds wrong is wrong, and is told with its remedy."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from st_ray import RunSpec, SceneSpec
from st_ray.doctor.inspecting import Inspection, inspect_scene
from st_ray.doctor.page import render_inspection
from st_ray.spectral.cube import FileCube
from st_ray.spectral.metadata import Metadata
from st_ray.spectral.scene import Scene
from tests.doctor.conftest import Look


def _told(found: Inspection, severity: str) -> list[str]:
    return [
        f"{finding['what']}; {finding['remedy']}"
        for finding in found.table["findings"]
        if finding["severity"] == severity
    ]


def _one(lines: list[str], pattern: str) -> None:
    assert sum(bool(re.search(pattern, line)) for line in lines) == 1, lines


def test_a_sound_scene_is_called_sound(look: Look) -> None:
    found = look()
    (warning,) = _told(found, "warning")  # a random split leaks, wherever it is drawn
    assert "split random" in warning
    right = _told(found, "ok")
    for pattern in ("no band is constant", "saturated", "lie right", "every class", "disjoint"):
        _one(right, pattern)


def test_the_table_counts_what_there_is(look: Look, scene_files) -> None:
    table = look().table
    assert table["scene"]["shape"] == [30, 26, 12]
    assert table["scene"]["labelled"] == (scene_files.truth > 0).sum()
    assert [row["id"] for row in table["classes"]] == [2, 5, 9]
    assert sum(row["share"] for row in table["classes"]) == pytest.approx(1)
    assert [row["kind"] for row in table["splits"]] == ["random", "disjoint"]
    for row in table["splits"]:
        parts = [row[part] for part in ("train", "validation", "test", "unused")]
        assert sum(parts) == table["scene"]["labelled"]
    assert table["splits"][1]["leakage"] == 0 < table["splits"][0]["leakage"]
    values = scene_files.values
    for row in table["bands"]:
        assert (row["minimum"], row["maximum"]) == (
            values[:, :, row["band"]].min(),
            values[:, :, row["band"]].max(),
        )


def test_bands_that_cannot_be_used_are_named(look: Look, scene_files) -> None:
    values = scene_files.values.astype(np.float32)
    values[:, :, 3], values[:, :, 5], values[0, :3, 8] = 7, np.nan, np.nan
    found = look(values)
    _one(_told(found, "warning"), r"2 bands cannot .* 3 \(constant at 7\), 5 \(NaN .*bad_bands")
    _one(_told(found, "note"), "missing .* in 1 usable band;")
    _one(_told(found, "warning"), "a usable band's value is missing in 3 labelled pixels")
    unusable = [row["band"] for row in found.table["bands"] if row["unusable"]]
    assert unusable == [3, 5]
    assert found.table["splits"][0]["train"] > 0  # of what is left


def test_pixels_that_were_never_measured_are_found(look: Look, scene_files) -> None:
    values = scene_files.values.copy()
    values[:, 12:14] = 0
    _one(
        _told(look(values), "warning"),
        r"value is 0 in every band of 60 pixels \(7\.7 %\).*nodata=0",
    )
    declared = look(values, nodata=0)
    assert not any("every band" in line for line in _told(declared, "warning"))
    _one(_told(declared, "note"), r"60 pixels \(7\.7 %\) hold no valid value")


def test_a_saturated_band_is_found(look: Look, scene_files) -> None:
    values = scene_files.values.copy()
    values[:, :, 6] = np.minimum(values[:, :, 6], np.quantile(values[:, :, 6], 0.9))
    _one(_told(look(values), "warning"), r"maximum of 1 band, as in saturation: 6 \(1\d\.\d % at ")


def test_a_stray_pixel_is_found(look: Look, scene_files) -> None:
    values = scene_files.values.copy()
    values[4, 4, 2] = 60_000
    _one(_told(look(values), "note"), "more than 12 standard deviations from the mean of 1 band")


def test_labels_from_right_to_left_are_found(look: Look, scene_files) -> None:
    found = look(labels=scene_files.truth[:, ::-1])
    _one(_told(found, "warning"), r"seem to lie wrong.*labels\[:, ::-1\] \(NumPy\)")


def test_labels_of_another_image_are_doubted(look: Look, scene_files) -> None:
    noise = np.random.default_rng(0).integers(1, 4, scene_files.truth.shape)
    _one(_told(look(labels=noise), "warning"), "explain only .* belong together")


def test_classes_too_small_are_named_with_what_to_type(look: Look, scene_files) -> None:
    labels = scene_files.truth.copy()
    labels[15, :2], labels[15, 5:12] = 40, 41
    found = look(labels=labels)
    _one(_told(found, "warning"), r"class 40; .*scene\.ignore_classes=\[40\]")
    _one(_told(found, "note"), r"fewer than 5 pixels would train: class 41 \(7\)")
    _one(_told(found, "warning"), "split random: every class needs 3")
    assert "error" in found.table["splits"][0]
    assert "every class needs 3" in render_inspection(found)


def test_a_class_for_every_pixel_is_told_in_few_words(look: Look, scene_files) -> None:
    found = look(labels=1 + np.arange(30 * 26).reshape(30, 26))
    _one(_told(found, "warning"), "too few .* and 772 more; see whether the raster holds class ids")
    assert all(len(line) < 700 for line in _told(found, "warning"))
    page = render_inspection(found)
    assert "and 720 more" in page
    assert len(page) < 1_000_000


def test_a_scene_of_one_class_is_told_before_it_is_trained(look: Look, scene_files) -> None:
    found = look(labels=(scene_files.truth > 0).astype(np.uint8))
    _one(_told(found, "warning"), "only one class is labelled")
    assert found.table["splits"] == []
    assert found.table["orientation"] is None


def test_a_scene_without_labels_has_no_label_part(tmp_path: Path, scene_files, spec) -> None:
    np.save(tmp_path / "bare.npy", scene_files.values)
    found = inspect_scene(replace(spec, scene=SceneSpec(name=str(tmp_path / "bare.npy"))))
    _one(_told(found, "note"), "without labels: .* --labels FILE")
    assert found.table["classes"] == []
    assert found.table["splits"] == []
    assert found.table["forecast"] is None
    page = render_inspection(found)
    assert "Mean spectra" not in page
    assert "False colour" in page


def test_nothing_measured_at_all_is_told_not_thrown(look: Look, scene_files) -> None:
    found = look(np.full(scene_files.values.shape, np.nan, np.float32))
    _one(_told(found, "warning"), "no pixel of the scene has a valid value")
    assert found.table["bands"][0]["minimum"] is None
    render_inspection(found)


def test_scenes_with_one_label_each_are_looked_at_as_they_are_split(
    tmp_path: Path, spec: RunSpec
) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([1, 2, 3], 6).astype(np.uint8)
    values = rng.normal(100 * labels[:, None, None, None], 20, (18, 9, 9, 6))
    np.savez(tmp_path / "patches.npz", cubes=values.astype(np.float32), labels=labels)
    scene = SceneSpec(name=str(tmp_path / "patches.npz"))
    found = inspect_scene(replace(spec, scene=scene), forecast=False)
    assert found.table["scene"]["scenes"] == 18
    assert found.table["scene"]["pixels"] == found.table["scene"]["labelled"] == 18 * 81
    (row,) = found.table["splits"]
    assert (row["kind"], row["leakage"]) == ("scenes", 0.0)
    assert found.table["orientation"] is None  # turned, one label is the same
    assert found.picture.shape[:2] == found.labels.shape == tuple(found.table["scene"]["sheet"])
    assert max(found.labels.shape) < 60  # side by side, not one below the other
    assert "18 scenes" in render_inspection(found)


def test_nodata_is_advised_as_the_file_stores_it(
    monkeypatch: pytest.MonkeyPatch, small_scene: Scene, spec, scene_files, tmp_path: Path
) -> None:
    values = scene_files.values.copy()
    values[:2] = 9
    np.save(tmp_path / "scaled.npy", values)
    assert isinstance(small_scene.cube, FileCube)
    meta = Metadata(scale=(0.5,), offset=(1.0,))
    cube = replace(small_scene.cube, path=str(tmp_path / "scaled.npy"), meta=meta)
    told = replace(small_scene, cube=cube)
    monkeypatch.setattr("st_ray.doctor.opening.open_scene", lambda *_: told)
    found = inspect_scene(spec, forecast=False)
    _one(_told(found, "warning"), r"value is 5\.5 in every band.*scene\.nodata=9$")


def test_a_split_given_is_looked_at_too(look: Look, spec, scene_files, tmp_path: Path) -> None:
    mask = np.zeros_like(scene_files.truth)
    mask[::3] = scene_files.truth[::3]
    np.save(tmp_path / "mask.npy", mask)
    split = replace(spec.split, kind=str(tmp_path / "mask.npy"))
    rows = inspect_scene(replace(spec, split=split), forecast=False).table["splits"]
    assert [row["kind"] for row in rows] == ["random", "disjoint", str(tmp_path / "mask.npy")]
    assert rows[2]["leakage"] > 0


def test_wavelengths_are_the_axis_where_the_file_names_them(
    monkeypatch: pytest.MonkeyPatch, small_scene: Scene, spec
) -> None:
    waves = (*np.linspace(400.0, 1300.0, 10), 2000.0, 2100.0)
    assert isinstance(small_scene.cube, FileCube)
    cube = replace(small_scene.cube, meta=Metadata(wavelengths=waves, bad_bands=(11,)))
    told = replace(small_scene, cube=cube)
    monkeypatch.setattr("st_ray.doctor.opening.open_scene", lambda *_: told)
    found = inspect_scene(spec, forecast=False)
    assert found.table["scene"]["wavelengths"] == [400.0, 2100.0]
    _one(_told(found, "warning"), r"1 band cannot be used: 11 \(marked bad in the header\)")
    page = render_inspection(found)
    assert "wavelength, nm" in page
    assert "400 to 2100 nm" in page
    backwards = replace(cube, meta=Metadata(wavelengths=waves[::-1]))
    told = replace(small_scene, cube=backwards)
    _one(_told(inspect_scene(spec, forecast=False), "warning"), "do not ascend, first at band 1;")


def test_a_forecast_says_what_a_run_takes(spec: RunSpec) -> None:
    found = inspect_scene(spec)
    told = found.table["forecast"]
    assert told["forecast"]["total_seconds"] > 0
    assert told["work"]["pixels"] == 30 * 26
    _one(_told(found, "ok"), "fits this machine")
    assert "What a run would take" in render_inspection(found)
