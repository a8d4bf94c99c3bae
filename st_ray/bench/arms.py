"""The arms of a training benchmark: ways to spend compute on the same scene, split and seed.

Every arm is an ordinary run: a curriculum, a number of epochs and a few settings, which
`st-ray train --config` repeats.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from st_ray.errors import SpecError, unknown_name
from st_ray.learn.curriculum import Curriculum, PlannedStage, Stage, epoch_budget, plan
from st_ray.learn.presets import (
    USUAL_BATCH,
    USUAL_OPTIMIZER,
    CurriculumShape,
    default,
    full,
    paper,
    pca,
)

# Seconds of one training sample of (components, patch_size), measured.
Pace = Callable[[int, int], float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ground:
    """What an arm is fitted to.

    Attributes:
        bands: D, of the scene.
        patch_size: B, the full patch.
        full_epochs: T0, of the arm "full".
        shape: Of "default" for the backbone.
        pace: Seconds of one training sample at (components, patch_size).
    """

    bands: int
    patch_size: int
    full_epochs: int
    shape: CurriculumShape
    pace: Pace


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmPlan:
    """An arm fitted to its ground.

    Attributes:
        curriculum: The stages.
        epochs: T0 of the run; with `beta`, what is trained.
        beta: Share of it that is trained.
        settings: Further settings of the run by dotted name, such as "basis.whitening".
        rate: A fixed learning rate; None searches it.
    """

    curriculum: Curriculum
    epochs: int
    beta: float = 1.0
    settings: Mapping[str, Any] = field(default_factory=dict)
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm.

    Attributes:
        name: What the user types.
        what: One line for tables.
        fit: The plan on a ground.
        only: The backbone it is meant for; None: all. Such an arm has a patch of its own, which the
            guard band of disjoint splits would not fit: it does not run there.
    """

    name: str
    what: str
    fit: Callable[[Ground], ArmPlan]
    only: str | None = None

    def suits(self, backbone: str, split: str) -> bool:
        """Whether it is measured there.

        (A file may hold a split with a guard band; the benchmark refuses such an arm there.)
        """
        return self.only is None or (self.only == backbone and split != "disjoint")


# What the usual loop does without: an arm with these is measured as others train.
PLAIN: dict[str, Any] = {
    "train.class_floor": 0,
    "train.schedule": "cosine",
    "train.optimizer": USUAL_OPTIMIZER,
    "train.batch_size": USUAL_BATCH,
    "train.flips": False,
}


def budget(ground: Ground) -> int:
    """Epochs of the arm "default"."""
    return sum(stage.epochs for stage in _default_stages(ground))


def predicted_seconds(ground: Ground) -> float:
    """Training time of the arm "default", for one sample an epoch, by the measured pace."""
    stages = _default_stages(ground)
    return sum(stage.epochs * ground.pace(stage.components, stage.patch_size) for stage in stages)


def plan_arm(fitted: ArmPlan, ground: Ground) -> tuple[PlannedStage, ...]:
    """The stages of a fitted arm.

    Raises:
        SpecError: The budget has fewer epochs than stages.
    """
    return plan(
        fitted.curriculum,
        bands=ground.bands,
        patch_size=ground.patch_size,
        full_epochs=fitted.epochs,
        beta=fitted.beta,
        batch_size=2,
    )


def _default_stages(ground: Ground) -> tuple[PlannedStage, ...]:
    return plan_arm(_default(ground), ground)


def _own_share(ground: Ground, curriculum: Curriculum, settings: Mapping[str, Any]) -> ArmPlan:
    """A curriculum for its own share of T0, or for an epoch a stage where that is too short."""
    epochs, stages = ground.full_epochs, len(curriculum.stages)
    enough = epoch_budget(curriculum.beta, epochs) >= stages
    return ArmPlan(
        curriculum=curriculum,
        epochs=epochs,
        beta=curriculum.beta if enough else min(1.0, stages / epochs),
        settings=settings,
    )


def _preset(
    make: Callable[[int, int], Curriculum], settings: Mapping[str, Any]
) -> Callable[[Ground], ArmPlan]:
    return lambda ground: _own_share(ground, make(ground.bands, ground.patch_size), settings)


def _default(ground: Ground) -> ArmPlan:
    return _own_share(ground, default(ground.bands, ground.patch_size, ground.shape), {})


def _full_short(ground: Ground) -> ArmPlan:
    return replace(_preset(full, PLAIN)(ground), epochs=budget(ground))


