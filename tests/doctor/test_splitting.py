"""`st-ray split` makes the split that a run would make, and a run takes it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from st_ray import Report
from st_ray.spectral.scene import Scene
from st_ray.spectral.splitfile import load_split


@pytest.fixture
def words(scene_files) -> list[object]:
    return [scene_files.cube, "--labels", scene_files.labels, "--patch-size", 5]


def test_a_split_is_made_and_trained_on(
    st_ray, words: list[object], small_scene: Scene, tmp_path: Path
) -> None:
    options = ("--split", "disjoint", "--seed", 3)
    code, out, err = st_ray("split", *words, *options, "--out", "my.split.json")
    assert code == 0, err
    assert "0.0 % of the test patches (5x5) hold a training pixel" in out
    assert "train on it with --split" in out
    quick = ("--epochs", 6, "--workers", 0, "--set", "map=false", "--set", "cluster.threads=1")
    code, _, err = st_ray("train", *words, *options, *quick, "--out", "drawn")
    assert code == 0, err
    code, _, err = st_ray(
        "train", *words, "--seed", 3, "--split", "my.split.json", *quick, "--out", "given"
    )
    assert code == 0, err
    drawn, given = (Report.load(tmp_path / name / "report.json") for name in ("drawn", "given"))
    assert given.confusion == drawn.confusion
    manifests = [
        load_split(tmp_path / name, small_scene.labels)
        for name in ("my.split.json", "drawn/split.json", "given/split.json")
    ]
    for other in manifests[1:]:
        np.testing.assert_array_equal(manifests[0].parts, other.parts)
        assert other.rule == manifests[0].rule  # where it came from is kept
    assert {split.seed for split in manifests} == {3}


def test_labelled_pixels_without_a_value_are_in_no_part(
    st_ray, scene_files, tmp_path: Path
) -> None:
    values = scene_files.values.astype(np.float32)
    values[0, :3, 4] = np.nan
    np.save(tmp_path / "holed.npy", values)
    code, out, err = st_ray("split", "holed.npy", "--labels", scene_files.labels, "--patch-size", 5)
    assert code == 0, err
    assert "left out 3 labelled pixels" in out
    table = json.loads((tmp_path / "split.json").read_text())
    listed = " ".join(text for part in table["parts"].values() for text in part.values())
    firsts = {int(word.split("-")[0]) for word in listed.split()}
    assert not firsts & {0, 1, 2}


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--split", "randm"], "did you mean 'random'"),
        (["--split", "dase"], "split 'dase' is of Indian Pines"),
        (["--split", "nowhere.json"], "no such split file: nowhere.json"),
        (["--out", "file/split.json"], "cannot write"),
        (["--train-fraction", 2], "fraction"),
    ],
)
def test_what_cannot_be_made_is_one_line(
    st_ray, words: list[object], tmp_path: Path, more: list[object], says: str
) -> None:
    (tmp_path / "file").write_text("not a folder")
    code, _, err = st_ray("split", *words, *more)
    assert (code, err.count("\n")) == (2, 1)
    assert says in err
