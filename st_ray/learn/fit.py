"""Train a curriculum: the same function runs in this process and in every Ray Train worker.

One call trains all stages. At a hand-over the next stage's model is built, the weights and the
optimizer's moments grow into it, and training goes on under one learning-rate schedule.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from st_ray.errors import SpecError, TrainingError
from st_ray.learn.checkpoint import (
    EpochRow,
    Position,
    latest_checkpoint,
    load_optimizer_state,
    load_weights,
    save_checkpoint,
)
from st_ray.learn.curriculum import PlannedStage
from st_ray.learn.grow import grow, grow_optimizer
from st_ray.learn.job import Job
from st_ray.learn.loop import (
    PatchSource,
    epoch_order,
    epoch_turns,
    remember_rates,
    schedule,
    seed_everything,
    stack_tensor,
    train_epoch,
)
from st_ray.learn.metrics import Confusion
from st_ray.learn.mirror import bring, keep_checkpoint, keep_outcome
from st_ray.learn.objectives import to_device
from st_ray.learn.outcome import Outcome
from st_ray.learn.parallel import Share, globalise
from st_ray.learn.peers import Peers
from st_ray.learn.placement import Placement, Replicated, Sharded
from st_ray.learn.scoring import evaluate
from st_ray.spectral.patches import Samples, TileStack

Listen = Callable[[Mapping[str, Any]], None]


class _Learner:
    """The model and optimizer of one stage, with the stage's patches."""

    def __init__(
        self, job: Job, index: int, held: Held, peers: Peers, before: _Learner | None
    ) -> None:
        self.job, self.index, self.peers, self.held = job, index, peers, held
        self.stage = job.stages[index]
        self.share = Share()
        seed_everything(job.seed, 0)
        model = job.build(
            components=self.stage.components,
            patch_size=self.stage.patch_size,
            classes=job.classes,
        )
        self.model = globalise(model.to(held.values.device), self.share, peers)
        self.optimizer = job.optimizer(self.model.parameters(), job.train.peak_rate)
        remember_rates(self.optimizer)
        if before is not None:
            weights = before.model.state_dict()
            grow(weights, self.model)
            grow_optimizer(before.optimizer.state_dict(), weights, self.optimizer, self.model)
        self.wrapped = peers.wrap(self.model)

    def restore(self, checkpoint: Path) -> None:
        """Take weights and optimizer state from a checkpoint of this stage."""
        load_weights(checkpoint, self.model)
        self.optimizer.load_state_dict(load_optimizer_state(checkpoint))

    def source(self, samples: Samples) -> PatchSource:
        """Some samples' patches at this stage's size."""
        return stage_source(self.job, self.held, samples, self.stage, self.model)

    def score(self, samples: Samples) -> tuple[Confusion, float]:
        """Confusion matrix and loss of some samples, over all workers."""
        mine_N, job = self.held.placement.mine(samples), self.job
        return evaluate(self.model, self.source(samples), mine_N, job.loss, job.classes, self.peers)

    def train(self, epoch: int) -> EpochRow:
        """One epoch, 0-based over the run, and the validation score after it."""
        job = self.job

        def factor_at(progress: float) -> float:
            done = job.progress(epoch + progress)
            return schedule(done, job.train.warmup, job.train.schedule)

        seed_everything(job.seed, epoch + 1)
        order = epoch_order(job.train_samples.targets_N, job.train.class_floor, job.seed, epoch)
        batches = self.held.placement.batches(order, job.train_samples, self.stage.batch_size)
        stats = train_epoch(
            self.wrapped,
            self.source(job.train_samples),
            batches,
            self.optimizer,
            job.loss,
            factor_at,
            self.share,
            self.peers,
            epoch_turns(len(batches), job.seed, epoch) if job.train.flips else None,
        )
        if not math.isfinite(stats.loss):
            raise TrainingError(
                f"the loss became {stats.loss} in epoch {epoch + 1} (stage {self.index + 1}); "
                "lower --lr"
            )
        begun = time.perf_counter(), time.process_time()
        confusion, loss = self.score(job.validation_samples)
        return EpochRow(
            epoch=epoch + 1,
            stage=self.index,
            loss=stats.loss,
            learning_rate=float(self.optimizer.param_groups[0]["lr"]),
            validation_loss=loss,
            validation_accuracy=confusion.overall_accuracy,
            seconds=stats.seconds,
            samples=stats.samples,
            scoring_seconds=time.perf_counter() - begun[0],
            scoring_cpu_seconds=time.process_time() - begun[1],
        )


