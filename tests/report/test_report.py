"""Report and its file: plain data, round trip, NaN, clear errors."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from st_ray.errors import OutputError
from st_ray.report import Report, Scores


def test_a_saved_report_loads_as_an_equal_report(sample, tmp_path: Path):
    sample.report.save(tmp_path / "report.json")
    assert Report.load(tmp_path / "report.json") == sample.report


def test_report_json_has_every_key_that_issue_2_names(sample):
    data = json.loads(json.dumps(sample.report.to_dict(), allow_nan=False))
    assert data["format"] == 1
    named = "scene split backbone parameters curriculum seed workers overall_accuracy "
    named += "average_accuracy kappa per_class seconds stages versions"
    assert set(named.split()) <= set(data)
    phases = {"total", "startup", "statistics", "ingest", "train", "evaluate"}
    assert phases <= set(data["seconds"])
    stage = {"components", "patch_size", "epochs", "seconds", "samples_per_second", "loss"}
    assert stage <= set(data["stages"][0])
    assert data["scene"]["bands_dropped"] == [{"band": 103, "reason": "constant"}]
    assert data["versions"]["ray"] is None


def test_nan_and_infinity_are_written_as_null_and_load_as_nan(sample_of, tmp_path: Path):
    nan = float("nan")
    validation = Scores(overall_accuracy=nan, average_accuracy=float("inf"), kappa=0.5)
    path = tmp_path / "report.json"
    sample_of(validation=validation, kappa=np.float32("nan")).report.save(path)
    assert "NaN" not in path.read_text()
    data = json.loads(path.read_text())
    assert data["kappa"] is None
    assert data["validation"] == {"overall_accuracy": None, "average_accuracy": None, "kappa": 0.5}
    loaded = Report.load(path)
    assert np.isnan([loaded.kappa, loaded.validation.average_accuracy]).all()


def test_numpy_values_are_written_as_plain_numbers(sample_of):
    confusion = np.eye(5, dtype=np.int64)
    report = sample_of(confusion=confusion, parameters=np.int64(7), kappa=np.float32(0.5)).report
    data = json.loads(json.dumps(report.to_dict()))
    assert data["confusion"] == confusion.tolist()
    assert (data["parameters"], data["kappa"]) == (7, 0.5)


def test_a_report_cannot_be_changed(sample):
    with pytest.raises(dataclasses.FrozenInstanceError):
        sample.report.kappa = 1.0


def test_a_failed_save_leaves_no_file(sample, tmp_path: Path):
    (tmp_path / "report.json").mkdir()
    with pytest.raises(OutputError, match=r"cannot write .*report\.json.*--out"):
        sample.report.save(tmp_path / "report.json")
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def _without_seed(data: dict) -> dict:
    del data["seed"]
    return data


def _typed_wrong(data: dict) -> dict:
    data["stages"][1]["epochs"] = "many"
    return data


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without_seed, "seed: Field required"),
        (_typed_wrong, r"stages\.1\.epochs: .*integer"),
        (lambda data: {**data, "format": 2}, "report format 2: this st_ray reads format 1"),
    ],
)
def test_plain_data_that_is_no_report_is_refused_by_field(
    sample, change: Callable[[dict], dict], message: str
):
    with pytest.raises(OutputError, match=message):
        Report.from_dict(change(sample.report.to_dict()))


def test_keys_that_a_later_version_adds_are_ignored(sample):
    assert Report.from_dict({**sample.report.to_dict(), "added_later": 1}) == sample.report


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot read"), ("{", "is not JSON"), ("[]", "expected a JSON object, got list")],
)
def test_a_file_that_is_no_report_is_refused_by_name(tmp_path: Path, content, message: str):
    path = tmp_path / "report.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(OutputError, match=message) as caught:
        Report.load(path)
    assert str(path) in str(caught.value)


def test_importing_the_report_imports_neither_matplotlib_nor_torch_nor_ray():
    code = "import sys, st_ray.report; print({'matplotlib', 'torch', 'ray'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
