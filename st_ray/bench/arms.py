"""The arms of a training benchmark: ways to spend compute on the same scene, split and seed.

Every arm is an ordinary run: a curriculum, a number of epochs and a few settings, which
`st-ray train --config` repeats.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from st_ray.errors import SpecError, unknown_name
from st_ray.learn.curriculum import (
    Curriculum,
    PlannedStage,
    Stage,
    default,
    full,
    odd,
    paper,
    pca,
    plan,
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
        pace: Seconds of one training sample at (components, patch_size).
    """

    bands: int
    patch_size: int
    full_epochs: int
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
        only: Backbones it is meant for; empty: all.
    """

    name: str
    what: str
    fit: Callable[[Ground], ArmPlan]
    only: tuple[str, ...] = ()


def budget(ground: Ground) -> int:
    """Epochs of the arm "default"."""
    return sum(stage.epochs for stage in _stages(ground, default(ground.bands, ground.patch_size)))


def predicted_seconds(ground: Ground) -> float:
    """Training time of the arm "default", for one sample an epoch, by the measured pace."""
    stages = _stages(ground, default(ground.bands, ground.patch_size))
    return sum(s.epochs * ground.pace(s.components, s.patch_size) for s in stages)


def _stages(ground: Ground, curriculum: Curriculum) -> tuple[PlannedStage, ...]:
    return plan(
        curriculum,
        bands=ground.bands,
        patch_size=ground.patch_size,
        full_epochs=ground.full_epochs,
        beta=None,
        batch_size=2,
    )


def _preset(make: Callable[[int, int], Curriculum], ground: Ground) -> ArmPlan:
    curriculum = make(ground.bands, ground.patch_size)
    return ArmPlan(curriculum=curriculum, epochs=ground.full_epochs, beta=curriculum.beta)


def _full(ground: Ground) -> ArmPlan:
    return _preset(full, ground)


def _full_short(ground: Ground) -> ArmPlan:
    return replace(_preset(full, ground), epochs=budget(ground))


def _fixed(
    ground: Ground,
    name: str,
    components: int | None,
    epochs: int,
    settings: Mapping[str, Any] | None = None,
) -> ArmPlan:
    if components is not None:
        components = min(components, ground.bands)
    stage = Stage(components=components, patch_size=ground.patch_size)
    return ArmPlan(
        curriculum=Curriculum(name=name, stages=(stage,)), epochs=epochs, settings=settings or {}
    )


def _equal_time(components: int, name: str) -> Callable[[Ground], ArmPlan]:
    def fit(ground: Ground) -> ArmPlan:
        k = min(components, ground.bands)
        epoch = ground.pace(k, ground.patch_size)
        return _fixed(ground, name, k, max(1, round(predicted_seconds(ground) / epoch)))

    return fit


def _growing(name: str, *, components: tuple[int, ...], sizes: tuple[float, ...]) -> Any:
    """Shares, budget and settings of "default", but other stages."""

    def fit(ground: Ground) -> ArmPlan:
        known = default(ground.bands, ground.patch_size)
        shares = [stage.share for stage in known.stages]
        if len(shares) != len(components):
            shares = [1.0] * len(components)
        stages = tuple(
            Stage(
                components=min(k, ground.bands),
                patch_size=odd(ground.patch_size * size),
                share=share,
            )
            for k, size, share in zip(components, sizes, shares, strict=True)
        )
        return ArmPlan(curriculum=Curriculum(name=name, stages=stages), epochs=budget(ground))

    return fit


def _peer(ground: Ground) -> ArmPlan:
    """Whole-image whitened PCA-30, 13x13, 100 epochs of Adam at 1e-3, as the script has it."""
    stage = Stage(components=min(30, ground.bands), patch_size=13)
    return ArmPlan(
        curriculum=Curriculum(name="ssftt_script", stages=(stage,)),
        epochs=100,
        settings={
            "basis.pixels": "all",
            "basis.whitening": 0.5,
            "train.optimizer": "adam",
            "train.weight_decay": 0.0,
            "train.warmup": 0.0,
            "train.schedule": "constant",
        },
        rate=1e-3,
    )


_ALL = (
    Arm("full", "all standardised bands, full patch, T0", _full),
    Arm("default", "the curriculum that `st-ray train` uses", lambda g: _preset(default, g)),
    Arm("paper", "k and B grow as in SpectralTrain, half of T0", lambda g: _preset(paper, g)),
    Arm("pca30", "30 components, full patch, T0: what most people do", lambda g: _preset(pca, g)),
    Arm("full_short", "as full, in the epochs of default", _full_short),
    Arm(
        "white_short",
        "all D components whitened, full patch, epochs of default",
        lambda g: _fixed(g, "white_short", None, budget(g), {"basis.whitening": 0.5}),
    ),
    Arm(
        "k60",
        "60 components, full patch, T0",
        lambda g: _fixed(g, "k60", 60, g.full_epochs),
    ),
    Arm(
        "k60_raw",
        "as k60, without whitening",
        lambda g: _fixed(g, "k60_raw", 60, g.full_epochs, {"basis.whitening": 0.0}),
    ),
    Arm(
        "k60_short",
        "60 components, full patch, epochs of default",
        lambda g: _fixed(g, "k60_short", 60, budget(g)),
    ),
    Arm("k30_time", "30 components, full patch, time of default", _equal_time(30, "k30_time")),
    Arm("k60_time", "60 components, full patch, time of default", _equal_time(60, "k60_time")),
    Arm(
        "b_growth",
        "60 components, patch grows, epochs of default",
        _growing("b_growth", components=(60, 60, 60), sizes=(0.45, 0.7, 1.0)),
    ),
    Arm(
        "k_growth",
        "components grow from 30 to 60, full patch, epochs of default",
        _growing("k_growth", components=(30, 45, 60), sizes=(1.0, 1.0, 1.0)),
    ),
    Arm(
        "ssftt_script",
        "the SSFTT authors' script: whole-image whitened PCA-30, 13x13, 100 epochs, Adam 1e-3",
        _peer,
        only=("ssftt",),
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
