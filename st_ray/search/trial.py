"""One trial of a search: train a schedule, from the longest beginning that is known, and score it.

Nothing here sees a test pixel: the validation part is scored in its place.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from st_ray.bench.ledger import key_of
from st_ray.learn.backbones import one_line
from st_ray.learn.checkpoint import EpochRow
from st_ray.learn.curriculum import Axis
from st_ray.learn.fit import Listen
from st_ray.learn.job import Job
from st_ray.learn.outcome import Outcome
from st_ray.search.prefixes import Prefixes
from st_ray.search.schedule import Schedule
from st_ray.spectral.patches import Samples, TileStack
from st_ray.storage import is_uri, join, remove

# (job, stack, listener): run `fit` somewhere.
Train = Callable[[Job, TileStack, Listen], None]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Variant:
    """What decides the values that a schedule is trained on.

    Attributes:
        axis: Components, groups or bands.
        rank: How many there are, where those of few are not the first of many; else 0.
        whitening: Exponent.
    """

    axis: Axis
    rank: int
    whitening: float

    @classmethod
    def of(cls, schedule: Schedule) -> Variant:
        """What a schedule needs."""
        rank = 0 if schedule.axis == "components" else schedule.legs[-1].components
        return cls(schedule.axis, rank, schedule.whitening)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ground:
    """What all trials share; it travels to every node once.

    Attributes:
        jobs: What to train apart from the schedule, by variant.
        stacks: Projected tiles, by variant.
        paces: Seconds of a training sample at (components, patch_size).
        samples: Of an epoch.
        place: Directory or URI of the search; every node must reach it.
    """

    jobs: Mapping[Variant, Job]
    stacks: Mapping[Variant, TileStack]
    paces: Mapping[tuple[int, int], float]
    samples: int
    place: str

    @property
    def storage(self) -> str | None:
        """The URI that trials are kept at; None where they are in a directory that all reach."""
        return self.place if is_uri(self.place) else None

    @property
    def folder(self) -> Path:
        """The directory, or this node's own beside a URI."""
        if self.storage is None:
            return Path(self.place)
        return Path(tempfile.gettempdir()) / f"st_ray-search-{key_of(self.place)}"

    def epoch_cost(self, components: int, patch_size: int) -> float:
        """Predicted seconds of an epoch."""
        return self.samples * self.paces[components, patch_size]


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """What is trained.

    Attributes:
        number: In the order of asking.
        schedule: The stages.
        seed: Of initialisation and shuffles.
        watched: Whether every epoch is scored, so that it can be stopped early.
        shared: Whether it may begin where another trial has been, and lends what it trains.
        ends: Epochs after which others may go on otherwise, beside the ends of its stages.
    """

    number: int
    schedule: Schedule
    seed: int
    watched: bool = False
    shared: bool = True
    ends: tuple[int, ...] = ()


@dataclass(slots=True)
class _Progress:
    """Follows a training: its cost, and the checkpoints that others may begin with."""

    trial: Trial
    ground: Ground
    prefixes: Prefixes
    job: Job
    release: Callable[[], None]
    report: Callable[[Row], None]
    begun_with: int
    ends: tuple[int, ...]
    costs: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        legs = self.trial.schedule.legs
        each = [self.ground.epoch_cost(leg.components, leg.patch_size) for leg in legs]
        spent = [cost for cost, leg in zip(each, legs, strict=True) for _ in range(leg.epochs)]
        self.costs = [0.0, *np.cumsum(spent).tolist()]

    def __call__(self, event: Mapping[str, Any]) -> None:
        if event["kind"] != "epoch":
            return
        row: EpochRow = event["row"]
        trial = self.trial
        if row.epoch in self.ends:
            self.prefixes.keep(trial.schedule, trial.seed, row.epoch, self.job.folder)
            self.release()
        if trial.watched and row.epoch < trial.schedule.epochs:
            self.report(
                {
                    "compute": self.costs[row.epoch],
                    "spent": self.costs[row.epoch] - self.costs[self.begun_with],
                    "accuracy": row.validation_accuracy,
                    "epochs": row.epoch,
                }
            )


