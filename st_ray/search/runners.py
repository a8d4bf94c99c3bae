"""Where the trials of a search run: one after another here, or side by side on Ray Tune."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal

import torch

from st_ray.bench.ledger import Row
from st_ray.config import ClusterSpec
from st_ray.engine import settle_process
from st_ray.learn.fit import Listen, fit
from st_ray.learn.job import Job
from st_ray.learn.peers import Peers
from st_ray.search.course import Asked, Chain, Course
from st_ray.search.trial import Ground, Train, Trial, run_trial
from st_ray.spectral.patches import TileStack

Device = Literal["cpu", "cuda"]
MakeTrial = Callable[[Asked], Trial]


def abreast(cluster: ClusterSpec, device: Device, wanted: int | None) -> int:
    """Trials at a time: as wanted, or as many as the cores allow.

    Raises:
        SpecError: There is no room for one.
    """
    if cluster.workers == 0:
        return 1
    from st_ray.cluster.tuning import room_for

    room = room_for(cluster, device)
    return room if wanted is None else wanted


def run_trials(
    course: Course | Chain,
    make: MakeTrial,
    ground: Ground,
    *,
    cluster: ClusterSpec,
    abreast: int,
    longest: float | None,
) -> None:
    """Train what the course hands out, until it is over.

    Args:
        course: Hands out draws.
        make: The trial of a draw.
        ground: What all share.
        cluster: Workers, threads and device of a trial; without workers it runs here.
        abreast: Trials at a time, on Ray.
        longest: Predicted seconds of the longest schedule, if trials may be stopped early, which
            is done on Ray.
    """
    if cluster.workers == 0:
        run_here(course, make, ground, cluster.device)
        return
    from st_ray.cluster.tuning import run_on_tune

    each = replace(cluster, workers=cluster.workers or 1)
    run_on_tune(
        course,
        make,
        partial(work_on, each),
        ground,
        cluster=each,
        abreast=abreast,
        longest=longest,
        place=ground.place,
    )


def run_here(course: Course | Chain, make: MakeTrial, ground: Ground, device: str) -> None:
    """Train one trial after another in this process."""
    while not course.over:
        asked = course.next()
        if asked is None:
            return
        reports: list[Row] = []
        run_trial(make(asked), ground, partial(train_here, device), reports.append)
        course.tell(asked, reports[-1])


def work_on(
    cluster: ClusterSpec, trial: Trial, ground: Ground, report: Callable[[Row], None]
) -> None:
    """What an actor of Ray Tune does: train in its process, or by workers of its own."""
    settle_process(max(1, cluster.threads))
    train: Train = partial(train_here, cluster.device)
    if (cluster.workers or 1) > 1:
        from st_ray.cluster.trainer import train_on_workers

        def train(job: Job, stack: TileStack, listen: Listen) -> None:
            train_on_workers(job, stack, cluster, listen)

    run_trial(trial, ground, train, report)


def train_here(device: str, job: Job, stack: TileStack, listen: Listen) -> None:
    """Train in this process."""
    fit(job, stack, peers=Peers(), device=torch.device(device), listen=listen)
