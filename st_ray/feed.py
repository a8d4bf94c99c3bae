"""What training is fed: tiles projected for all workers or by each, or patches that were kept."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from st_ray.config import RunSpec
from st_ray.engine import SHARE_OF_STORE, Engine, free_memory
from st_ray.errors import SceneError, SpecError
from st_ray.learn.job import Job
from st_ray.learn.loop import epoch_order
from st_ray.learn.placement import TIED, plan_shards
from st_ray.spectral.export import read_card, read_patches
from st_ray.spectral.ingest import StackPlan
from st_ray.spectral.parts import TEST, TRAIN, VALIDATION
from st_ray.spectral.patches import Samples, TileStack
from st_ray.spectral.work import ProjectTiles


def ingest(
    engine: Engine, plan: StackPlan, job: Job, spec: RunSpec
) -> tuple[Job, TileStack | StackPlan]:
    """Project the tiles for all workers, or leave each worker its own to project.

    Returns:
        The job, which says which tiles are whose; what to train on.

    Raises:
        SpecError: The tiles cannot be shared out.
    """
    placement = spec.cluster.placement
    if placement == "auto":
        fits = len(plan.tiles) * plan.tile_bytes <= engine.memory
        placement = "replicate" if fits else "shard"
    if placement == "replicate":
        return job, project_tiles(engine, plan)
    if spec.cluster.least_workers is not None:
        raise SpecError(f"the projected tiles are too large for every worker to hold all: {TIED}")
    rows_N = job.train_samples.centres_N2[:, 0]
    weights_T = np.bincount(rows_N // plan.edge, minlength=len(plan.tiles))
    seen = epoch_order(job.train_samples.targets_N, job.train.class_floor, job.seed, 0)
    steps = -(-len(seen) // min(stage.batch_size for stage in job.stages))
    shards = plan_shards(weights_T.tolist(), max(1, engine.workers), steps)
    # A resumed run must not go on with other batches because less memory is free.
    print_of = hashlib.sha256(f"{job.fingerprint} {shards}".encode()).hexdigest()
    return replace(job, shards=shards, fingerprint=print_of), plan


def kept_patches(
    engine: Engine, job: Job, expected: Mapping[str, Any], spec: RunSpec
) -> tuple[Job, TileStack]:
    """The patches of `spec.patches` in place of tiles, and the job that trains on them.

    Raises:
        SceneError: They were made of something else.
        SpecError: They do not fit into memory.
    """
    folder = str(spec.patches)
    card = read_card(folder)
    other = sorted(name for name in expected if card.made_of.get(name) != expected[name])
    if other:
        raise SceneError(
            f"{folder} was written with another {', '.join(other)}; write it anew with "
            "st-ray prepare, or leave patches out of the settings"
        )
    components = max(stage.components for stage in job.stages)
    patch_size = max(stage.patch_size for stage in job.stages)
    need = 4.0 * card.rows * components * patch_size**2
    room = free_memory()
    if engine.workers:
        room = min(room, engine.memory / SHARE_OF_STORE)
    if need > room:
        raise SpecError(
            f"{folder} holds {card.rows} patches, which take {need / 1e9:.3g} GB as {components} "
            f"components of {patch_size}x{patch_size}, where {room / 1e9:.3g} GB are free; use "
            "fewer components, smaller patches, or no kept patches: tiles take far less"
        )
    stack, samples = read_patches(folder, card, components=components, patch_size=patch_size)
    nothing = Samples(centres_N2=np.empty((0, 2), np.int64), targets_N=np.empty(0, np.int64))
    job = replace(
        job,
        halo=stack.halo,
        train_samples=samples[TRAIN],
        validation_samples=samples.get(VALIDATION, nothing),
        test_samples=samples.get(TEST, nothing),
    )
    return job, stack


def project_tiles(engine: Engine, plan: StackPlan) -> TileStack:
    """Project every tile, with its halo, into one stack."""
    place = {tile.index: position for position, tile in enumerate(plan.tiles)}
    rank, edge = plan.basis.rank, plan.edge
    values = np.empty((len(plan.tiles), edge, edge, rank), dtype=np.float32)
    for part in engine.map_tiles(ProjectTiles(plan.alone), plan.tiles, plan.side):
        for index, values_EEK in zip(part["index"], part["values"], strict=True):
            values[place[int(index)]] = values_EEK
    return TileStack(values_REK=values.reshape(-1, edge, rank), halo=plan.halo)
