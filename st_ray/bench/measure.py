"""Train one cell of a benchmark, and note what it cost and when it was how good.

The clock of a cell starts at the opened scene and stops at the trained model: statistics,
projection, rehearsal, training, hand-overs and checkpoints count. What only the benchmark does
(validation after every epoch, keeping weights, the test score at the end) does not.
"""

from __future__ import annotations

import math
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from st_ray.bench.ledger import Row
from st_ray.config import ClusterSpec, RunSpec
from st_ray.engine import LocalEngine, hold
from st_ray.events import Fanout
from st_ray.learn import pace
from st_ray.learn.backbones import build_backbone
from st_ray.learn.checkpoint import EpochRow, checkpoint_folder, load_weights
from st_ray.learn.curriculum import Curriculum, Stage
from st_ray.learn.fit import Held, fit, stage_source
from st_ray.learn.job import Job
from st_ray.learn.metrics import Confusion
from st_ray.learn.objectives import resolve_optimizer
from st_ray.learn.outcome import Outcome
from st_ray.learn.peers import Peers
from st_ray.learn.presets import USUAL_OPTIMIZER
from st_ray.learn.scoring import evaluate
from st_ray.output import RunFolder
from st_ray.prepare import Run, prepare
from st_ray.recipe import fill_in, settle_recipe
from st_ray.spectral.patches import Samples, TileStack
from st_ray.spectral.scene import SceneSpec, open_scene
from st_ray.spectral.split import SplitSpec


def measure(spec: RunSpec, curriculum: Curriculum, *, target: float | None, test: bool) -> Row:
    """Train a spec in this process.

    Args:
        spec: What to train; `spec.cluster` must ask for no workers.
        curriculum: Its stages, in place of those that `spec.curriculum` names.
        target: Validation OA whose first passing is noted, with the test scores of the weights
            at that epoch's end; None: none.
        test: Whether the test pixels are scored at the end. A search must not see them; it gets
            the validation scores of the last epoch only.

    Returns:
        Plain numbers: ``seconds`` and ``cpu_seconds`` of the whole, ``parts`` (seconds by phase),
        ``curve`` (one (seconds, validation OA) an epoch, or None), ``validation`` and ``test``
        scores, ``reach`` (epoch, seconds and test scores at the target, or None),
        ``parameters``, ``stages`` (components, patch size and epochs of each).
    """
    engine = LocalEngine(spec.cluster)
    with engine, tempfile.TemporaryDirectory(prefix="st_ray-bench-") as place:
        scene = open_scene(spec.scene, spec.tiles.side)
        run, folder = Run(spec, Fanout()), RunFolder(Path(place))
        folder.begin(spec, curriculum)
        watch = _Watch(target=target, epochs=folder.checkpoints, kept=folder.path / "reached")
        made = prepare(run, settle_recipe(spec, None, None, None), engine, folder, scene)
        job = made.job
        if not test:  # score the validation part once, at the end, in the test part's place
            nothing = _nothing(job.validation_samples)
            job = replace(job, test_samples=job.validation_samples, validation_samples=nothing)
        with hold(made.data, job, 0, engine.memory) as stack:
            fit(job, stack, peers=Peers(), device=torch.device(engine.device), listen=watch)
            outcome = Outcome.load(job.folder)
            reach = _reach(watch, job, stack, outcome, engine.device) if watch.reached else None
        return {
            "seconds": round(watch.curve[-1][0], 4),
            "cpu_seconds": round(watch.cpu, 4),
            "parts": _parts(run.seconds, outcome.history, watch.curve[-1][0]),
            "curve": watch.curve if test else None,
            "validation": scores(outcome.validation if test else outcome.test),
            "test": scores(outcome.test) if test else None,
            "parameters": outcome.parameters,
            "stages": [[s.components, s.patch_size, s.epochs] for s in job.stages],
            "reach": reach,
        }


def time_sample(
    *,
    backbone: str,
    options: Mapping[str, Any],
    components: int,
    patch_size: int,
    classes: int,
    batch_size: int,
    threads: int,
    device: str,
    optimizer: str = USUAL_OPTIMIZER,
) -> float:
    """Seconds that one training sample takes in a process of so many threads."""
    torch.set_num_threads(threads)
    return pace.time_sample(
        partial(build_backbone, backbone, **options),
        components=components,
        patch_size=patch_size,
        classes=classes,
        batch_size=batch_size,
        optimizer=resolve_optimizer(optimizer, 0.01),
        device=device,
    )


