"""What is trained, and how: all that a worker needs, apart from the data."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from torch import nn

from st_ray.errors import SpecError
from st_ray.learn.curriculum import PlannedStage
from st_ray.learn.objectives import BuildOptimizer, Loss
from st_ray.learn.presets import USUAL_BATCH, USUAL_RATE
from st_ray.spectral.patches import Samples

BuildModel = Callable[..., nn.Module]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainSpec:
    """How a curriculum is optimised.

    Attributes:
        learning_rate: Peak of the schedule; None takes what the backbone's entry says, for the
            optimizer that it says (else 1e-3).
        batch_size: Global batch over all workers, samples; None takes what the backbone's entry
            says (else 64).
        weight_decay: Of the built-in optimizers.
        warmup: Share of the budget spent raising the learning rate from zero.
        schedule: Of the learning rate after that: "linear" or "cosine" to zero, or "constant".
        optimizer: "adamw", "adam", "muon", "sgd", or "package.module:function" called with
            (parameters, learning_rate); None takes what the backbone's entry says. "muon" takes
            the last weight that a model declares for that of its classifying layer.
        class_floor: Times that each class is seen in an epoch at least; the pixels of a class
            with fewer repeat. 0: every pixel is seen once.
        flips: Whether every batch is mirrored and transposed at random, all of its patches alike;
            None takes what the backbone's entry says (else not).
        loss: "cross_entropy", or "package.module:function" called with (logits (M, C),
            targets (M,)) and returning the scalar loss of the global batch.
    """

    learning_rate: float | None = None
    batch_size: int | None = None
    weight_decay: float = 1e-2
    warmup: float = 0.05
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    optimizer: str | None = None
    class_floor: int = 10
    flips: bool | None = None
    loss: str = "cross_entropy"

    def __post_init__(self) -> None:
        if self.learning_rate is not None and not 0.0 < self.learning_rate < math.inf:
            raise SpecError(f"train.learning_rate={self.learning_rate}: expected a positive number")
        if self.batch_size is not None and self.batch_size < 2:
            raise SpecError(f"train.batch_size={self.batch_size}: expected at least 2 samples")
        if self.class_floor < 0:
            raise SpecError(f"train.class_floor={self.class_floor}: expected 0 or more samples")
        if not 0.0 <= self.weight_decay < math.inf:
            raise SpecError(f"train.weight_decay={self.weight_decay}: expected 0 or more")
        if not 0.0 <= self.warmup < 1.0:
            raise SpecError(f"train.warmup={self.warmup}: expected a share of the budget in [0, 1)")
        if self.schedule not in ("linear", "cosine", "constant"):
            raise SpecError(
                f"train.schedule={self.schedule!r}: expected 'linear', 'cosine' or 'constant'"
            )

    @property
    def peak_rate(self) -> float:
        """The learning rate; the usual one where nothing was said."""
        return USUAL_RATE if self.learning_rate is None else self.learning_rate

    @property
    def batch(self) -> int:
        """The global batch; the usual one where nothing was said."""
        return USUAL_BATCH if self.batch_size is None else self.batch_size


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """All that a worker needs, apart from the data.

    Attributes:
        stages: The planned curriculum.
        classes: Number of classes C.
        build: (components=, patch_size=, classes=) -> module.
        loss: (logits (M, C), targets (M,)) -> scalar loss of the global batch.
        optimizer: (parameters, learning rate) -> optimizer.
        train: The optimisation's numbers.
        seed: Of initialisation, shuffles and dropout.
        fingerprint: Hash of everything that decides the result.
        folder: Where checkpoints and the outcome go; without `storage` every worker must reach it.
        halo: Margin of the tile stack.
        train_samples: Training part.
        validation_samples: Validation part, scored after every epoch.
        test_samples: Test part, scored once at the end.
        clock: Share of the budget that is done before each epoch and after the last, E + 1 values,
            which the learning rate follows; None: epochs count alike.
        storage: URI that `folder` is a copy of, where a node's own files would be lost with it;
            None: `folder` is where they stay.
        shards: Tiles of the stack at which each worker's own begin and end, W + 1 positions; None:
            every worker holds the whole stack.
    """

    stages: tuple[PlannedStage, ...]
    classes: int
    build: BuildModel
    loss: Loss
    optimizer: BuildOptimizer
    train: TrainSpec
    seed: int
    fingerprint: str
    folder: Path
    halo: int
    train_samples: Samples
    validation_samples: Samples
    test_samples: Samples
    clock: tuple[float, ...] | None = None
    storage: str | None = None
    shards: tuple[int, ...] | None = None

    @property
    def epochs(self) -> int:
        """Epochs of all stages."""
        return sum(stage.epochs for stage in self.stages)

    def progress(self, epoch: float) -> float:
        """Share of the budget that is done after so many epochs, and parts of one."""
        if self.clock is None:
            return epoch / self.epochs
        return float(np.interp(epoch, range(self.epochs + 1), self.clock))

    def stage_of(self, epoch: int) -> int:
        """Which stage a 0-based epoch belongs to."""
        for index, stage in enumerate(self.stages):
            if epoch < stage.epochs:
                return index
            epoch -= stage.epochs
        raise IndexError(epoch)
