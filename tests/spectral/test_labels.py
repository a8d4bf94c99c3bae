"""Label rasters: class ids on the scene's own pixels, and one clear line for anything else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from st_ray.errors import SceneError
from st_ray.spectral.scene import SceneSpec, open_scene

if TYPE_CHECKING:
    from tests.conftest import SceneFiles

WriteMat = Callable[..., Path]


def _spec(cube: Path, labels: Path | None = None, **more: object) -> SceneSpec:
    return replace(SceneSpec(name=str(cube), labels=str(labels) if labels else None), **more)  # type: ignore[arg-type]


def _error(spec: SceneSpec) -> str:
    with pytest.raises(SceneError) as caught:
        open_scene(spec)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_the_only_whole_numbered_raster_is_taken_as_labels(
    scene_files: SceneFiles, write_mat: WriteMat
) -> None:
    height = np.random.default_rng(0).random((30, 26))
    path = write_mat("scene.mat", cube=scene_files.values, elevation=height, gt=scene_files.truth)
    np.testing.assert_array_equal(open_scene(_spec(path)).labels, scene_files.truth)


@pytest.mark.parametrize("suffix", [".tif", ".png", ".mat"])
def test_labels_from_other_formats(
    suffix: str, scene_files: SceneFiles, tmp_path: Path, write_mat: WriteMat
) -> None:
    path = tmp_path / f"gt{suffix}"
    if suffix == ".mat":
        path = write_mat("gt.mat", gt=scene_files.truth)
    else:
        Image.fromarray(scene_files.truth).save(path)
    scene = open_scene(_spec(scene_files.cube, path))
    np.testing.assert_array_equal(scene.labels, scene_files.truth)


def test_a_scene_without_labels_asks_for_them(scene_files: SceneFiles) -> None:
    assert "--labels" in _error(_spec(scene_files.cube))


def test_labels_of_another_shape_are_refused_with_both_shapes(
    scene_files: SceneFiles, tmp_path: Path
) -> None:
    np.save(tmp_path / "gt.npy", scene_files.truth[:-1])
    message = _error(_spec(scene_files.cube, tmp_path / "gt.npy"))
    assert "(29, 26) does not fit the scene's (30, 26)" in message
    assert "transposed" not in message
    np.save(tmp_path / "gt_t.npy", scene_files.truth.T)
    assert "transposed" in _error(_spec(scene_files.cube, tmp_path / "gt_t.npy"))


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (1.5, "expected whole class ids (0 = unlabelled), found 1.5"),
        (np.nan, "found nan"),
        (np.inf, "found infinity"),
        (-1, "expected class ids 0 to 2147483647, found -1.0 to 9.0"),
        (2.0**40, "found 0.0 to 1099511627776.0"),
    ],
)
def test_labels_are_whole_numbers_from_zero(
    value: float, says: str, scene_files: SceneFiles, tmp_path: Path
) -> None:
    labels = scene_files.truth.astype(np.float64)
    labels[3, 4] = value
    np.save(tmp_path / "gt.npy", labels)
    assert says in _error(_spec(scene_files.cube, tmp_path / "gt.npy"))


def test_labels_without_a_labelled_pixel_are_refused(
    scene_files: SceneFiles, tmp_path: Path
) -> None:
    np.save(tmp_path / "gt.npy", np.zeros((30, 26), dtype=np.uint8))
    assert "no pixel is labelled" in _error(_spec(scene_files.cube, tmp_path / "gt.npy"))


def test_a_colour_picture_is_not_a_label_raster(scene_files: SceneFiles, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((30, 26, 3), dtype=np.uint8)).save(tmp_path / "gt.png")
    message = _error(_spec(scene_files.cube, tmp_path / "gt.png"))
    assert "expected a label raster of 2 dimensions" in message
    assert "(30, 26, 3)" in message


def test_ignored_classes_become_unlabelled(scene_files: SceneFiles) -> None:
    scene = open_scene(_spec(scene_files.cube, scene_files.labels, ignore_classes=(5,)))
    assert scene.classes == (2, 9)
    assert set(scene.class_names) == {2, 9}
    message = _error(_spec(scene_files.cube, scene_files.labels, ignore_classes=(5, 7)))
    assert "scene.ignore_classes=[7]: the labels have classes [2, 5, 9]" in message
    assert "no class is left" in _error(
        _spec(scene_files.cube, scene_files.labels, ignore_classes=scene_files.classes)
    )