def _fixed(
    name: str,
    components: int | None,
    epochs: Callable[[Ground], int],
    settings: Mapping[str, Any],
) -> Callable[[Ground], ArmPlan]:
    """One stage of a number of components (None: all) on the full patch."""

    def fit(ground: Ground) -> ArmPlan:
        k = None if components is None else min(components, ground.bands)
        stage = Stage(components=k, patch_size=ground.patch_size)
        curriculum = Curriculum(name=name, stages=(stage,))
        return ArmPlan(curriculum=curriculum, epochs=epochs(ground), settings=settings)

    return fit


def _long(ground: Ground) -> int:
    return ground.full_epochs


def _as_long(components: int) -> Callable[[Ground], int]:
    """Epochs that take the time of "default"."""

    def epochs(ground: Ground) -> int:
        epoch = ground.pace(min(components, ground.bands), ground.patch_size)
        return max(1, round(predicted_seconds(ground) / epoch))

    return epochs


def _k_growth(ground: Ground) -> ArmPlan:
    """Stages of equal shares in the epochs of "default"."""
    stages = tuple(
        Stage(components=min(k, ground.bands), patch_size=ground.patch_size) for k in (30, 45, 60)
    )
    return ArmPlan(curriculum=Curriculum(name="k_growth", stages=stages), epochs=budget(ground))


def _b_growth(ground: Ground) -> ArmPlan:
    """The stages of "default" without what else it does."""
    known = _default(ground)
    curriculum = replace(known.curriculum, name="b_growth")
    return replace(known, curriculum=curriculum, settings=PLAIN)


def _peer(ground: Ground) -> ArmPlan:
    """Their network, whole-image whitened PCA-30, 13x13, 100 epochs of Adam at 1e-3."""
    stage = Stage(components=min(30, ground.bands), patch_size=13)
    return ArmPlan(
        curriculum=Curriculum(name="ssftt_script", stages=(stage,)),
        epochs=100,
        settings={
            **PLAIN,
            "backbone": "st_ray.bench.peer:published_ssftt",
            "backbone_options": {},
            "basis.pixels": "all",
            "basis.whitening": 0.5,
            "train.optimizer": "adam",
            "train.weight_decay": 0.0,
            "train.warmup": 0.0,
            "train.schedule": "constant",
        },
        rate=1e-3,
    )


_UNWHITENED = {**PLAIN, "basis.whitening": 0.0}

_ALL = (
    Arm("full", "all standardised bands, full patch, T0", _preset(full, PLAIN)),
    Arm("default", "what `st-ray train` does, but for the learning rate", _default),
    Arm("paper", "k and B grow as in SpectralTrain, half of T0", _preset(paper, PLAIN)),
    Arm("pca30", "30 components, full patch, T0: what most people do", _preset(pca, PLAIN)),
    Arm("full_short", "as full, in the epochs of default", _full_short),
    Arm("full_recipe", "what full sees, for as long; trained as default", _preset(full, {})),
    Arm(
        "white_short",
        "all D components whitened, full patch, epochs of default; else as default",
        _fixed("white_short", None, budget, {"basis.whitening": 0.5}),
    ),
    Arm(
        "k60_raw",
        "60 unwhitened components, full patch, T0",
        _fixed("k60_raw", 60, _long, _UNWHITENED),
    ),
    Arm("k60", "60 components, full patch, T0", _fixed("k60", 60, _long, PLAIN)),
    Arm(
        "k60_short",
        "60 components, full patch, epochs of default",
        _fixed("k60_short", 60, budget, PLAIN),
    ),
    Arm("b_growth", "the stages of default; else as full", _b_growth),
    Arm(
        "k_growth",
        "30, 45, 60 components, full patch, epochs of default; else as default",
        _k_growth,
    ),
    Arm(
        "k30_time",
        "30 components, full patch, time of default; else as default",
        _fixed("k30_time", 30, _as_long(30), {}),
    ),
    Arm(
        "k60_time",
        "60 components, full patch, time of default; else as default",
        _fixed("k60_time", 60, _as_long(60), {}),
    ),
    Arm(
        "ssftt_script",
        "the SSFTT authors' script: their network, whole-image whitened PCA-30, 13x13, 100 epochs",
        _peer,
        only="ssftt",
    ),
)
ARMS: dict[str, Arm] = {arm.name: arm for arm in _ALL}


def find_arms(names: tuple[str, ...]) -> tuple[Arm, ...]:
    """Arms by name, "full" first: the others are measured against it.

    Raises:
        SpecError: There is no such arm.
    """
    for name in names:
        if name not in ARMS:
            raise SpecError(unknown_name("arm", name, ARMS))
    return tuple(arm for arm in _ALL if arm.name == "full" or arm.name in names)
