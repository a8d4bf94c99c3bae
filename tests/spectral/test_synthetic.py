"""Synthetic scenes are the same however they are written, and as varied as asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from st_ray.errors import SceneError
from st_ray.spectral.synthetic import NODATA, SyntheticSpec, make_rows, write_synthetic

SPEC = SyntheticSpec(height=200, width=150, bands=12, classes=5, region=20, labelled=0.3, seed=4)


@pytest.fixture(scope="module")
def scene() -> tuple[np.ndarray, np.ndarray]:
    return make_rows(SPEC, range(SPEC.height))


def test_any_rows_are_those_of_the_whole(scene) -> None:
    cube, labels = scene
    for rows in (range(0, 7), range(61, 140), range(199, 200)):
        part, part_labels = make_rows(SPEC, rows)
        assert np.array_equal(part, cube[rows.start : rows.stop])
        assert np.array_equal(part_labels, labels[rows.start : rows.stop])


def test_a_written_scene_is_the_made_one(scene, tmp_path: Path) -> None:
    paths = write_synthetic(SPEC, tmp_path / "new", threads=2)
    for path, made in zip(paths, scene, strict=True):
        assert np.array_equal(np.load(path), made)


def test_labels_and_stripes_take_about_their_share(scene) -> None:
    cube, labels = scene
    assert (labels > 0).mean() == pytest.approx(SPEC.labelled, abs=0.1)
    assert set(np.unique(labels)) == set(range(6))
    stripes = (cube == NODATA).all(axis=(0, 2))
    assert ((cube == NODATA).any(axis=2) == stripes).all()
    assert 0 < stripes.sum() < 15


def test_classes_are_regions_that_spectra_tell_apart() -> None:
    whole, truth = make_rows(replace(SPEC, labelled=0.999, stripes=0.0), range(SPEC.height))
    same_down = (truth[1:] == truth[:-1]).mean()
    assert same_down > 0.9
    spectra = whole.reshape(-1, 12).astype(float)
    ids = truth.ravel()
    means = np.stack([spectra[ids == index].mean(0) for index in range(1, 6)])
    nearest = 1 + ((spectra[:, None] - means) ** 2).sum(2).argmin(1)
    assert (nearest == ids)[ids > 0].mean() > 0.7


def test_another_seed_is_another_scene(scene) -> None:
    other, _ = make_rows(replace(SPEC, seed=5), range(20))
    assert (other != scene[0][:20]).mean() > 0.9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"height": 1}, "height=1: expected at least 2"),
        ({"classes": 300}, "classes=300: expected at most 255"),
        ({"labelled": 1.0}, r"labelled=1.0: expected a share in \[0, 1\)"),
    ],
)
def test_a_wrong_size_is_named(change: dict, message: str) -> None:
    with pytest.raises(SceneError, match=message):
        replace(SPEC, **change)
