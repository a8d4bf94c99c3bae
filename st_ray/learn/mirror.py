"""A run's folder that is a copy of a store: checkpoints and the outcome, brought and kept.

What tells of a whole folder is kept last and dropped first, so that one cut off on its way counts
for nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from st_ray.learn.checkpoint import CHECKPOINTS, POSITION
from st_ray.learn.drafts import drafting
from st_ray.learn.job import Job
from st_ray.learn.outcome import OUTCOME, SCORES, Outcome
from st_ray.storage import exists, join, names, pull, push, remove


@contextmanager
def own_copy(job: Job) -> Iterator[Job]:
    """The job with a folder of this process's own, where its folder is a store's copy."""
    if job.storage is None:
        yield job
        return
    with tempfile.TemporaryDirectory(prefix="st_ray-") as folder:
        yield replace(job, folder=Path(folder))


def bring(job: Job) -> None:
    """Bring the outcome, or before there is one the newest checkpoint, from the store.

    Raises:
        OutputError: The store cannot be read, or the folder not be written.
    """
    if job.storage is None:
        return
    if exists(join(join(job.storage, OUTCOME), SCORES)):
        _bring(job, job.storage, OUTCOME)
        if Outcome.exists(job.folder, job.fingerprint):
            return
    for name in reversed(_checkpoints(job.storage)):
        if exists(join(join(job.storage, name), POSITION)):
            _bring(job, job.storage, name)
            return


def keep_checkpoint(job: Job, checkpoint: Path) -> None:
    """Keep a checkpoint in the store, and drop there what is dropped here.

    Raises:
        OutputError: The store cannot be written.
    """
    if job.storage is None:
        return
    push(checkpoint, join(job.storage, checkpoint.name), last=POSITION)
    for name in _checkpoints(job.storage):
        if not (job.folder / name).exists():
            remove(join(job.storage, name), first=POSITION)


def keep_outcome(job: Job) -> None:
    """Keep the outcome in the store.

    Raises:
        OutputError: The store cannot be written.
    """
    if job.storage is not None:
        push(job.folder / OUTCOME, join(job.storage, OUTCOME), last=SCORES)


def _checkpoints(storage: str) -> list[str]:
    return [name for name in names(storage) if Path(name).match(CHECKPOINTS)]


def _bring(job: Job, storage: str, name: str) -> None:
    if not (job.folder / name).is_dir():
        with drafting(job.folder / name) as draft:
            pull(join(storage, name), draft)
