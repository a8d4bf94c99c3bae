"""Whole runs in this process that are cut off and resumed, or must not be."""

from __future__ import annotations

import shutil
from dataclasses import astuple, replace

import numpy as np
import pytest

from st_ray.errors import OutputError
from st_ray.pipeline import run_curriculum


def test_a_resumed_finished_run_gives_its_report(spec, finished) -> None:
    report, out = finished
    assert run_curriculum(replace(spec, out=str(out)), resume=True).created == report.created


def test_a_run_cut_off_resumes_to_the_same_scores(spec, finished, tmp_path) -> None:
    class Stop(Exception):
        pass

    def stop(event) -> None:
        if event["kind"] == "epoch" and event["row"].epoch == 3:
            raise Stop

    here = replace(spec, out=str(tmp_path / "cut"), map=False)
    with pytest.raises(Stop):
        run_curriculum(here, listen=stop)
    assert not (tmp_path / "cut" / "report.json").exists()
    with pytest.raises(OutputError, match="an unfinished run; pass --resume"):
        run_curriculum(here)
    with pytest.raises(OutputError, match=r"other settings \(epochs, seed\)"):
        run_curriculum(replace(here, seed=5, epochs=30), resume=True)
    report = run_curriculum(here, resume=True)
    assert report.confusion == finished[0].confusion
    assert any("resumed after epoch 3" in line for line in report.warnings)
    stages = sum(stage.seconds for stage in report.stages)
    assert report.seconds.total > report.seconds.train >= 0.95 * stages


def test_a_run_cut_off_before_its_report_is_not_trained_again(spec, finished, tmp_path) -> None:
    shutil.copytree(finished[1], tmp_path / "late")
    (tmp_path / "late" / "report.json").unlink()
    events = []
    here = replace(spec, out=str(tmp_path / "late"))
    report = run_curriculum(here, resume=True, listen=events.append)
    assert not [event for event in events if event["kind"] in ("started", "epoch")]
    assert report.confusion == finished[0].confusion
    assert min(astuple(report.seconds)) >= 0


def test_a_scene_that_changed_is_not_resumed(spec, scene_files, tmp_path) -> None:
    cube = tmp_path / "cube.npy"
    np.save(cube, scene_files.values)
    here = replace(
        spec, scene=replace(spec.scene, name=str(cube)), out=str(tmp_path / "out"), map=False
    )
    run_curriculum(here)
    (tmp_path / "out" / "report.json").unlink()
    np.save(cube, scene_files.values[::-1])
    with pytest.raises(OutputError, match="other settings"):
        run_curriculum(here, resume=True)


def test_an_output_directory_that_is_a_file_is_refused(spec, tmp_path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match="cannot write to"):
        run_curriculum(replace(spec, out=str(tmp_path / "out")))


def test_a_finished_run_is_not_overwritten(spec, finished) -> None:
    with pytest.raises(OutputError, match="a finished run; pass --resume"):
        run_curriculum(replace(spec, out=str(finished[1])))


def test_there_must_be_something_to_resume(spec, tmp_path) -> None:
    with pytest.raises(OutputError, match="holds no run to resume"):
        run_curriculum(replace(spec, out=str(tmp_path / "new")), resume=True)
    with pytest.raises(OutputError, match="--resume needs --out"):
        run_curriculum(spec, resume=True)
