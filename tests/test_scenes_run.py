"""Runs on many scenes, from the command line: by patch, by manifest; the report says how."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from st_ray.spectral.parts import PART_NAMES
from st_ray.spectral.scene import SceneSpec, open_scene
from st_ray.spectral.splitfile import load_split
from tests.test_cli import assert_one_line

CLASSES, SIDE, BANDS = 7, 10, 16


@pytest.fixture(scope="module")
def clouds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CloudPatch-7 in small: 56 patches of seven classes, in one array and in class folders."""
    folder = tmp_path_factory.mktemp("clouds")
    rng = np.random.default_rng(0)
    labels = np.resize(np.arange(1, CLASSES + 1), 8 * CLASSES)
    spectra = 1000 + 300 * rng.normal(size=(CLASSES, BANDS)).cumsum(axis=1)
    noise = rng.normal(0, 700, (len(labels), SIDE, SIDE, BANDS))
    patches = (spectra[labels - 1][:, None, None] + noise).clip(0, 65535).astype(np.uint16)
    np.save(folder / "patches.npy", patches)
    np.save(folder / "labels.npy", labels)
    rows = []
    for number, (patch, label) in enumerate(zip(patches, labels, strict=True)):
        path = folder / f"c{label:02}" / f"patch{number}.npy"
        path.parent.mkdir(exist_ok=True)
        np.save(path, patch)
        part = "train" if number < 21 else "test"
        rows.append((path.relative_to(folder), path.parent.name, part))
    with (folder / "clouds.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "labels", "part"), *rows])
    return folder


QUICK = (
    *(
        "--workers",
        0,
        "--device",
        "cpu",
        "--patch-size",
        5,
        "--epochs",
        4,
        "--beta",
        1,
        "--batch-size",
    ),
    *(8, "--lr", 0.003, "--curriculum", "full", "--set", "cluster.threads=1"),
    *("--set", "backbone_options.width=8", "--set", "split.pixels_per_scene=20"),
)


def test_patches_with_one_label_each_are_split_by_patch(st_ray, clouds: Path, tmp_path) -> None:
    words = ["train", clouds / "patches.npy", "--labels", clouds / "labels.npy", *QUICK]
    code, out, err = st_ray(*words, "--out", tmp_path / "out")
    assert code == 0, err
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    split, scores = report["split"], report["by_scene"]
    assert (split["kind"], split["leakage"], split["footprint_overlap"]) == ("scenes", 0.0, 0.0)
    assert report["scene"]["scenes"] == 56
    assert split["totals"]["train"] == split["totals"]["validation"] == CLASSES * 20
    assert scores["scored"] == 6 * CLASSES
    assert split["totals"]["test"] == scores["scored"] * SIDE**2
    assert report["overall_accuracy"] > 0.6
    # The majority of a hundred pixels errs less than they do.
    assert scores["accuracy"] == scores["right"] / scores["scored"] >= report["overall_accuracy"]
    assert f"By scene: {scores['right']} of {scores['scored']} test scenes are right" in out
    spec = SceneSpec(name=str(clouds / "patches.npy"), labels=str(clouds / "labels.npy"))
    saved = load_split(tmp_path / "out" / "split.json", open_scene(spec).labels).parts
    side = 128  # a patch's rows, the space after it, and up to a tile's first row
    for top in range(0, 56 * side, side):
        own = {PART_NAMES[part] for part in np.unique(saved[top : top + SIDE])}
        assert len(own - {"unused"}) == 1
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<dd>56 scenes, 16 bands</dd>" in page
    assert f"{scores['right']} of {scores['scored']} test scenes" in page
    assert_one_line(st_ray(*words, "--split", "random"), "use --split scenes")


def test_class_folders_are_listed_by_a_manifest(st_ray, clouds: Path, tmp_path) -> None:
    code, _, err = st_ray("train", clouds / "clouds.csv", *QUICK, "--out", tmp_path / "out")
    assert code == 0, err
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [row["name"] for row in report["per_class"]] == [f"c{n:02}" for n in range(1, 8)]
    assert report["split"]["train_fraction"] is None
    assert report["by_scene"]["scored"] == 35
    notes = report["split"]["notes"]
    assert notes[0] == (
        "each scene is wholly in one part: 14 train, 7 validation, 35 test (as the manifest says)"
    )
    assert notes[1] == "no scene was given to validation: 7 of the training scenes validate"
