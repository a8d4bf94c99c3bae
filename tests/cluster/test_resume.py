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
import torch

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]


def command(scene_files, out: Path) -> list[str]:
    words = [
        *("train", scene_files.cube, "--labels", scene_files.labels, "--workers", 2, "--out", out),
        *("--patch-size", 5, "--epochs", 20, "--curriculum", "paper", "--device", "cpu"),
        *("--set", "map=false", "--set", "backbone_options.width=8"),
        *("--set", f"train.loss={__name__}:slow_cross_entropy"),
    ]  # fmt: skip
    return [sys.executable, "-m", "st_ray.cli", *map(str, words)]


def slow_cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """So slow, if asked, that the last epoch is far when the driver is killed.

    Workers outlive their driver by 3 s.
    """
    time.sleep(float(os.environ.get("ST_RAY_TESTS_PAUSE", "0")))
    return torch.nn.functional.cross_entropy(logits, targets)


def wait_for_epoch(folder: Path, epoch: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while max((int(path.name[-5:]) for path in folder.glob("epoch_*")), default=0) < epoch:
        assert time.monotonic() < deadline, f"epoch {epoch} did not end in {seconds} s"
        time.sleep(0.05)


def test_a_killed_driver_resumes_to_the_uninterrupted_result(scene_files, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command(scene_files, tmp_path / "cut"),
        env={**environment, "ST_RAY_TESTS_PAUSE": "0.2"},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    ) as driver:
        wait_for_epoch(tmp_path / "cut" / "checkpoints", 3, 120)
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
