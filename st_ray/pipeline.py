"""One run, from scene files to a report: one call per arrow of the flow.

scene -> bands -> split -> moments -> basis -> tile stack -> stages -> model, map, report
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from st_ray.compose import RunResult, compose_report
from st_ray.config import RunSpec, anchor
from st_ray.engine import Engine, open_engine
from st_ray.events import Fanout, TensorBoard
from st_ray.learn.checkpoint import EpochRow
from st_ray.learn.curriculum import Curriculum, PlannedStage, find_curriculum, plan
from st_ray.learn.fit import BuildModel, Job, Listen
from st_ray.learn.objectives import BuildOptimizer, Loss
from st_ray.learn.outcome import Outcome
from st_ray.output import RunFolder, find_folder
from st_ray.recipe import Recipe, check_stages, settle_recipe
from st_ray.report import Report, false_colour, write_report
from st_ray.spectral.patches import TileStack
from st_ray.spectral.scene import Scene, open_scene
from st_ray.spectral.split import split_labels
from st_ray.spectral.tiles import plan_tiles
from st_ray.steps import (
    bundle_model,
    check_samples,
    epochs_done,
    fit_basis,
    inspect_bands,
    labelled_tiles,
    predict_scene,
    prepare_job,
    project_tiles,
)


def run_curriculum(
    spec: RunSpec,
    *,
    backbone: BuildModel | None = None,
    loss: Loss | None = None,
    optimizer: BuildOptimizer | None = None,
    resume: bool = False,
    listen: Listen | None = None,
    verbose: bool = False,
) -> Report:
    """Train a curriculum; write its report, map and model to the output directory.

    Args:
        spec: What to run.
        backbone: A builder called with components=, patch_size=, classes=, in place of
            `spec.backbone` (which then only names it).
        loss: (logits (M, C), targets (M,)) -> scalar loss of the global batch, in place of
            `spec.train.loss`.
        optimizer: (parameters, learning rate) -> optimizer, in place of `spec.train.optimizer`.
        resume: Go on with the run in `spec.out`.
        listen: Called with a dict for every phase and epoch (see `st_ray.events`).
        verbose: Let Ray talk.

    Returns:
        The report, as in report.json.

    Raises:
        StRayError: Bad input, in one line.
    """
    spec = anchor(spec)
    run = _Run(spec, Fanout(listen))
    with find_folder(spec, resume=resume) as folder, closing(run.listen):
        recipe = settle_recipe(spec, backbone, loss, optimizer)
        if folder.report.exists():
            return Report.load(folder.report)
        scene = open_scene(spec.scene)
        engine = open_engine(spec.cluster, verbose=verbose)
        run.settle(recipe, engine, scene, folder)  # wrong stages end before Ray starts
        with run.starting(engine):
            return _run(run, recipe, engine, folder, scene)


def _run(
    run: _Run,
    recipe: Recipe,
    engine: Engine,
    folder: RunFolder,
    scene: Scene,
) -> Report:
    spec, side = run.spec, run.spec.tiles.side
    tiles = plan_tiles(scene.labels.shape, spec.tiles)
    with run.clock("statistics"):
        scene, verdict, notes = inspect_bands(engine, scene, tiles, spec)
        curriculum, stages = run.settle(recipe, engine, scene, folder)
        split = split_labels(scene.labels, spec.split, spec.seed, curriculum.patch_size)
        check_samples(split, engine.workers)
        basis = fit_basis(engine, scene, split, tiles, curriculum, stages, spec)
    with run.clock("ingest"):
        held = labelled_tiles(tiles, scene.labels)
        job = prepare_job(recipe, spec, scene, split, curriculum, stages, held, folder)
        stack = project_tiles(engine, scene, basis, held, job.halo, side)
    folder.begin(spec, curriculum)
    split.save(folder.split)
    outcome = _train(run, engine, job, stack, folder)
    bundle_model(spec, scene, basis, job, curriculum.name, folder)
    class_map = None
    if spec.map:
        with run.clock("map"):
            class_map = predict_scene(engine, scene, folder, tiles, side, recipe.own_build)
    result = RunResult(
        scene=scene,
        verdict=verdict,
        notes=(*notes, *run.notes),
        split=split,
        curriculum=curriculum,
        stages=stages,
        basis=basis,
        outcome=outcome,
        seconds=run.totals(),
        workers=engine.workers,
        device=engine.device,
        folder=folder.path,
        brought=recipe.brought,
    )
    report = compose_report(spec, result)
    write_report(
        report,
        class_map=class_map,
        labels=scene.labels,
        parts=split.parts,
        false_colour=_picture(scene),
        out=folder.path,
    )
    return report


def _picture(scene: Scene) -> NDArray[np.uint8]:
    everything = slice(None)
    return false_colour(scene.cube.select(scene.false_colour).read(everything, everything))


def _train(run: _Run, engine: Engine, job: Job, stack: TileStack, folder: RunFolder) -> Outcome:
    """Train, and tell start-up, training and the last scoring apart."""
    finished = Outcome.exists(job.folder, job.fingerprint)
    done = job.epochs if finished else epochs_done(job)
    run.listen({"kind": "plan", "stages": job.stages})
    run.listen.add(TensorBoard(folder.tensorboard))
    begun = time.time()
    with run.clock("train"):
        if not finished:
            engine.train(job, stack, run.listen)
    outcome = Outcome.load(job.folder)
    if run.listen.training_started is not None:
        waited = max(0.0, run.listen.training_started - begun)
        run.seconds["startup"] += waited
        run.seconds["train"] -= waited + outcome.evaluate_seconds
        run.seconds["evaluate"] = outcome.evaluate_seconds
    run.resume_clock(outcome.history[:done])
    return outcome


@dataclass(slots=True)
class _Run:
    """A run under way: its spec, its listeners and its clock."""

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
            curriculum = find_curriculum(spec.curriculum, bands, spec.patch_size)
        stages = plan(
            curriculum,
            bands=bands,
            patch_size=spec.patch_size,
            full_epochs=spec.epochs,
            beta=spec.beta,
            batch_size=spec.train.batch_size,
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
