"""A driver killed with SIGKILL, and its run resumed, as a user would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]


def command(scene_files, out: Path) -> list[str]:
    words = [
        *("train", scene_files.cube, "--labels", scene_files.labels, "--workers", 2, "--out", out),
        *("--patch-size", 5, "--epochs", 60, "--curriculum", "paper", "--device", "cpu"),
    ]  # fmt: skip
    return [sys.executable, "-m", "st_ray.cli", *map(str, words)]


def wait_for(path: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear in {seconds} s"
        time.sleep(0.05)


def test_a_killed_driver_resumes_to_the_uninterrupted_result(scene_files, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    words = command(scene_files, tmp_path / "cut")
    with subprocess.Popen(
        words, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
    ) as driver:
        wait_for(tmp_path / "cut" / "checkpoints" / "epoch_00005" / "position.json", 120)
        driver.send_signal(signal.SIGKILL)
        driver.wait(timeout=30)
    assert not (tmp_path / "cut" / "report.json").exists()
    for more in (["--resume"], []):
        out = tmp_path / ("cut" if more else "whole")
        done = subprocess.run(
            [*command(scene_files, out), *more],
            env=environment,
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, done.stderr
        if more:
            assert "going on after epoch" in done.stdout
    cut, whole = (json.loads((tmp_path / n / "report.json").read_text()) for n in ("cut", "whole"))
    assert cut["confusion"] == whole["confusion"]
    for key in ("loss", "validation_accuracy"):
        assert [row[key] for row in cut["history"]] == [row[key] for row in whole["history"]]