def warm_up(threads: int, names: Sequence[str]) -> None:
    """Train backbones on a scene of noise: what loads late is not the first cell's to pay.

    A user's own may not take such a scene, and is not among them; without others the usual one is.
    """
    names = [name for name in names if ":" not in name] or [RunSpec().backbone]
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(prefix="st_ray-bench-") as place:
        cube, labels = Path(place) / "cube.npy", Path(place) / "labels.npy"
        np.save(cube, rng.normal(size=(12, 12, 8)).astype(np.float32))
        np.save(labels, 1 + np.arange(144).reshape(12, 12) % 2)
        for name in names:
            spec = RunSpec(
                scene=SceneSpec(name=str(cube), labels=str(labels)),
                split=SplitSpec(train_fraction=0.3, validation_fraction=0.3),
                backbone=name,
                epochs=1,
                cluster=ClusterSpec(workers=0, threads=threads),
            )
            stage = Stage(components=8, patch_size=5)
            measure(fill_in(spec), Curriculum(name=name, stages=(stage,)), target=None, test=True)


def scores(confusion: Confusion) -> dict[str, float]:
    """OA, AA and kappa."""
    return {
        "oa": round(confusion.overall_accuracy, 6),
        "aa": round(confusion.average_accuracy, 6),
        "kappa": round(confusion.kappa, 6),
    }


@dataclass(slots=True)
class _Watch:
    """Keeps the cost at every epoch's end, and the weights of the first that meets the target."""

    target: float | None
    epochs: Path
    kept: Path
    started: float = field(default_factory=time.perf_counter)
    started_cpu: float = field(default_factory=time.process_time)
    beside: float = 0.0
    beside_cpu: float = 0.0
    cpu: float = 0.0
    curve: list[tuple[float, float]] = field(default_factory=list)
    reached: EpochRow | None = None

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Note an epoch."""
        if event["kind"] != "epoch":
            return
        row: EpochRow = event["row"]
        self.beside += row.scoring_seconds
        self.beside_cpu += row.scoring_cpu_seconds
        now, now_cpu = time.perf_counter(), time.process_time()
        self.cpu = now_cpu - self.started_cpu - self.beside_cpu
        spent = now - self.started - self.beside
        self.curve.append((round(spent, 4), round(row.validation_accuracy, 6)))
        target = math.inf if self.target is None else self.target
        if self.reached is None and row.validation_accuracy >= target:
            self.reached = row
            shutil.copytree(checkpoint_folder(self.epochs, row.epoch), self.kept)
        self.beside += time.perf_counter() - now
        self.beside_cpu += time.process_time() - now_cpu


def _reach(watch: _Watch, job: Job, stack: TileStack, outcome: Outcome, device: str) -> Row:
    row = watch.reached
    assert row is not None
    table = {"epoch": row.epoch, "seconds": watch.curve[row.epoch - 1][0], "target": watch.target}
    if row.epoch == len(outcome.history):
        return {**table, "test": scores(outcome.test)}
    stage = job.stages[row.stage]
    model = job.build(
        components=stage.components, patch_size=stage.patch_size, classes=job.classes
    ).to(device)
    load_weights(watch.kept, model)
    held = Held.of(stack, job, Peers(), torch.device(device))
    source = stage_source(job, held, job.test_samples, stage, model)
    mine_N = held.placement.mine(job.test_samples)
    confusion, _ = evaluate(model, source, mine_N, job.loss, job.classes, Peers())
    return {**table, "test": scores(confusion)}


def _parts(
    phases: Mapping[str, float], history: tuple[EpochRow, ...], total: float
) -> dict[str, float]:
    """Seconds by phase; "other" is rehearsal, hand-overs and checkpoints."""
    parts = {name: round(phases[name], 4) for name in ("statistics", "ingest")}
    for row in history:
        key = f"stage {row.stage + 1}"
        parts[key] = round(parts.get(key, 0.0) + row.seconds, 4)
    parts["other"] = round(total - sum(parts.values()), 4)
    return parts


def _nothing(samples: Samples) -> Samples:
    return Samples(centres_N2=samples.centres_N2[:0], targets_N=samples.targets_N[:0])
