"""One run, from scene files to a report: one call per arrow of the flow.

scene -> bands -> split -> moments -> basis -> tile stack -> stages -> model, map, report
"""

from __future__ import annotations

import time
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from st_ray.compose import RunResult, compose_report
from st_ray.config import RunSpec, anchor
from st_ray.engine import Engine, open_engine
from st_ray.events import Fanout, TensorBoard
from st_ray.learn.fit import Listen
from st_ray.learn.job import BuildModel, Job
from st_ray.learn.mirror import bring
from st_ray.learn.objectives import BuildOptimizer, Loss
from st_ray.learn.outcome import Outcome
from st_ray.output import REPORT_FILE, RunFolder, find_folder
from st_ray.prepare import Run, prepare
from st_ray.recipe import Recipe, fill_in, settle_recipe
from st_ray.report import Report, false_colour, thinning, write_report
from st_ray.spectral.ingest import StackPlan
from st_ray.spectral.patches import TileStack
from st_ray.spectral.scene import Scene, open_scene
from st_ray.spectral.sheet import Sheet, lay_sheet
from st_ray.spectral.splitfile import save_split
from st_ray.steps import bundle_model, epochs_done, predict_scene
from st_ray.storage import join


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
    spec = fill_in(anchor(spec), brought=backbone is not None, own_optimizer=optimizer is not None)
    run = Run(spec, Fanout(listen))
    with find_folder(spec, resume=resume) as folder, closing(run.listen):
        recipe = settle_recipe(spec, backbone, loss, optimizer)
        if folder.finished:
            return Report.load(join(folder.place, REPORT_FILE))
        scene = open_scene(spec.scene, spec.tiles.side)
        for note in scene.notes:  # at once: an assumption may be wrong
            run.listen({"kind": "note", "message": note})
        engine = open_engine(spec.cluster, verbose=verbose)
        run.settle(recipe, engine, scene, folder)  # wrong stages end before Ray starts
        with run.starting(engine):
            return _run(run, recipe, engine, folder, scene)


def _run(
    run: Run,
    recipe: Recipe,
    engine: Engine,
    folder: RunFolder,
    scene: Scene,
) -> Report:
    spec = run.spec
    made = prepare(run, recipe, engine, folder, scene)
    known = made.known
    folder.begin(spec, known.curriculum)
    save_split(known.split, folder.split, known.scene.labels, known.scene.name)
    outcome = _train(run, engine, made.job, made.data, folder)
    bundle_model(spec, known.scene, known.basis, made.job, known.curriculum.name, folder)
    class_map = None
    if spec.map:
        with run.clock("map"):
            class_map = predict_scene(
                engine, known.scene, folder, known.tiles, spec.tiles.side, recipe.build
            )
    result = RunResult(
        scene=known.scene,
        verdict=known.verdict,
        notes=(*known.notes, *run.notes),
        split=known.split,
        curriculum=known.curriculum,
        stages=made.job.stages,
        basis=known.basis,
        outcome=outcome,
        seconds=run.totals(),
        workers=engine.workers,
        device=engine.device,
        place=folder.place,
        brought=recipe.brought,
        class_map=class_map,
    )
    report = compose_report(spec, result)
    sheet = lay_sheet(known.scene.cube.extents)
    write_report(
        report,
        class_map=None if class_map is None else sheet.lay(class_map),
        labels=sheet.lay(known.scene.labels),
        parts=sheet.lay(known.split.parts),
        false_colour=_picture(known.scene, sheet),
        out=folder.path,
    )
    return report


def _picture(scene: Scene, sheet: Sheet) -> NDArray[np.uint8]:
    bands = scene.cube.select(scene.false_colour)
    return false_colour(sheet.picture(bands, thinning(sheet.shape)))


def _train(
    run: Run, engine: Engine, job: Job, data: TileStack | StackPlan, folder: RunFolder
) -> Outcome:
    """Train, and tell start-up, training and the last scoring apart."""
    bring(job)
    finished = Outcome.exists(job.folder, job.fingerprint)
    done = job.epochs if finished else epochs_done(job)
    run.listen({"kind": "plan", "stages": job.stages})
    run.listen.add(TensorBoard(folder.tensorboard))
    begun = time.time()
    with run.clock("train"):
        if not finished:
            engine.train(job, data, run.listen)
    outcome = Outcome.load(job.folder)
    if run.listen.training_started is not None:
        waited = max(0.0, run.listen.training_started - begun)
        run.seconds["startup"] += waited
        run.seconds["train"] -= waited + outcome.evaluate_seconds
        run.seconds["evaluate"] = outcome.evaluate_seconds
    run.resume_clock(outcome.history[:done])
    counts = run.listen.workers
    if set(counts) - {engine.workers}:
        run.notes += (f"the number of workers changed: {', then '.join(map(str, counts))}",)
    return outcome
