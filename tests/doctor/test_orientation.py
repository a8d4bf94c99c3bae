"""Labels that were turned, mirrored or transposed on a square image are found, and how to mend."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from st_ray.doctor.looking import look_over
from st_ray.doctor.orientation import AS_IS, TURNS, better, explained
from st_ray.spectral.scene import Scene, SceneSpec, open_scene


@pytest.fixture(scope="module")
def square(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """24 x 24 x 10: three classes whose places no turn keeps, with noise."""
    rng = np.random.default_rng(1)
    labels = np.zeros((24, 24), np.int32)
    labels[1:9, 1:20], labels[10:23, 1:7], labels[12:18, 12:23] = 3, 4, 8
    levels = np.array([0, 0, 0, 5, -5, 0, 0, 0, 9.0])
    values = rng.normal(0, 2, (24, 24, 10)) + levels[labels][:, :, None] * np.linspace(0.5, 1, 10)
    folder = tmp_path_factory.mktemp("square")
    np.save(folder / "cube.npy", values.astype(np.float32))
    np.save(folder / "labels.npy", labels)
    return open_scene(SceneSpec(name=str(folder / "cube.npy"), labels=str(folder / "labels.npy")))


def _shares(scene: Scene, labels: NDArray[np.int32]) -> dict[str, float]:
    sample = look_over(scene.relabel(np.ascontiguousarray(labels)), 10).sample
    assert sample is not None
    return explained(sample)


@pytest.mark.parametrize("wrong", [name for name in TURNS if name != AS_IS])
def test_what_is_advised_lays_the_labels_right_again(square: Scene, wrong: str) -> None:
    turned = np.ascontiguousarray(TURNS[wrong][1](square.labels))
    advised = better(_shares(square, turned))
    assert advised is not None
    code, mend = TURNS[advised]
    np.testing.assert_array_equal(mend(turned), square.labels)
    np.testing.assert_array_equal(eval(code, {"labels": turned}), square.labels)


def test_labels_that_lie_right_are_left_alone(square: Scene) -> None:
    shares = _shares(square, square.labels)
    assert better(shares) is None
    assert max(shares, key=shares.__getitem__) == AS_IS


def test_the_share_is_that_of_an_analysis_of_variance(square: Scene) -> None:
    labelled = square.labels != 0
    values = np.load(square.cube.path)[labelled].astype(float)
    ids = square.labels[labelled]
    groups = [values[ids == index] for index in (3, 4, 8)]
    within = sum(((g - g.mean(0)) ** 2).sum(0) for g in groups) / (len(values) - 3)
    expected = (1 - within / values.var(axis=0, ddof=1)).mean()
    assert _shares(square, square.labels)[AS_IS] == pytest.approx(expected, rel=1e-6)


def test_a_class_for_every_pixel_explains_nothing(square: Scene) -> None:
    shares = _shares(square, 1 + np.arange(24 * 24, dtype=np.int32).reshape(24, 24))
    assert set(shares.values()) == {0.0}
    assert better(shares) is None


def test_a_rectangle_can_lie_in_four_ways_only(small_scene: Scene) -> None:
    shares = _shares(small_scene, small_scene.labels)
    assert set(shares) == set(list(TURNS)[:4])
    mirrored = _shares(small_scene, small_scene.labels[:, ::-1])
    assert better(mirrored) == "with columns in reverse"


@pytest.mark.parametrize("seed", range(5))
def test_labels_that_mean_nothing_are_not_turned(square: Scene, seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert better(_shares(square, rng.integers(1, 4, (24, 24)).astype(np.int32))) is None


def test_pixels_without_a_value_do_not_count(square: Scene, tmp_path: Path) -> None:
    values = np.load(square.cube.path)
    values[:12, ::2] = np.nan
    np.save(tmp_path / "holed.npy", values)
    holed = replace(square, cube=replace(square.cube, path=str(tmp_path / "holed.npy")))
    shares = _shares(holed, square.labels.T)
    assert better(shares) == "transposed"
    assert all(np.isfinite(share) for share in shares.values())


def test_indian_pines_transposed_is_found() -> None:
    pines = open_scene(SceneSpec())
    assert better(_shares(pines, pines.labels.T)) == "transposed"
    assert better(_shares(pines, pines.labels)) is None
