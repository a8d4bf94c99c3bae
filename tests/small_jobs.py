"""Small training jobs on a tile that can be learned."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from st_ray.learn.backbones import build_backbone
from st_ray.learn.curriculum import PlannedStage
from st_ray.learn.fit import fit
from st_ray.learn.job import Job, TrainSpec
from st_ray.learn.objectives import resolve_loss, resolve_optimizer
from st_ray.learn.outcome import Outcome
from st_ray.learn.peers import Peers
from st_ray.spectral.patches import Samples, TileStack

HALO, BANDS, CLASSES = 3, 8, 3
STAGES = (
    PlannedStage(components=4, patch_size=3, epochs=2, batch_size=16, cost=1.0),
    PlannedStage(components=8, patch_size=7, epochs=2, batch_size=16, cost=1.0),
)


def samples(count: int, seed: int) -> Samples:
    centres = np.random.default_rng(seed).integers(0, 12, (count, 2))
    return Samples(centres_N2=centres, targets_N=(centres[:, 1] + HALO) // 6)


def job(folder: Path, **changes) -> Job:
    train = TrainSpec()
    whole = Job(
        stages=STAGES,
        classes=CLASSES,
        build=partial(build_backbone, "resnet2d", width=8),
        loss=resolve_loss("cross_entropy"),
        optimizer=resolve_optimizer("adamw", train.weight_decay),
        train=train,
        seed=0,
        fingerprint="one",
        folder=folder,
        halo=HALO,
        train_samples=samples(40, 1),
        validation_samples=samples(20, 2),
        test_samples=samples(30, 3),
    )
    return replace(whole, **changes)


def run(some: Job, stack: TileStack, listen=lambda event: None) -> Outcome:
    fit(some, stack, peers=Peers(), device=torch.device("cpu"), listen=listen)
    return Outcome.load(some.folder)


class Stop(Exception):
    """Stands for a killed process."""


def stop_after(epoch: int):
    def listen(event) -> None:
        if event["kind"] == "epoch" and event["row"].epoch == epoch:
            raise Stop

    return listen
