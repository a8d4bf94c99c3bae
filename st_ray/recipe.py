"""What the method leaves open: architecture, loss and optimizer; found by name, and rehearsed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from st_ray.config import RunSpec
from st_ray.errors import SceneError, SpecError
from st_ray.learn.backbones import backbones, build_backbone, check_backbone
from st_ray.learn.curriculum import PlannedStage, load_curriculum
from st_ray.learn.identity import identity
from st_ray.learn.job import BuildModel
from st_ray.learn.objectives import (
    BuildOptimizer,
    Loss,
    check_objective,
    resolve_loss,
    resolve_optimizer,
)
from st_ray.learn.parallel import local_randomness
from st_ray.learn.presets import USUAL_BATCH, USUAL_OPTIMIZER, USUAL_SHAPE, CurriculumShape
from st_ray.storage import bare


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """The three, by name or brought along.

    Attributes:
        build: (components=, patch_size=, classes=) -> module.
        loss: (logits (M, C), targets (M,)) -> scalar loss of the global batch.
        optimizer: (parameters, learning rate) -> optimizer.
        own_build: The caller's builder, which a bundle cannot name; None if it goes by name.
        brought: Which of "backbone", "loss" and "optimizer" the caller brought.
    """

    build: BuildModel
    loss: Loss
    optimizer: BuildOptimizer
    own_build: BuildModel | None = None
    brought: tuple[str, ...] = ()

    @property
    def identities(self) -> tuple[str, ...]:
        """What the three are, so that a changed one is not taken for the same."""
        return tuple(identity(part) for part in (self.build, self.loss, self.optimizer))


def fill_in(spec: RunSpec, *, brought: bool = False, own_optimizer: bool = False) -> RunSpec:
    """The spec with what it leaves to a curriculum file, or else to the backbone.

    That is the whitening and the learning rate, and to the backbone T0, the optimizer, the batch
    and the flips too. A backbone's learning rate is one for its own optimizer; another takes the
    usual rate.

    Args:
        spec: Possibly with None in these.
        brought: Whether the caller brings the backbone, and `spec.backbone` only names it.
        own_optimizer: Whether the caller brings the optimizer; then the spec names none.

    Raises:
        SpecError: There is no such curriculum file, or it is not valid.
    """
    entry = None if brought else backbones().get(spec.backbone)
    whitening = entry.whitening if entry else spec.basis.exponent
    optimizer = entry.optimizer if entry else USUAL_OPTIMIZER
    usual = not own_optimizer and spec.train.optimizer in (None, optimizer)
    rate = entry.learning_rate if entry and usual else spec.train.peak_rate
    open_ones = (spec.basis.whitening, spec.train.learning_rate)
    if None in open_ones and bare(spec.curriculum).endswith(".toml"):
        own = load_curriculum(spec.curriculum)
        whitening = whitening if own.whitening is None else own.whitening
        rate = rate if own.learning_rate is None else own.learning_rate
    if spec.epochs is None:
        spec = replace(spec, epochs=entry.full_epochs if entry else spec.full_epochs)
    if spec.basis.whitening is None:
        spec = replace(spec, basis=replace(spec.basis, whitening=whitening))
    train = replace(
        spec.train,
        learning_rate=rate if spec.train.learning_rate is None else spec.train.learning_rate,
        optimizer=None if own_optimizer else spec.train.optimizer or optimizer,
        batch_size=spec.train.batch_size or (entry.batch_size if entry else USUAL_BATCH),
        flips=bool(entry and entry.flips) if spec.train.flips is None else spec.train.flips,
    )
    return replace(spec, train=train)


def default_shape(backbone: str, *, brought: bool = False) -> CurriculumShape:
    """Of the curriculum "default" for a backbone; the usual one for a user's own."""
    entry = None if brought else backbones().get(backbone)
    return entry.shape if entry else USUAL_SHAPE


def settle_recipe(
    spec: RunSpec,
    backbone: BuildModel | None,
    loss: Loss | None,
    optimizer: BuildOptimizer | None,
) -> Recipe:
    """Take what the caller brought, and the rest by name.

    Raises:
        SpecError: A name is unknown.
    """
    own = {"backbone": backbone, "loss": loss, "optimizer": optimizer}
    return Recipe(
        build=backbone or _named_build(spec),
        loss=loss or resolve_loss(spec.train.loss),
        optimizer=optimizer or _named_optimizer(spec),
        own_build=backbone,
        brought=tuple(name for name, part in own.items() if part is not None),
    )


def _named_optimizer(spec: RunSpec) -> BuildOptimizer:
    return resolve_optimizer(spec.train.optimizer or USUAL_OPTIMIZER, spec.train.weight_decay)


def _named_build(spec: RunSpec) -> BuildModel:
    options: dict[str, Any] = dict(spec.backbone_options)
    return partial(build_backbone, spec.backbone, **options)


_MOST_CLASSES = 4096  # beyond it, the confusion matrix would fill the memory


def check_stages(
    recipe: Recipe, spec: RunSpec, stages: Sequence[PlannedStage], classes: int, workers: int
) -> tuple[str, ...]:
    """Rehearse a step of every stage's model, before anything expensive starts.

    Returns:
        Notes on what will not be the same on another number of workers.

    Raises:
        StRayError: A model cannot be built or returns the wrong shape, the loss or the optimizer
            does not do what it should; or batches are too small to be shared by the workers.
    """
    if classes < 2:
        raise SceneError(f"the labels hold {classes} class; a classifier needs 2 or more")
    if classes > _MOST_CLASSES:
        raise SceneError(
            f"the labels hold {classes} classes, of {_MOST_CLASSES} at most; are they class ids, "
            "rather than numbers of objects or measured values?"
        )
    notes: tuple[str, ...] = ()
    for stage in stages:
        if stage.batch_size < 2 * workers:
            raise SpecError(
                f"batch_size={stage.batch_size} is too small for {workers} workers; "
                f"use at least {2 * workers}"
            )
        k, side = stage.components, stage.patch_size
        with torch.random.fork_rng(devices=[]):
            model = recipe.build(components=k, patch_size=side, classes=classes)
            check_backbone(model, k, side, classes, name=spec.backbone)
            check_objective(
                model,
                recipe.loss,
                recipe.optimizer,
                components=k,
                patch_size=side,
                classes=classes,
                learning_rate=spec.train.peak_rate,
            )
        notes = local_randomness(model) if workers > 1 else ()
    listed = ", ".join(notes)
    return (f"random numbers of {listed} differ from worker to worker",) if notes else ()
