"""`jobs/train.py` on simulated nodes, one of which is killed: it costs the epoch under way."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = [pytest.mark.ray, pytest.mark.timeout(800)]
ROOT = Path(__file__).resolve().parents[2]
EPOCHS, BATCH = 6, 16
HELD_AT = 18  # the step in which the workers wait for the loss: amid an epoch
_calls = 0


def held_cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross entropy that notes its training steps under their node's name, and waits in one."""
    if torch.distributed.is_initialized() and logits.requires_grad:
        import ray

        global _calls
        _calls += 1
        folder = Path(os.environ["ST_RAY_SIGNS"])
        with (folder / "steps" / ray.get_runtime_context().get_node_id()).open("a") as file:
            file.write(f"{torch.distributed.get_world_size()} {torch.distributed.get_rank()}\n")
        if _calls == HELD_AT and not (folder / "lost").exists():
            (folder / f"held{torch.distributed.get_rank()}").touch()
            time.sleep(300)  # till the node is killed, or Ray ends what is left of the workers
    return torch.nn.functional.cross_entropy(logits, targets)


def signs(folder: Path) -> list[tuple[int, int]]:
    """(workers, rank) of every training step."""
    lines = [
        line for path in (folder / "steps").iterdir() for line in path.read_text().splitlines()
    ]
    return [(int(world), int(rank)) for world, rank in map(str.split, lines)]


def wait_until(done: Callable[[], object], what: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.1)


@contextmanager
def nodes(count: int) -> Iterator[Any]:
    """A cluster of a head and some more nodes, with a CPU each."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    try:
        for _ in range(count - 1):
            cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes(timeout=60)
        yield cluster
    finally:
        cluster.shutdown()


def command(scene_files, out: Path, *more: str) -> list[str]:
    words = [
        *(ROOT / "jobs" / "train.py", scene_files.cube, "--labels", scene_files.labels),
        *("--workers", 2, "--out", out, "--device", "cpu", "--patch-size", 5),
        *("--beta", 1, "--epochs", EPOCHS, "--curriculum", "full", "--batch-size", BATCH),
        *("--set", f"train.loss={__name__}:held_cross_entropy", "--set", "cluster.threads=1"),
        *("--set", "map=false", "--set", "train.class_floor=0"),
        *more,
    ]
    return [sys.executable, *map(str, words)]


def test_the_loss_of_a_node_costs_at_most_the_epoch_under_way(
    scene_files, tmp_path: Path, monkeypatch
) -> None:
    seen, log, out = tmp_path / "signs", tmp_path / "log", tmp_path / "out"
    (seen / "steps").mkdir(parents=True)
    monkeypatch.setenv("ST_RAY_SIGNS", str(seen))  # for the nodes, which hand it to the workers
    with nodes(2) as cluster, log.open("w") as file:
        environment = {
            **os.environ,
            "RAY_ADDRESS": cluster.address,
            "RAY_AUTH_MODE": os.environ.get("RAY_AUTH_MODE", "disabled"),  # as the nodes have it
            "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
        }
        with subprocess.Popen(
            command(scene_files, out, "--set", "cluster.least_workers=1"),
            env=environment,
            stdout=file,
            stderr=file,
        ) as job:
            try:
                held = [seen / f"held{rank}" for rank in range(2)]
                wait_until(lambda: all(path.exists() for path in held) or job.poll(), "hold", 300)
                assert job.poll() is None, log.read_text()
                begun = {path.name for path in (seen / "steps").iterdir()}
                victim = next(node for node in cluster.worker_nodes if node.node_id in begun)
                (seen / "lost").touch()
                cluster.remove_node(victim, allow_graceful=False)
                job.wait(timeout=400)
            finally:
                job.kill()
    told = log.read_text()
    assert job.returncode == 0, told
    report = json.loads((out / "report.json").read_text())
    assert [row["epoch"] for row in report["history"]] == list(range(1, EPOCHS + 1))
    made = signs(seen)
    assert {world for world, _ in made} == {2, 1}
    assert report["workers"] == 2
    assert "the number of workers changed: 2, then 1" in report["warnings"]
    # What was trained twice: steps of one epoch, between its begin and the loss.
    steps = math.ceil(report["split"]["totals"]["train"] / BATCH)
    kept, twice = divmod(HELD_AT, steps)
    assert f"going on after epoch {kept}\n" in told
    assert sum(rank == 0 for _, rank in made) - EPOCHS * steps == twice
