"""Scenes of several sizes are run and removed; a row is told of each."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from st_ray.bench import scale
from st_ray.bench.scale import _size, nearest, ratios, side_of
from st_ray.errors import TrainingError


def test_the_command_writes_a_row_for_each_size(st_ray, tmp_path: Path, monkeypatch) -> None:
    spec = scale._spec  # on its larger patches most of the time goes into scoring them
    monkeypatch.setattr(scale, "_spec", lambda *words: replace(spec(*words), patch_size=3))
    out, folder = tmp_path / "scale.json", tmp_path / "scenes"
    sizes = ("--gigabytes", "0.0006,0.002", "--bands", 12, "--threads", 1)
    code, _, error = st_ray("bench", "scale", *sizes, "--folder", folder, "--out", out)
    assert code == 0, error
    table = json.loads(out.read_text())
    small, large = table["rows"]
    assert large["pixels"] == pytest.approx(0.002e9 / 24, rel=0.02)
    assert large["gigabytes"] == pytest.approx(0.002, rel=0.02)
    assert small["seconds"] > 0
    assert 0.1 < large["peak_rss_gigabytes"] < 4
    assert set(small["parts"]) == {"start", "statistics", "ingest", "train and report"}
    assert table["throughput_ratio"] == pytest.approx(
        large["pixels_per_second"] / large["pixels_per_second"]
    )
    assert table["throughput_ratio_to_memory"] == pytest.approx(
        large["pixels_per_second"] / large["again"]["pixels_per_second"]
    )
    assert all(value > 0 for value in small["forecast"].values())
    assert not list(folder.iterdir())
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_the_reference_is_the_scene_nearest_two_gigabytes() -> None:
    rows = [
        {"gigabytes": size, "pixels_per_second": 100 / size, "peak_rss_gigabytes": size}
        for size in (0.04, 1.8, 40)
    ]
    found = ratios(rows)
    assert found["reference_gigabytes"] == 1.8
    assert found["throughput_ratio"] == pytest.approx(1.8 / 40)
    assert np.isnan(found["throughput_ratio_to_memory"])
    assert found["memory_growth_gigabytes"] == pytest.approx(39.96)


def test_scenes_as_near_two_gigabytes_are_compared_with_the_one_that_was_run_again() -> None:
    """1 and 4 GB are as far from 2; what is on the disk is a little smaller than what was asked."""
    sizes = [_size(side_of(size, 200), 200) for size in (1, 4)]
    rows = [
        {"gigabytes": size, "pixels_per_second": 1.0, "peak_rss_gigabytes": 1.0} for size in sizes
    ]
    assert ratios(rows)["reference_gigabytes"] == nearest(sizes)


def test_a_scene_that_fails_costs_no_row_before_it(st_ray, tmp_path, monkeypatch) -> None:
    out, folder = tmp_path / "scale.json", tmp_path / "scenes"
    forgotten: list[Path] = []
    monkeypatch.setattr(scale, "forget_file", forgotten.append)
    row = {"seconds": 1.0, "peak_rss_gigabytes": 1.0, "pixels_per_second": 1.0}
    row["parts"] = dict.fromkeys(("start", "statistics", "ingest", "train and report"), 0.25)
    results = [row, row]  # the first scene's, and again

    def measured(*unused: object) -> dict:
        if not results:
            raise TrainingError("the run died")
        return results.pop()

    monkeypatch.setattr(scale, "_measure", measured)
    parts = ("statistics", "ingest", "train and report", "driver_gigabytes")
    monkeypatch.setattr(scale, "_forecast", lambda *unused: dict.fromkeys(parts, 0.1))
    sizes = ("--gigabytes", "0.0006,0.002", "--bands", 12, "--threads", 1)
    code, _, error = st_ray("bench", "scale", *sizes, "--folder", folder, "--out", out)
    assert code != 0
    assert "the run died" in error
    assert len(json.loads(out.read_text())["rows"]) == 1
    assert len(forgotten) == 2


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ("0.1,x", "--gigabytes '0.1,x': expected positive numbers with commas"),
        ("1e9", "has room for"),
        ("1e-9", "expected at least"),
    ],
)
def test_wrong_sizes_are_one_line(st_ray, tmp_path, sizes, message) -> None:
    folder = ("--folder", tmp_path / "scenes")
    code, _, error = st_ray("bench", "scale", "--gigabytes", sizes, *folder)
    assert code == 2
    assert message in error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("scale", "--folder", "file/x"), "cannot write"),
        (("scale", "--seed", "-1"), "--seed -1: expected at least 0"),
        (("scale", "--out", "file/x.json"), "cannot write"),
        (("pca", "--pixels", "1000000000000"), "GB are free; use fewer"),
        (("patches", "--out", "."), "cannot write"),
        (("tax", "--set", "cluster.workers=4"), "a benchmark decides it itself"),
        (("tax", "--set", "train.batch=4"), "unknown"),
        (("training", "--first", "4"), "--first 4: expected at least 5 epochs"),
        (
            ("training", "--first", "30", "--longest", "20"),
            "--longest 20: expected at least the 30",
        ),
        (("tax", "--rounds", "0"), "--rounds 0: expected at least 1"),
        (("tax", "--backbone", "nope"), "unknown backbone 'nope'; known: cnn1d"),
    ],
)
def test_wrong_inputs_of_the_data_planes_benchmarks(st_ray, tmp_path, words, message) -> None:
    (tmp_path / "file").write_text("")
    code, _, error = st_ray("bench", *words)
    assert (code, error.strip().count("\n")) == (2, 0), error
    assert message in error