@dataclass(frozen=True, slots=True)
class Held:
    """What a worker holds of the data.

    Attributes:
        values: Its rows of the tile stack (R, E, K), on its device.
        placement: Which samples are in them.
        first_row: Which row of the whole stack its first is.
        on_disk: Whether reading values may wait for a disk.
    """

    values: torch.Tensor
    placement: Placement
    first_row: int = 0
    on_disk: bool = False

    @classmethod
    def of(cls, stack: TileStack, job: Job, peers: Peers, device: torch.device) -> Held:
        """A stack on its device, and its place among those of the other workers.

        Raises:
            SpecError: A GPU has no room for it.
        """
        _check_room(stack.values_REK.nbytes, device)
        values = stack_tensor(stack, device)
        on_disk = stack.mapping is not None and device.type == "cpu"
        if job.shards is None:
            return cls(values, Replicated(peers), on_disk=on_disk)
        bounds = tuple(cut * values.shape[1] for cut in job.shards)
        return cls(values, Sharded(peers, bounds), bounds[peers.rank], on_disk)


SHARE_OF_GPU = 0.8  # of its free memory, at most, for what is trained on


def _check_room(size: int, device: torch.device) -> None:
    """See that a GPU has room for so many bytes."""
    if device.type != "cuda":
        return
    free, _ = torch.cuda.mem_get_info(device)
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if size > SHARE_OF_GPU * free:
        raise SpecError(
            f"what is trained on takes {size / 1e9:.3g} GB, of {free / 1e9:.3g} GB that the GPU "
            "has free and the network needs too; use fewer components, --device cpu, or, of tiles, "
            "more workers with --set cluster.placement=shard"
        )


def stage_source(
    job: Job, held: Held, samples: Samples, stage: PlannedStage, model: nn.Module
) -> PatchSource:
    """Some samples' patches as a stage's model sees them."""
    size = stage.patch_size, stage.components
    source = PatchSource.of(held.values, job.halo, samples, *size, model, held.first_row)
    return replace(source, ahead=held.on_disk)


def fit(job: Job, stack: TileStack, *, peers: Peers, device: torch.device, listen: Listen) -> None:
    """Train all stages from the newest checkpoint on; write the outcome to `job.folder`.

    Calling it again after it was cut off ends in the same outcome; calling it again after it
    finished does nothing.

    Args:
        job: What to train.
        stack: The projected tiles, all of them or this worker's shard.
        peers: The workers; every one calls this.
        device: Where to train.
        listen: Called by rank 0 with a dict after every epoch; must not block.

    Raises:
        TrainingError: The loss diverged.
        SpecError: A GPU has no room for the tiles.
        OutputError: The checkpoints belong to other settings, or cannot be written.
    """
    peers.on_all(partial(bring, job))
    if Outcome.exists(job.folder, job.fingerprint):
        return
    job = replace(job, loss=to_device(job.loss, device))
    held = peers.on_all(lambda: Held.of(stack, job, peers, device))
    position = Position(fingerprint=job.fingerprint)
    learner: _Learner | None = None
    found = latest_checkpoint(job.folder, job.fingerprint)
    if found:
        checkpoint, position = found
        learner = _Learner(job, position.stage, held, peers, None)
        learner.restore(checkpoint)
    listen({"kind": "started", "epochs": job.epochs, "epoch": position.epoch, "time": time.time()})
    for epoch in range(position.epoch, job.epochs):
        index = job.stage_of(epoch)
        if learner is None or learner.index != index:
            learner = _Learner(job, index, held, peers, learner)
        row = learner.train(epoch)
        position = replace(position, epoch=epoch + 1, stage=index, history=(*position.history, row))
        peers.on_first(partial(_save, job, learner, position))
        stack.forget()
        if peers.rank == 0:
            listen({"kind": "epoch", "row": row, "time": time.time()})
    assert learner is not None  # a plan has at least one epoch
    _finish(job, learner, position)


def _save(job: Job, learner: _Learner, position: Position) -> None:
    state = learner.optimizer.state_dict()
    keep_checkpoint(job, save_checkpoint(job.folder, learner.model, state, position))


def _finish(job: Job, learner: _Learner, position: Position) -> None:
    started = time.perf_counter()
    scores = [learner.score(part)[0] for part in (job.validation_samples, job.test_samples)]
    outcome = Outcome(
        fingerprint=job.fingerprint,
        history=position.history,
        validation=scores[0],
        test=scores[1],
        parameters=sum(p.numel() for p in learner.model.parameters() if p.requires_grad),
        evaluate_seconds=time.perf_counter() - started,
    )
    learner.peers.on_first(partial(_save_outcome, job, outcome, learner.model))


def _save_outcome(job: Job, outcome: Outcome, model: nn.Module) -> None:
    outcome.save(job.folder, model)
    keep_outcome(job)
