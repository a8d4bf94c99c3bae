"""Output directories: one run each, and nothing left of a run that wrote nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from st_ray import RunSpec, run_curriculum
from st_ray.errors import OutputError, SpecError, writing
from st_ray.learn.presets import find_curriculum
from st_ray.output import default_out, find_folder


@pytest.fixture
def spec(tmp_path: Path) -> RunSpec:
    return RunSpec(out=str(tmp_path / "out"))


def test_two_runs_never_share_a_directory(spec: RunSpec) -> None:
    with (
        find_folder(spec, resume=False),
        pytest.raises(OutputError, match="another run is writing to"),
        find_folder(spec, resume=False),
    ):
        pass


def test_the_lock_ends_with_the_process_that_holds_it(spec: RunSpec) -> None:
    code = (
        "import os, sys; from st_ray import RunSpec; from st_ray.output import find_folder\n"
        "find_folder(RunSpec(out=sys.argv[1]), resume=False).__enter__(); os._exit(9)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code, str(spec.out)], env=environment, timeout=60)
    assert done.returncode == 9
    with find_folder(spec, resume=False) as folder:
        assert folder.path.is_dir()


def test_default_directories_are_new_each_time(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    paths = {default_out(RunSpec()) for _ in range(3)}
    assert len(paths) == 3
    assert all(Path(path).is_dir() and "seed0" in path for path in paths)


def test_a_run_that_writes_nothing_leaves_nothing(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError, match="unknown backbone"):
        run_curriculum(RunSpec(backbone="nothing"))
    assert list(tmp_path.iterdir()) == []


def test_what_a_run_wrote_stays(spec: RunSpec) -> None:
    with find_folder(spec, resume=False) as folder:
        folder.begin(spec, find_curriculum("paper", 200, 11))
    assert folder.started
    assert folder.recorded_spec() == spec
    with pytest.raises(OutputError, match="an unfinished run; pass --resume"):
        find_folder(spec, resume=False)
    with find_folder(spec, resume=True) as again:
        again.begin(replace(spec, map=False), find_curriculum("full", 200, 11))
    assert again.recorded_curriculum().name == "paper"
    assert again.recorded_spec().map


def test_a_report_of_unknown_origin_is_not_taken_for_this_runs(spec: RunSpec) -> None:
    Path(str(spec.out)).mkdir()
    (Path(str(spec.out)) / "report.json").write_text("{}")
    with pytest.raises(OutputError, match="a finished run; choose another --out"):
        find_folder(spec, resume=False)
    with pytest.raises(OutputError, match="holds no run to resume"):
        find_folder(spec, resume=True)


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No space left") as caught, writing(tmp_path):
        raise OSError(28, "No space left on device")
    assert "\n" not in str(caught.value)
