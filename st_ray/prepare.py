"""All that comes before training: from an opened scene to what a training worker needs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from st_ray.config import RunSpec, flatten, spec_to_table
from st_ray.engine import Engine
from st_ray.events import Fanout
from st_ray.feed import ingest, kept_patches
from st_ray.learn.checkpoint import EpochRow
from st_ray.learn.curriculum import Curriculum, PlannedStage
from st_ray.learn.curriculum import plan as plan_stages
from st_ray.learn.job import Job
from st_ray.learn.presets import find_curriculum
from st_ray.output import RunFolder
from st_ray.recipe import Recipe, check_stages, default_shape
from st_ray.spectral.bands import BandVerdict
from st_ray.spectral.basis import SpectralBasis
from st_ray.spectral.ingest import StackPlan
from st_ray.spectral.patches import TileStack
from st_ray.spectral.scene import Scene
from st_ray.spectral.split import Split, settle_split, split_labels
from st_ray.spectral.tiles import Tile, plan_tiles
from st_ray.steps import (
    check_samples,
    digest,
    fit_basis,
    inspect_bands,
    labelled_tiles,
    prepare_job,
    some_spectra,
)


@dataclass(slots=True)
class Run:
    """A run under way: its spec, its listeners and its clock.

    Attributes:
        spec: What to run.
        listen: Told of phases and epochs.
        started: When, by `time.perf_counter`.
        seconds: Spent so far, by phase.
        before: Of an earlier process of the same run.
        notes: What the report must say.
        checked: The stages that were rehearsed.
    """

    spec: RunSpec
    listen: Fanout
    started: float = field(default_factory=time.perf_counter)
    seconds: dict[str, float] = field(default_factory=dict)
    before: float = 0.0
    notes: tuple[str, ...] = ()
    checked: tuple[object, ...] = ()

    def settle(
        self, recipe: Recipe, engine: Engine, scene: Scene, folder: RunFolder
    ) -> tuple[Curriculum, tuple[PlannedStage, ...]]:
        """The curriculum and its stages, for the bands and workers as they are known so far."""
        spec, bands = self.spec, scene.cube.shape[2]
        if folder.started:
            curriculum = folder.recorded_curriculum()
        else:
            shape = default_shape(spec.backbone, brought=recipe.own_build is not None)
            curriculum = find_curriculum(spec.curriculum, bands, spec.patch_size, shape)
            settle_split(spec.split, curriculum.patch_size, scene.labels.shape, scene.members)
        stages = plan_stages(
            curriculum,
            bands=bands,
            patch_size=spec.patch_size,
            full_epochs=spec.full_epochs,
            beta=spec.beta,
            batch_size=spec.train.batch,
        )
        facts = (stages, len(scene.classes), engine.workers)
        if facts != self.checked:
            self.notes = check_stages(recipe, spec, *facts)
            self.checked = facts
        return curriculum, stages

    def resume_clock(self, earlier: tuple[EpochRow, ...]) -> None:
        """Add the epochs that an earlier process of this run trained."""
        if earlier:
            self.before = sum(row.seconds for row in earlier)
            self.seconds["train"] += self.before
            self.notes += (
                f"resumed after epoch {len(earlier)}: the seconds count the epochs before it, "
                "but no other work of the process that was cut off",
            )

    @contextmanager
    def clock(self, phase: str) -> Iterator[None]:
        """Add the time spent inside to a phase."""
        self.listen({"kind": "phase", "name": phase})
        begun = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - begun
            self.seconds[phase] = self.seconds.get(phase, 0.0) + spent

    @contextmanager
    def starting(self, engine: Engine) -> Iterator[None]:
        """Run inside a started engine; its start counts as start-up."""
        with self.clock("startup"):
            engine.__enter__()
        try:
            yield
        finally:
            engine.__exit__(None, None, None)

    def totals(self) -> dict[str, float]:
        """Seconds by phase and in total, so far."""
        return {**self.seconds, "total": time.perf_counter() - self.started + self.before}


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What is known of a scene before a tile is projected.

    Attributes:
        scene: Without bad bands.
        verdict: Those bands.
        notes: What was found in bands and labels.
        tiles: The whole plan.
        split: Which pixels do what.
        curriculum: As named.
        stages: As planned.
        basis: As solved.
    """

    scene: Scene
    verdict: BandVerdict
    notes: tuple[str, ...]
    tiles: tuple[Tile, ...]
    split: Split
    curriculum: Curriculum
    stages: tuple[PlannedStage, ...]
    basis: SpectralBasis

    def plan(self, side: int) -> StackPlan:
        """How the tiles that hold labels are projected, with a margin for the largest patch."""
        return StackPlan(
            cube=self.scene.cube,
            basis=self.basis,
            tiles=labelled_tiles(self.tiles, self.scene.labels),
            side=side,
            halo=self.curriculum.patch_size // 2,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """All that comes before training.

    Attributes:
        known: Of the scene.
        job: What to train.
        data: The projected tiles, or how each worker makes its own.
    """

    known: Measured
    job: Job
    data: TileStack | StackPlan


def measure_scene(
    run: Run, recipe: Recipe, engine: Engine, folder: RunFolder, scene: Scene
) -> Measured:
    """Bands, split and spectral statistics of an opened scene.

    Raises:
        StRayError: Bad input, in one line.
    """
    spec = run.spec
    tiles = plan_tiles(scene.labels.shape, spec.tiles, scene.cube.extents)
    with run.clock("statistics"):
        scene, verdict, notes = inspect_bands(engine, scene, tiles, spec)
        curriculum, stages = run.settle(recipe, engine, scene, folder)
        split = split_labels(
            scene.labels, spec.split, spec.seed, curriculum.patch_size, scene.members
        )
        check_samples(split, engine.workers)
        basis = fit_basis(engine, scene, split, tiles, curriculum, stages, spec)
    return Measured(
        scene=scene,
        verdict=verdict,
        notes=notes,
        tiles=tiles,
        split=split,
        curriculum=curriculum,
        stages=stages,
        basis=basis,
    )


def made_of(known: Measured, spec: RunSpec) -> dict[str, Any]:
    """What decides the values of kept patches and which they are, by name; plain."""
    settings = flatten(spec_to_table(spec))
    names = ("scene.name", "scene.cube_key", "scene.nodata", "basis.pixels", "basis.whitening")
    axis, split = known.curriculum.axis, known.split
    # The first of many components are those of few; the first of many groups are not.
    rank = None if axis == "components" else known.basis.rank
    return {
        **{name: settings.get(name) for name in (*names, "basis.precision")},
        "axis": axis,
        "rank": rank,
        "values": digest(some_spectra(known.scene, split)),
        "labels": split.labels_sha256,
        "split": digest(split.parts),
    }


def prepare(run: Run, recipe: Recipe, engine: Engine, folder: RunFolder, scene: Scene) -> Prepared:
    """From an opened scene to what a training worker needs.

    Raises:
        StRayError: Bad input, in one line.
    """
    spec = run.spec
    known = measure_scene(run, recipe, engine, folder, scene)
    with run.clock("ingest"):
        plan = known.plan(spec.tiles.side)
        job = prepare_job(
            recipe,
            spec,
            known.scene,
            known.split,
            known.curriculum,
            known.stages,
            plan.tiles,
            folder,
        )
        if spec.patches is None:
            job, data = ingest(engine, plan, job, spec)
        else:
            job, data = kept_patches(engine, job, made_of(known, spec), spec)
    return Prepared(known=known, job=job, data=data)
