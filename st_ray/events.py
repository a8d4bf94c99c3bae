"""What a run tells while it runs, and who listens.

Events are dicts with a "kind":

* ``phase``: a part of the run begins ("name": startup, statistics, ingest, train, map, form).
* ``plan``: the stages are settled ("stages": tuple of `PlannedStage`).
* ``started``: training begins ("epochs": of the whole run, "epoch": already done, "time": Unix).
* ``worker``: the first of the workers is up ("time": Unix, "world": how many there are).
* ``epoch``: one is done ("row": `EpochRow`, "time": Unix).
* ``note``: what was repaired or assumed in opening the scene ("message").
* ``mapped``: tiles of a map are done ("pixels": here, "before": by an earlier process, "total":
  of the scene, "seconds": here).
* ``failed``: a worker met bad input ("message").
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from st_ray.learn.checkpoint import EpochRow
from st_ray.learn.curriculum import PlannedStage
from st_ray.learn.fit import Listen

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

Event = Mapping[str, Any]


class Fanout:
    """One listener that hands every event to several.

    Attributes:
        training_started: Unix time at which training began, once it has.
        workers: How many there were at each start of training; usually one number.
    """

    def __init__(self, *listeners: Listen | None) -> None:
        self._listeners = [listener for listener in listeners if listener is not None]
        self.training_started: float | None = None
        self.workers: list[int] = []

    def __call__(self, event: Event) -> None:
        """Tell all."""
        if event["kind"] == "started" and self.training_started is None:
            self.training_started = float(event["time"])
        elif event["kind"] == "worker":
            self.workers.append(int(event["world"]))
        for listener in self._listeners:
            listener(event)

    def add(self, listener: Listen) -> None:
        """One more listener."""
        self._listeners.append(listener)

    def close(self) -> None:
        """Close the listeners that hold files."""
        for listener in self._listeners:
            if isinstance(listener, TensorBoard):
                listener.close()


class TensorBoard:
    """Writes the history as TensorBoard events, from the first epoch on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: SummaryWriter | None = None

    def __call__(self, event: Event) -> None:
        """Write an epoch's numbers."""
        if event["kind"] != "epoch":
            return
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._folder))
        row: EpochRow = event["row"]
        for name in ("loss", "validation_loss", "validation_accuracy", "learning_rate", "stage"):
            self._writer.add_scalar(name, getattr(row, name), row.epoch)

    def close(self) -> None:
        """Flush and close."""
        if self._writer is not None:
            self._writer.close()


class Progress:
    """Prints phases and epochs, a line each, so that a log file reads as well as a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._total = 0
        self._stages: Sequence[PlannedStage] = ()
        self._rows: list[EpochRow] = []
        self._begun = 0.0
        self._shown = 0.0

    def __call__(self, event: Event) -> None:
        """Print an event."""
        kind = event["kind"]
        if kind == "phase":
            self._console.print(f"{_PHASES[event['name']]} …", highlight=False)
        elif kind == "note":
            self._console.print(f"  {event['message']}", highlight=False, markup=False)
        elif kind == "plan":
            self._plan(event["stages"])
        elif kind == "started":
            self._total, done = event["epochs"], event["epoch"]
            if done:
                self._console.print(f"  going on after epoch {done}", highlight=False)
            self._rows, self._begun = [], time.monotonic()
        elif kind == "epoch":
            self._epoch(event["row"])
        elif kind == "mapped":
            self._mapped(**{name: event[name] for name in ("pixels", "before", "total", "seconds")})

    def _mapped(self, pixels: int, before: int, total: int, seconds: float) -> None:
        """A line at the beginning if much is done already, every few seconds, and at the end."""
        done = pixels + before
        if not pixels:
            self._shown = 0.0
            if before:
                self._console.print(f"  going on after {before / total:.1%}", highlight=False)
        elif done == total or seconds - self._shown >= _EVERY_S:
            self._shown, rate = seconds, pixels / seconds
            self._console.print(
                f"  {done / total:6.1%}  {done / 1e6:.3g} of {total / 1e6:.3g} megapixels  "
                f"{rate / 1e6:.3g} megapixels/s  about {(total - done) / rate:.0f} s left",
                highlight=False,
            )

    def _plan(self, stages: Sequence[PlannedStage]) -> None:
        self._stages = stages
        for number, stage in enumerate(stages, 1):
            self._console.print(
                f"  stage {number}: {stage.components} channels, "
                f"{stage.patch_size}x{stage.patch_size} pixels, {stage.epochs} epochs",
                highlight=False,
            )

    def _epoch(self, row: EpochRow) -> None:
        self._rows.append(row)
        left = seconds_left(self._stages, self._rows, time.monotonic() - self._begun)
        self._console.print(
            f"  epoch {row.epoch}/{self._total}  stage {row.stage + 1}  loss {row.loss:.4f}  "
            f"validation OA {row.validation_accuracy:7.2%}  about {left:.0f} s left",
            highlight=False,
        )


def seconds_left(stages: Sequence[PlannedStage], rows: Sequence[EpochRow], elapsed: float) -> float:
    """Seconds that the epochs still to come will take.

    A stage's epochs take time as the square root of their estimated cost, about what is seen on
    small scenes, at the rate measured in the latest stage; what passes beside training
    (validation, checkpoints) comes on top.

    Args:
        stages: As planned.
        rows: The epochs of this session, in order, at least one.
        elapsed: Wall-clock seconds since its training began.
    """
    costs = [math.sqrt(stage.cost / stage.epochs) for stage in stages for _ in range(stage.epochs)]
    latest = [row for row in rows if row.stage == rows[-1].stage]
    rate = sum(row.seconds for row in latest) / sum(costs[row.epoch - 1] for row in latest)
    beside = elapsed / sum(row.seconds for row in rows)
    return rate * beside * sum(costs[rows[-1].epoch :])


_EVERY_S = 2.0

_PHASES = {
    "startup": "Starting up",
    "statistics": "Bands, split and spectral statistics",
    "ingest": "Projecting tiles",
    "train": "Training",
    "map": "Predicting the map",
    "form": "Writing the map",
}
