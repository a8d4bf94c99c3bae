"""Turn the results of a run into its report."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from st_ray.config import CURRICULUM_FILE, RUN_FILE, RunSpec
from st_ray.learn.curriculum import Curriculum, PlannedStage
from st_ray.learn.metrics import Confusion
from st_ray.learn.outcome import Outcome
from st_ray.report import (
    Budget,
    ClassParts,
    ClassPixels,
    ClassScores,
    CurriculumSummary,
    DroppedBand,
    EpochSummary,
    PartCounts,
    Report,
    SceneScores,
    SceneSummary,
    Scores,
    Seconds,
    SplitSummary,
    StageSummary,
)
from st_ray.spectral.bands import BandVerdict
from st_ray.spectral.basis import SpectralBasis
from st_ray.spectral.parts import TEST
from st_ray.spectral.scene import Scene
from st_ray.spectral.sheet import lay_sheet
from st_ray.spectral.split import DRAWN, Split, footprint_overlap, leakage, settle_kind
from st_ray.storage import bare, extend, join

_PACKAGES = ("st_ray", "torch", "ray", "numpy", "scikit-learn", "scipy", "pyarrow")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunResult:
    """What a run found and made, before it is put in words.

    Attributes:
        scene: The scene as it was used.
        verdict: Bad bands.
        notes: What was found in bands and labels.
        split: Which pixels did what.
        curriculum: As named.
        stages: As planned.
        basis: As solved.
        outcome: Scores and history.
        seconds: By phase.
        workers: 0 = no Ray.
        device: "cpu" or "cuda".
        place: The output directory, a path or URI.
        brought: Which of "backbone", "loss" and "optimizer" the caller brought.
        class_map: (H, W) predicted class ids, or None.
    """

    scene: Scene
    verdict: BandVerdict
    notes: tuple[str, ...]
    split: Split
    curriculum: Curriculum
    stages: tuple[PlannedStage, ...]
    basis: SpectralBasis
    outcome: Outcome
    seconds: Mapping[str, float]
    workers: int
    device: str
    place: str
    brought: tuple[str, ...] = ()
    class_map: NDArray[np.int32] | None = None


def compose_report(spec: RunSpec, result: RunResult) -> Report:
    """The report of a finished run."""
    test = result.outcome.test
    return Report(
        created=datetime.now(UTC).astimezone().isoformat(timespec="seconds"),
        scene=_scene(result),
        split=_split(spec, result),
        backbone=spec.backbone,
        parameters=result.outcome.parameters,
        curriculum=CurriculumSummary(
            name=result.curriculum.name,
            axis=result.curriculum.axis,
            whitening=result.basis.whitening,
            basis_pixels=spec.basis.pixels,
            rank=result.basis.rank,
        ),
        budget=_budget(spec, result),
        seed=spec.seed,
        workers=result.workers,
        device=result.device,
        overall_accuracy=test.overall_accuracy,
        average_accuracy=test.average_accuracy,
        kappa=test.kappa,
        validation=_scores(result.outcome.validation),
        per_class=_per_class(result.scene, test),
        confusion=tuple(tuple(int(count) for count in row) for row in test.counts_CC),
        seconds=_seconds(result.seconds),
        stages=tuple(_stage(result, index) for index in range(len(result.stages))),
        history=_history(result.outcome),
        versions=installed_versions(),
        command=repeat_command(spec, result.place, result.brought),
        warnings=result.notes,
        by_scene=_by_scene(result),
    )


def _scene(result: RunResult) -> SceneSummary:
    scene = result.scene
    return SceneSummary(
        name=scene.name,
        path=scene.cube.path,
        shape=(*lay_sheet(scene.cube.extents).shape, scene.cube.shape[2]),
        bands_dropped=tuple(
            DroppedBand(band=band, reason=reason) for band, reason in result.verdict.bad.items()
        ),
        classes=tuple(
            ClassPixels(
                id=index, name=scene.class_names[index], pixels=int((scene.labels == index).sum())
            )
            for index in scene.classes
        ),
        scenes=len(scene.cube.extents),
    )


def _by_scene(result: RunResult) -> SceneScores | None:
    """Test scenes with one label for all their pixels, by what most of those are taken for."""
    if result.class_map is None:
        return None
    scored = right = 0
    for member in result.scene.members:
        window = member.extent.rows, slice(0, member.extent.width)
        test = result.split.parts[window] == TEST
        if member.whole and test.any():
            votes = np.bincount(result.class_map[window][test])
            votes[0] = 0  # pixels that were not measured
            scored += 1
            right += int(votes.argmax() == result.scene.labels[window][test][0])
    return SceneScores(scored=scored, right=right, accuracy=right / scored) if scored else None


def _split(spec: RunSpec, result: RunResult) -> SplitSummary:
    split, scene = result.split, result.scene
    patch_size = result.curriculum.patch_size
    counts = tuple(
        ClassParts(id=index, name=scene.class_names[index], **parts)
        for index, parts in split.counts(scene.labels).items()
    )
    totals = {
        part: sum(getattr(row, part) for row in counts)
        for part in ("train", "validation", "test", "unused")
    }
    kind = settle_kind(spec.split.kind, scene.members)
    drawn = kind in DRAWN and not (scene.members and all(m.part for m in scene.members))
    return SplitSummary(
        kind=kind,
        seed=spec.seed if drawn else None,
        train_fraction=spec.split.train_fraction if drawn else None,
        validation_fraction=spec.split.validation_fraction if drawn else None,
        guard=_guard(spec, patch_size),
        patch_size=patch_size,
        counts=counts,
        totals=PartCounts(**totals),
        leakage=leakage(split, patch_size),
        footprint_overlap=footprint_overlap(split, patch_size),
        notes=split.notes,
    )


def _guard(spec: RunSpec, patch_size: int) -> int | None:
    if spec.split.kind != "disjoint":
        return None
    return patch_size // 2 if spec.split.guard is None else spec.split.guard


def _budget(spec: RunSpec, result: RunResult) -> Budget:
    epochs = sum(stage.epochs for stage in result.stages)
    return Budget(
        full_epochs=spec.full_epochs,
        beta=result.curriculum.beta if spec.beta is None else spec.beta,
        epochs=epochs,
        cost=sum(stage.cost for stage in result.stages),
        full_cost=float(spec.full_epochs),
    )


def _scores(confusion: Confusion) -> Scores:
    return Scores(
        overall_accuracy=confusion.overall_accuracy,
        average_accuracy=confusion.average_accuracy,
        kappa=confusion.kappa,
    )


def _per_class(scene: Scene, confusion: Confusion) -> tuple[ClassScores, ...]:
    columns = (
        confusion.counts_CC.sum(axis=1),
        confusion.recall_C,
        confusion.precision_C,
        confusion.f1_C,
    )
    return tuple(
        ClassScores(
            id=index,
            name=scene.class_names[index],
            pixels=int(pixels),
            accuracy=float(accuracy),
            precision=float(precision),
            f1=float(f1),
        )
        for index, pixels, accuracy, precision, f1 in zip(scene.classes, *columns, strict=True)
    )


def _seconds(spent: Mapping[str, float]) -> Seconds:
    phases = ("total", "startup", "statistics", "ingest", "train", "evaluate", "map")
    return Seconds(**{phase: float(spent.get(phase, 0.0)) for phase in phases})


def _stage(result: RunResult, index: int) -> StageSummary:
    stage = result.stages[index]
    rows = [row for row in result.outcome.history if row.stage == index]
    seconds = sum(row.seconds for row in rows)
    return StageSummary(
        components=stage.components,
        patch_size=stage.patch_size,
        epochs=stage.epochs,
        batch_size=stage.batch_size,
        seconds=seconds,
        samples_per_second=sum(row.samples for row in rows) / seconds,
        loss=rows[-1].loss,
        validation_accuracy=rows[-1].validation_accuracy,
        cost=stage.cost,
    )


def _history(outcome: Outcome) -> tuple[EpochSummary, ...]:
    names = EpochSummary.__dataclass_fields__
    return tuple(
        EpochSummary(**{name: getattr(row, name) for name in names}) for row in outcome.history
    )


def installed_versions() -> dict[str, str | None]:
    """Versions of what decides a result; None for a package that is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def repeat_command(spec: RunSpec, place: Path | str, brought: tuple[str, ...] = ()) -> str:
    """What repeats the run at `place` beside it: a command line, or Python if parts were brought.

    The curriculum of a file is taken from there: the file may have changed since.
    """
    run_file, again = join(place, RUN_FILE), extend(place, "-again")
    own = join(place, CURRICULUM_FILE) if bare(spec.curriculum).endswith(".toml") else None
    if not brought:
        words = ["st-ray", "train", "--config", run_file, "--out", again]
        return shlex.join(words + (["--curriculum", own] if own else []))
    changes = [f"out={again}"] + ([f"curriculum={own}"] if own else [])
    parts = "".join(f", {name}=..." for name in brought)
    return (
        "from st_ray import run_curriculum; "
        "from st_ray.config import load_spec, override, spec_from_table; "
        f"table = override(load_spec({run_file!r}), {changes!r}); "
        f"run_curriculum(spec_from_table(table){parts})  # with your own {' and '.join(brought)}"
    )
