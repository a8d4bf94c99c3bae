"""Curricula: stages that see more and more components and a larger and larger neighbourhood.

Source of the method: SpectralTrain, arXiv 2511.16084. A run at full cost trains T0 epochs on all D
bands and B x B patches; a curriculum trains round(beta * T0) epochs, of which stage i has a share
and sees k_i components and B_i x B_i patches.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import tomli_w

from st_ray.errors import SpecError, unknown_name
from st_ray.spectral.files import replacing
from st_ray.spectral.patches import check_odd
from st_ray.storage import bare, read_text

Axis = Literal["components", "bands", "groups"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One stage of a curriculum.

    Attributes:
        components: Principal components seen; None = all bands.
        patch_size: Pixels on a side, odd.
        share: Weight of the stage in the budget of epochs; only ratios between stages matter.
        batch_size: Global batch over all workers; None = the run's.
    """

    components: int | None
    patch_size: int
    share: float = 1.0
    batch_size: int | None = None

    def __post_init__(self) -> None:
        if self.components is not None and self.components < 1:
            raise SpecError(f"stage components={self.components}: expected at least 1")
        check_odd(self.patch_size, "stage patch_size")
        if not 0.0 < self.share < float("inf"):
            raise SpecError(f"stage share={self.share}: expected a positive number")
        if self.batch_size is not None and self.batch_size < 2:
            raise SpecError(f"stage batch_size={self.batch_size}: expected at least 2")


@dataclass(frozen=True, kw_only=True, slots=True)
class Curriculum:
    """Stages in order; components and patch size never shrink, so weights can be carried.

    Attributes:
        name: Shown in reports.
        stages: At least one.
        beta: Share of T0 that the curriculum trains unless the run says otherwise, in (0, 1].
        axis: What the model's input channels are: "components" (principal components), "bands"
            (standardised raw bands; then every stage sees all of them) or "groups" (means of so
            many runs of neighbouring bands, standardised; then every stage sees equally many, for
            coarse groups are no part of fine ones).
        learning_rate: Peak, unless the run says otherwise; None leaves it to the backbone.
        whitening: Exponent, likewise.
    """

    name: str
    stages: tuple[Stage, ...]
    beta: float = 1.0
    axis: Axis = "components"
    learning_rate: float | None = None
    whitening: float | None = None

    def __post_init__(self) -> None:
        if self.learning_rate is not None and not 0.0 < self.learning_rate < float("inf"):
            raise SpecError(f"learning_rate={self.learning_rate}: expected a positive number")
        if self.whitening is not None and not 0.0 <= self.whitening <= 0.5:
            raise SpecError(f"whitening={self.whitening}: expected an exponent from 0 to 0.5")
        if not self.stages:
            raise SpecError(f"curriculum {self.name!r} has no stage; give at least one")
        check_beta(self.beta)
        if self.axis not in get_args(Axis):
            known = unknown_name("axis", self.axis, get_args(Axis))
            raise SpecError(f"curriculum {self.name!r}: {known}")
        if self.axis == "groups" and len({stage.components for stage in self.stages}) > 1:
            raise SpecError(
                "a curriculum over axis='groups' sees the same number of groups in every stage: "
                "set components alike"
            )
        if self.axis == "bands" and any(stage.components is not None for stage in self.stages):
            raise SpecError("a curriculum over axis='bands' sees all bands: leave components out")
        sizes = [stage.patch_size for stage in self.stages]
        depths = [stage.components or np.inf for stage in self.stages]
        if sizes != sorted(sizes) or depths != sorted(depths):
            raise SpecError(
                f"curriculum {self.name!r} shrinks from one stage to the next; "
                "components and patch_size may only grow"
            )

    @property
    def patch_size(self) -> int:
        """Largest patch, in pixels."""
        return self.stages[-1].patch_size


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedStage:
    """A stage with its numbers settled.

    Attributes:
        components: Input channels k_i.
        patch_size: B_i, pixels.
        epochs: Whole epochs e_i.
        batch_size: Global batch.
        cost: e_i (B_i / B)² (k_i / D), in full-spectrum epochs.
    """

    components: int
    patch_size: int
    epochs: int
    batch_size: int
    cost: float


def epoch_budget(beta: float, full_epochs: int) -> int:
    """Epochs that a share of T0 pays for, at least one."""
    return max(1, round(beta * full_epochs))