def run_trial(trial: Trial, ground: Ground, train: Train, report: Callable[[Row], None]) -> None:
    """Train and score a schedule; report plain numbers, those with "state" at the end.

    A trial that was cut off goes on from its newest checkpoint when it is run again. One that
    fails reports why, and raises nothing.

    Args:
        trial: What to train.
        ground: What it is trained on.
        train: Where.
        report: Called with ``compute`` and ``spent`` (predicted seconds, of the schedule so far,
            and of what this trial trained itself), ``accuracy`` (validation OA), ``epochs``; at
            the end also with ``oa``, ``aa``, ``kappa``, ``seconds`` and ``state``.
    """
    begun = time.perf_counter()
    try:
        row = _train(trial, ground, train, report)
    except Exception as error:  # whatever a user's model raises is one row of the search
        row = {"state": "failed", "error": one_line(error), "compute": 0.0, "accuracy": -1.0}
    report({**row, "seconds": round(time.perf_counter() - begun, 3)})


def _train(trial: Trial, ground: Ground, train: Train, report: Callable[[Row], None]) -> Row:
    schedule, variant = trial.schedule, Variant.of(trial.schedule)
    shared = ground.jobs[variant]
    prefixes = Prefixes(ground.folder / "prefixes", shared.fingerprint)
    key = prefixes.key(schedule, trial.seed, schedule.epochs)
    nothing = Samples(centres_N2=np.empty((0, 2), np.int64), targets_N=np.empty(0, np.int64))
    job = replace(
        shared,
        stages=schedule.planned(),
        train=replace(shared.train, learning_rate=schedule.learning_rate),
        seed=trial.seed,
        clock=schedule.clock,
        fingerprint=key,
        folder=ground.folder / "trials" / key,
        storage=ground.storage and join(ground.storage, f"trials/{key}"),
        validation_samples=shared.validation_samples if trial.watched else nothing,
        test_samples=shared.validation_samples,
    )
    job.folder.mkdir(parents=True, exist_ok=True)
    ends = prefixes.ends(schedule, trial.ends) if trial.shared else ()
    with prefixes.claim(schedule, trial.seed, ends) as release:
        done = _lend(prefixes, trial, job) if trial.shared else 0
        listen = _Progress(trial, ground, prefixes, job, release, report, done, ends)
        train(job, ground.stacks[variant], listen)
    scores = Outcome.load(job.folder).test
    return {
        "compute": listen.costs[-1],
        "spent": listen.costs[-1] - listen.costs[done],
        "accuracy": scores.overall_accuracy,
        "oa": scores.overall_accuracy,
        "aa": scores.average_accuracy,
        "kappa": scores.kappa,
        "epochs": schedule.epochs,
        "state": "done",
    }


def _lend(prefixes: Prefixes, trial: Trial, job: Job) -> int:
    """Begin with the longest beginning that is known; tells its epochs, also when run again."""
    note = job.folder / "begun_with"
    if not note.is_file():
        found = prefixes.longest(trial.schedule, trial.seed)
        fresh = found is not None and not any(job.folder.glob("epoch_*"))
        if found and fresh:
            prefixes.lend(found[1], job.folder, found[0], job.fingerprint)
        note.write_text(str(found[0] if found and fresh else 0), encoding="utf-8")
    return int(note.read_text(encoding="utf-8"))


def clear_trials(ground: Ground) -> None:
    """Remove the checkpoints of a search that is over; of other nodes' own copies, nothing.

    Raises:
        OutputError: A URI cannot be written.
    """
    for name in ("trials", "prefixes"):
        shutil.rmtree(ground.folder / name, ignore_errors=True)
    if ground.storage is not None:
        shutil.rmtree(ground.folder, ignore_errors=True)
        remove(join(ground.storage, "trials"))
