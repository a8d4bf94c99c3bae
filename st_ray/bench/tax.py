"""`st-ray bench tax`: what Ray costs beside the training loop itself.

The same curriculum is trained without Ray, on one Ray worker and on two, each time by a new
interpreter, in turn; and twice at once without Ray, which is what two workers could reach if they
had nothing to tell each other. A thread a worker.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from itertools import pairwise
from typing import Any

import numpy as np

from st_ray.bench.children import Watched, watch_run
from st_ray.bench.statistics import spread
from st_ray.config import RunSpec, differences, flatten
from st_ray.errors import SpecError

_WORKERS = (0, 1, 2)
_HELPS = 5
_LONGEST_RUN_S = 1800.0


def bench_tax(spec: RunSpec, *, rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Time the same run without Ray, with one worker and with two.

    Args:
        spec: What to train; its `cluster.workers` is set here.
        rounds: Times that all three are run, in turn.
        say: Told of every run.

    Returns:
        Ratios and seconds, as in the written JSON. ``two_process_ceiling``: the throughput of two
        runs at once over that of one.

    Raises:
        TrainingError: A run failed.
    """
    periods: dict[int, list[float]] = {workers: [] for workers in _WORKERS}
    parts: dict[int, list[dict[str, float]]] = {workers: [] for workers in _WORKERS}
    ceilings = []
    for _ in range(rounds):
        for workers in _WORKERS:
            cluster = replace(spec.cluster, workers=workers, threads=1)
            run = watch_run(replace(spec, cluster=cluster, map=False), _LONGEST_RUN_S)
            periods[workers].append(float(np.median(epoch_periods(run.events))))
            parts[workers].append(startup_parts(run))
            say(f"{workers} worker(s): {periods[workers][-1]:.3f} s an epoch")
        alone = replace(spec, cluster=replace(spec.cluster, workers=0, threads=1), map=False)
        with ThreadPoolExecutor(2) as pool:
            both = list(pool.map(watch_run, [alone] * 2, [_LONGEST_RUN_S] * 2))
        slower = float(np.median([np.median(epoch_periods(run.events)) for run in both]))
        ceilings.append(2.0 * periods[0][-1] / slower)
        say(f"two runs at once: {slower:.3f} s an epoch each")
    pairs = list(zip(*(periods[workers] for workers in _WORKERS), strict=True))
    helps, flat = [_help() for _ in range(_HELPS)], flatten(asdict(spec))
    return {
        "steady_state_overhead": float(np.median([one / bare for bare, one, _ in pairs])) - 1.0,
        "two_worker_speedup": float(np.median([one / two for _, one, two in pairs])),
        "two_process_ceiling": float(np.median(ceilings)),
        "startup_seconds": _medians(parts[1]),
        "help_seconds": float(np.median(helps)),
        "startup_seconds_by_workers": {str(w): _medians(parts[w]) for w in _WORKERS},
        "epoch_seconds": {str(workers): spread(periods[workers]) for workers in _WORKERS},
        "overheads": [one / bare - 1.0 for bare, one, _ in pairs],
        "two_worker_speedups": [one / two for _, one, two in pairs],
        "rounds": rounds,
        "backbone": spec.backbone,
        "settings": {name: flat[name] for name in differences(spec, RunSpec())},
    }


def epoch_periods(events: Sequence[Mapping[str, Any]]) -> list[float]:
    """Seconds from the end of one epoch to the end of the next of the same stage.

    So what an epoch costs beside training counts too; a stage's first epoch does not, which also
    builds the model.

    Raises:
        SpecError: No stage has two epochs.
    """
    ends = [event for event in events if event["kind"] == "epoch"]
    periods = [
        after["time"] - before["time"]
        for before, after in pairwise(ends)
        if after["stage"] == before["stage"]
    ]
    if not periods:
        raise SpecError("no stage has two epochs, so none can be timed; use more --epochs")
    return periods


def startup_parts(run: Watched) -> dict[str, float]:
    """Where the time goes between the command and the first step, and after the last."""
    at = run.times()
    last_epoch = max(event["time"] for event in run.events if event["kind"] == "epoch")
    parts = {
        "imports": at["imported"] - run.asked,
        "scene and checks": at["startup"] - at["imported"],
        "engine": at["statistics"] - at["startup"],
        "statistics": at["ingest"] - at["statistics"],
        "ingest": at["train"] - at["ingest"],
    }
    if "worker" in at:
        parts["worker group"] = at["worker"] - at["train"]
        parts["data and model to the workers"] = at["started"] - at["worker"]
    else:
        parts["data and model to the workers"] = at["started"] - at["train"]
    parts["after the last epoch"] = at["ended"] - last_epoch
    return parts


def _help() -> float:
    begun = time.perf_counter()
    command = "from st_ray.cli import main; main()"
    subprocess.run([sys.executable, "-c", command, "--help"], capture_output=True, check=True)
    return time.perf_counter() - begun


def _medians(tables: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.median([table[name] for table in tables])) for name in tables[0]}
