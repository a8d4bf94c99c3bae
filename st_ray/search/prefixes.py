"""The common beginnings of schedules, trained once: checkpoints by what was trained so far."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from filelock import FileLock, Timeout

from st_ray.bench.ledger import key_of
from st_ray.errors import OutputError
from st_ray.learn.checkpoint import POSITION, checkpoint_folder
from st_ray.learn.drafts import drafting
from st_ray.search.schedule import Schedule

# Another trial trains the same beginning meanwhile; after that long it is given up on.
_PATIENCE_S = 3600.0


@dataclass(frozen=True, slots=True)
class Prefixes:
    """Checkpoints in a folder that all trials of a search reach.

    Attributes:
        folder: Where they lie, by key.
        facts: What decides a training apart from its schedule; plain.
    """

    folder: Path
    facts: str

    def key(self, schedule: Schedule, seed: int, epochs: int) -> str:
        """Of what is trained after so many epochs of a schedule."""
        decided = (schedule.axis, schedule.learning_rate, schedule.whitening, seed)
        return key_of([self.facts, decided, schedule.trace()[:epochs]])

    @staticmethod
    def ends(schedule: Schedule, also: Iterable[int] = ()) -> tuple[int, ...]:
        """The epochs after which a checkpoint is worth keeping: of all stages but one, and more."""
        own = tuple(accumulate(leg.epochs for leg in schedule.legs))[:-1]
        return tuple(sorted({*own, *(end for end in also if end < schedule.epochs)}))

    def longest(self, schedule: Schedule, seed: int) -> tuple[int, Path] | None:
        """The longest beginning of a schedule that is kept: its epochs, and where."""
        for epochs in range(schedule.epochs - 1, 0, -1):
            held = self._place(schedule, seed, epochs)
            if held.is_dir():
                return epochs, held
        return None

    def lend(self, held: Path, checkpoints: Path, epochs: int, fingerprint: str) -> None:
        """Make a kept checkpoint the newest of a run.

        Raises:
            OutputError: It cannot be written.
        """
        with drafting(checkpoint_folder(checkpoints, epochs)) as draft:
            shutil.copytree(held, draft, dirs_exist_ok=True)
            table = json.loads((held / POSITION).read_text(encoding="utf-8"))
            table["fingerprint"] = fingerprint
            (draft / POSITION).write_text(json.dumps(table), encoding="utf-8")

    def keep(self, schedule: Schedule, seed: int, epochs: int, checkpoints: Path) -> None:
        """Copy a run's checkpoint of that many epochs, if it still is there.

        A run keeps its newest two, and one on workers of its own may be ahead of who listens.
        """
        final = self._place(schedule, seed, epochs)
        source = checkpoint_folder(checkpoints, epochs)
        if final.is_dir() or not source.is_dir():
            return
        try:
            with drafting(final) as draft:
                shutil.copytree(source, draft, dirs_exist_ok=True)
        except (OutputError, shutil.Error):
            return  # gone meanwhile, or kept by another trial: only sharing is lost

    @contextmanager
    def claim(
        self, schedule: Schedule, seed: int, ends: Sequence[int]
    ) -> Iterator[Callable[[], None]]:
        """Wait while another trial trains what this schedule begins with.

        Where locks do not work, or after an hour, both train it.

        Args:
            schedule: Of the trial.
            seed: Of the trial.
            ends: Epochs after which beginnings are kept.

        Yields:
            To be called once that beginning is kept, or is not going to be.
        """
        lock: FileLock | None = None
        try:
            while (coming := self._coming(schedule, seed, ends)) is not None:
                coming.mkdir(parents=True, exist_ok=True)
                lock = FileLock(coming / "lock", thread_local=False)
                lock.acquire(timeout=_PATIENCE_S)
                if self._coming(schedule, seed, ends) == coming:
                    break  # ours to train
                lock.release()
        except (Timeout, NotImplementedError):  # the latter: a file system without locks
            lock = None
        try:
            yield lock.release if lock else _nothing
        finally:
            if lock:
                lock.release()

    def _coming(self, schedule: Schedule, seed: int, ends: Sequence[int]) -> Path | None:
        """Where the next beginning will be kept after those that are; None after the last."""
        found = self.longest(schedule, seed)
        done = found[0] if found else 0
        end = next((end for end in ends if end > done), None)
        return None if end is None else self._place(schedule, seed, end).parent

    def _place(self, schedule: Schedule, seed: int, epochs: int) -> Path:
        """A folder that is whole if it is there; beside it nothing but its lock."""
        return self.folder / self.key(schedule, seed, epochs) / "checkpoint"


def _nothing() -> None:
    """Release what was not locked."""
