"""The winner of a search against "default", on seeds and splits that the search has not seen.

Only here test pixels are scored, once a run. Runs are whole ones, from the opened scene, paired by
seed and in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from st_ray.bench.ledger import Ledger, Row, key_of
from st_ray.bench.measure import measure
from st_ray.bench.statistics import paired_interval, spread
from st_ray.bench.workers import Task, Worker, WorkerDiedError, check_cores, run_all
from st_ray.config import RunSpec
from st_ray.errors import SpecError, TrainingError
from st_ray.search.schedule import Schedule

ARMS = ("winner", "default")


def confirm(
    base: RunSpec,
    schedules: dict[str, Schedule],
    ledger: Ledger,
    facts: str,
    *,
    seeds: Sequence[int],
    jobs: int,
    say: Callable[[str], None],
) -> list[Row]:
    """Train both schedules on every seed, or take what is known.

    Args:
        base: Settled settings.
        schedules: By arm.
        ledger: Holds what is known.
        facts: What decides a run apart from schedule and seed; plain.
        seeds: Fresh ones.
        jobs: Runs at a time, each on cores of its own.
        say: Told of every run.
    """
    rows: dict[tuple[int, str], Row] = {}
    threads = max(1, base.cluster.threads)
    check_cores(jobs, threads)

    def run(seed: int, arm: str, worker: Worker) -> None:
        schedule = schedules[arm]
        key = key_of(["confirm", facts, schedule.table(), seed])
        row = ledger.get(key)
        if row is None:
            made = {"kind": "confirm", "seed": seed, "schedule": schedule.table()}
            row = ledger.add(key, {**made, **_measured(worker, base, schedule, seed)})
            say(f"seed {seed}, {arm}: {_words(row)}")
        rows[seed, arm] = row

    def tasks() -> Iterator[Task]:
        for turn, seed in enumerate(seeds):
            for arm in ARMS if turn % 2 == 0 else ARMS[::-1]:
                yield partial(run, seed, arm)

    run_all(tasks(), jobs=jobs, threads=threads, backbones=[base.backbone])
    return [{**rows[seed, arm], "arm": arm} for seed in seeds for arm in ARMS]


def _measured(worker: Worker, base: RunSpec, schedule: Schedule, seed: int) -> Row:
    curriculum = schedule.curriculum("found", base.full_epochs)
    spec = replace(
        base,
        seed=seed,
        beta=curriculum.beta,
        basis=replace(base.basis, whitening=schedule.whitening),
        train=replace(base.train, learning_rate=schedule.learning_rate),
        cluster=replace(base.cluster, workers=0, threads=max(1, base.cluster.threads)),
    )
    try:
        return worker.call(measure, spec, curriculum, target=None, test=True)
    except WorkerDiedError:
        raise
    except (TrainingError, SpecError) as error:  # another attempt would end the same way
        return {"error": str(error)}


def _words(row: Row) -> str:
    if "error" in row:
        return f"failed: {row['error']}"
    return f"{row['seconds']:.1f} s, test OA {row['test']['oa']:.2%}, AA {row['test']['aa']:.2%}"


def compare(rows: Sequence[Row]) -> dict[str, Any]:
    """The winner against "default", over the seeds on which both succeeded.

    Returns:
        ``seeds``; for each arm medians and ranges of ``seconds``, ``oa``, ``aa``; differences
        ``oa_difference``, ``aa_difference`` (winner minus default, means over seeds, shares) with
        ``oa_interval``, ``aa_interval`` (95 %); ``time_ratio`` (default over winner, spread).
    """
    good = {(row["seed"], row["arm"]): row for row in rows if "error" not in row}
    seeds = sorted({seed for seed, _ in good if all((seed, arm) in good for arm in ARMS)})
    table: dict[str, Any] = {"seeds": seeds, "failed": len(rows) - len(good)}
    for arm in ARMS:
        held = [good[seed, arm] for seed in seeds]
        table[arm] = {
            "seconds": spread([row["seconds"] for row in held]),
            "oa": spread([row["test"]["oa"] for row in held]),
            "aa": spread([row["test"]["aa"] for row in held]),
        }
    pairs = [(good[seed, "winner"], good[seed, "default"]) for seed in seeds]
    for name in ("oa", "aa"):
        differences = [one["test"][name] - other["test"][name] for one, other in pairs]
        mean = sum(differences) / len(differences) if differences else float("nan")
        table[f"{name}_difference"] = mean
        table[f"{name}_interval"] = list(paired_interval(differences))
    table["time_ratio"] = spread([other["seconds"] / one["seconds"] for one, other in pairs])
    return table
