"""`ray job submit` of the scripts in jobs/ against a head started here."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from st_ray.spectral.export import read_card
from st_ray.storage import exists, join, names, read_text, settle

ROOT = Path(__file__).resolve().parents[1]
RAY = str(Path(sys.executable).with_name("ray"))

SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")  # of the tests' own server

pytestmark = [pytest.mark.ray, pytest.mark.timeout(420)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Environment of a client of a Ray head on this machine, with its own token."""
    home = tmp_path_factory.mktemp("head")
    port, dashboard = free_port(), free_port()
    (home / "token").write_text("a-token-of-the-tests-that-is-long-enough")
    environment = {
        **{
            key: value
            for key, value in os.environ.items()
            if not key.startswith("RAY_") and key not in SECRETS
        },
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(home / "token"),
        "RAY_ADDRESS": f"http://127.0.0.1:{dashboard}",
    }
    short = f"/tmp/rj{os.getpid()}"  # socket paths are limited to 107 characters
    command = [
        *(RAY, "start", "--head", "--num-cpus=2", "--node-ip-address=127.0.0.1", f"--port={port}"),
        *(f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={free_port()}"),
        *("--disable-usage-stats", f"--temp-dir={short}"),
        "--block",
    ]  # fmt: skip
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        assert server.stdout is not None
        try:
            for line in server.stdout:
                if "Ray runtime started" in line:
                    break
            else:
                pytest.fail("ray start --head ended at once")
            yield environment
        finally:
            processes = psutil.Process(server.pid).children(recursive=True)
            for process in (server, *processes):  # to end them kindly takes Ray half a minute
                process.kill()
    shutil.rmtree(short, ignore_errors=True)


def submit(head: dict[str, str], *words: object) -> subprocess.CompletedProcess[str]:
    """Submit a job and wait for its end; a head that has just started refuses at first.

    The cluster knows no credentials: they come with the job.
    """
    deadline = time.monotonic() + 60
    secrets = {name: os.environ[name] for name in SECRETS if name in os.environ}
    command = [
        *(RAY, "job", "submit", "--working-dir", str(ROOT)),
        *("--runtime-env-json", json.dumps({"env_vars": secrets}), "--", "python"),
        *map(str, words),
    ]  # fmt: skip
    while True:
        done = subprocess.run(
            command, env=head, cwd=ROOT, capture_output=True, text=True, timeout=300
        )
        if "No available agent" not in done.stderr or time.monotonic() > deadline:
            return done
        time.sleep(1)


@pytest.fixture
def store(request, tmp_path: Path, s3) -> str:
    """Where jobs leave their results: a URI, of S3 unless a test asks for a file's."""
    return (tmp_path / "store").as_uri() if getattr(request, "param", "") == "file" else s3("jobs")


def succeed(head: dict[str, str], scene_files, *words: object) -> str:
    """What a submitted job says about the small scene."""
    done = submit(
        head,
        *(*words, "--labels", scene_files.labels, "--set", "patch_size=5"),
        *("--set", "tiles.side=16"),
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_a_submitted_training_leaves_its_result_in_storage(head, scene_files, store) -> None:
    out = join(store, "run")
    said = succeed(
        head,
        scene_files,
        *("jobs/train.py", scene_files.cube, "--epochs", 10, "--workers", 2, "--device", "cpu"),
        *("--set", "backbone_options.width=8", "--out", out),
    )
    assert "epoch 4/4" in said
    assert "core_worker.cc" not in said  # Ray's own talk is for --verbose
    assert f"Report: {join(out, 'report.html')}" in said
    report = json.loads(read_text(join(out, "report.json")))
    assert report["workers"] == 2
    assert exists(join(out, "map.png"))
    assert names(join(out, "checkpoints")) == ("epoch_00003", "epoch_00004", "outcome")


# file:// becomes a path before anything runs: one script stands for all.
@pytest.mark.parametrize("store", ["file", "s3"], indirect=True)
def test_a_submitted_preparation_leaves_patches_in_storage(head, scene_files, store) -> None:
    out = join(store, "patches")
    said = succeed(head, scene_files, "jobs/prepare.py", scene_files.cube, "--out", out)
    assert "Train on them" in said
    assert read_card(out).rows == (scene_files.truth > 0).sum()


def test_a_submitted_benchmark_leaves_its_figures_in_storage(head, scene_files, store) -> None:
    out = join(store, "bench")
    succeed(
        head,
        scene_files,
        *("jobs/bench.py", "training", "--scene", scene_files.cube, "--seeds", 1),
        *("--full-epochs", 10, "--lr", 3e-3, "--out", out),
    )
    assert {"bench.html", "bench.json", "bench.md", "bench.png", "cells.jsonl"} <= set(names(out))


def test_a_submitted_search_leaves_what_it_found_in_storage(head, scene_files, store) -> None:
    out = join(store, "search")
    said = succeed(
        head,
        scene_files,
        *("jobs/search.py", scene_files.cube, "--trials", 1, "--repeats", 0, "--confirm", 0),
        *("--components", "4,8", "--patches", "3,5", "--whitenings", 0.5, "--device", "cpu"),
        *("--set", "epochs=8", "--set", "backbone_options.width=8", "--out", out),
    )
    assert f"--config {join(settle(out), 'run.toml')}" in said
    assert {"cells.jsonl", "found.toml", "run.toml", "search.html", "search.json"} <= set(
        names(out)
    )


def test_a_job_with_bad_input_fails_in_one_line(head, scene_files) -> None:
    done = submit(head, "jobs/train.py", scene_files.cube, "--labels", "nowhere.npy")
    assert done.returncode != 0
    assert "st-ray: " in done.stdout + done.stderr
    assert "nowhere.npy" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize("script", sorted((ROOT / "jobs").glob("*.py")), ids=lambda p: p.name)
def test_a_job_script_is_thin_and_shows_its_help(script: Path) -> None:
    assert len(script.read_text().splitlines()) <= 60
    done = subprocess.run(
        [sys.executable, str(script), "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0
    shown = {
        "train": "--workers",
        "bench": "training",
        "prepare": "--out",
        "search": "--goal",
        "predict": "--resample",
    }
    assert shown[script.stem] in done.stdout