def plan(
    curriculum: Curriculum,
    *,
    bands: int,
    patch_size: int,
    full_epochs: int,
    beta: float | None,
    batch_size: int,
) -> tuple[PlannedStage, ...]:
    """Settle a curriculum for a scene and a budget.

    Epochs are shared out by largest remainder, at least one a stage, and add up to the
    `epoch_budget`.

    Args:
        curriculum: The stages.
        bands: D, the scene's usable bands.
        patch_size: B, the full patch that cost is measured against, pixels; a stage's larger
            patch takes its place.
        full_epochs: T0.
        beta: Share of T0; None for the curriculum's own.
        batch_size: Global batch of stages that set none.

    Raises:
        SpecError: A stage wants more components than bands, or the budget has fewer epochs than
            stages.
    """
    beta = check_beta(curriculum.beta if beta is None else beta)
    if full_epochs < 1:
        raise SpecError(f"epochs={full_epochs}: expected at least 1 (T0, the full run's epochs)")
    total = epoch_budget(beta, full_epochs)
    if total < len(curriculum.stages):
        raise SpecError(
            f"a budget of {total} epochs (beta {beta:g} of {full_epochs}) is too short for "
            f"{len(curriculum.stages)} stages; raise --epochs or --beta"
        )
    for stage in curriculum.stages:
        if (stage.components or 0) > bands:
            raise SpecError(
                f"curriculum {curriculum.name!r}: {stage.components} components exceed the "
                f"scene's {bands} usable bands; set components <= {bands}"
            )
    patch_size = max(patch_size, curriculum.patch_size)
    epochs = share_out(total, [stage.share for stage in curriculum.stages])
    return tuple(
        PlannedStage(
            components=stage.components or bands,
            patch_size=stage.patch_size,
            epochs=count,
            batch_size=stage.batch_size or batch_size,
            cost=count * (stage.patch_size / patch_size) ** 2 * (stage.components or bands) / bands,
        )
        for stage, count in zip(curriculum.stages, epochs, strict=True)
    )


def share_out(total: int, weights: list[float]) -> list[int]:
    """Split a whole number by weights, each part at least 1 (largest remainder)."""
    exact = np.asarray(weights) / sum(weights) * total
    parts = np.maximum(np.floor(exact), 1).astype(int)
    while parts.sum() > total:
        parts[np.argmax(np.where(parts > 1, parts - exact, -np.inf))] -= 1
    for index in np.argsort(-(exact - parts), kind="stable")[: total - int(parts.sum())]:
        parts[index] += 1
    return [int(part) for part in parts]


def check_beta(beta: float) -> float:
    """Beta, if it is in (0, 1].

    Raises:
        SpecError: It is not.
    """
    if not 0.0 < beta <= 1.0:
        raise SpecError(
            f"beta={beta:g}: expected a share of the full budget in (0, 1]; "
            "to train longer than T0, raise --epochs"
        )
    return beta


def load_curriculum(path: Path | str) -> Curriculum:
    """Read a curriculum file: name, beta, axis, and a [[stage]] table for each stage.

    Args:
        path: A path or URI.

    Raises:
        SpecError: The file is missing, not TOML, or has a wrong or unknown field.
    """
    try:
        table: dict[str, Any] = tomllib.loads(read_text(path))
        stages = tuple(Stage(**{"components": None, **stage}) for stage in table.pop("stage", ()))
        return Curriculum(**{"name": Path(bare(path)).stem, **table}, stages=stages)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SpecError(f"cannot read curriculum {path}: {error}") from None
    except (TypeError, AttributeError, ValueError) as error:
        raise SpecError(
            f"{path} is not a curriculum ({error}); expected name, beta, axis, learning_rate, "
            "whitening and [[stage]] tables with components, patch_size, share, batch_size"
        ) from None


def save_curriculum(curriculum: Curriculum, path: Path) -> None:
    """Write a file that `load_curriculum` reads back equal."""
    stages = [
        {
            key: value
            for key in ("components", "patch_size", "share", "batch_size")
            if (value := getattr(stage, key)) is not None
        }
        for stage in curriculum.stages
    ]
    names = ("name", "beta", "axis", "learning_rate", "whitening")
    given = {name: getattr(curriculum, name) for name in names}
    table = {name: value for name, value in given.items() if value is not None}
    with replacing(path) as file:
        tomli_w.dump({**table, "stage": stages}, file)
