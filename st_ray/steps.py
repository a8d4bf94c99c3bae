"""One function for each arrow of the flow between bands and map."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from st_ray.config import RunSpec, fingerprint
from st_ray.engine import Engine
from st_ray.errors import SplitError
from st_ray.learn.bundle import load_bundle, save_bundle
from st_ray.learn.card import ModelCard
from st_ray.learn.checkpoint import latest_checkpoint
from st_ray.learn.curriculum import Curriculum, PlannedStage
from st_ray.learn.job import Job
from st_ray.learn.outcome import Outcome
from st_ray.learn.tilemap import PredictTiles
from st_ray.output import RunFolder
from st_ray.recipe import Recipe
from st_ray.spectral.bands import BandVerdict, apply_verdict, judge_bands
from st_ray.spectral.basis import SpectralBasis, group_bands, solve_basis, standardise_bands
from st_ray.spectral.parts import TEST, TRAIN, VALIDATION
from st_ray.spectral.patches import select_samples
from st_ray.spectral.scene import Scene
from st_ray.spectral.split import Split
from st_ray.spectral.tiles import Tile
from st_ray.spectral.work import (
    MeasureTiles,
    SurveyTiles,
    merge_moments,
    merge_surveys,
    read_moments,
    read_surveys,
)


def check_samples(split: Split, workers: int) -> None:
    """See that every worker has training pixels in every batch.

    Raises:
        SplitError: It has not.
    """
    count = int(split.train.sum())
    if count < 2 * workers:
        raise SplitError(
            f"{count} training pixels are too few for {workers} workers; use --workers 0 or 1, or "
            "a larger --train-fraction"
        )


def inspect_bands(
    engine: Engine, scene: Scene, tiles: Sequence[Tile], spec: RunSpec
) -> tuple[Scene, BandVerdict, tuple[str, ...]]:
    """Find constant, invalid and marked bands over the whole scene; drop them, or stop.

    Returns:
        The scene without bad bands and without labels on invalid pixels; what was found; notes,
        those of its opening first.

    Raises:
        SceneError: There are bad bands and the spec says to stop, or nothing is left.
    """
    parts = engine.map_tiles(
        SurveyTiles(scene.cube), tiles, spec.tiles.side, scene.labels, merge=merge_surveys
    )
    bands, marked = scene.cube.band_indices, scene.cube.meta.bad_bands
    verdict = judge_bands(read_surveys(parts), bands, marked=marked)
    usable, notes = apply_verdict(scene, verdict, spec.scene.bad_bands)
    return usable, verdict, (*scene.notes, *notes)


def fit_basis(
    engine: Engine,
    scene: Scene,
    split: Split,
    tiles: Sequence[Tile],
    curriculum: Curriculum,
    stages: Sequence[PlannedStage],
    spec: RunSpec,
) -> SpectralBasis:
    """Reduce the moments of the chosen pixels over all tiles, and solve once, at the largest rank.

    Raises:
        SpecError: There are too few pixels.
    """
    train_only = spec.basis.pixels == "train"
    chosen_HW = (split.parts == TRAIN) if train_only else np.ones(split.parts.shape, bool)
    work = MeasureTiles(scene.cube, spec.basis.precision)
    moments = read_moments(
        engine.map_tiles(
            work, tiles, spec.tiles.side, chosen_HW.view(np.uint8), merge=merge_moments
        )
    )
    if curriculum.axis == "bands":
        return standardise_bands(moments)
    rank = max(stage.components for stage in stages)
    if curriculum.axis == "groups":
        return group_bands(moments, rank)
    return solve_basis(moments, rank, whitening=spec.basis.exponent)


def labelled_tiles(tiles: Sequence[Tile], labels_HW: NDArray[np.int32]) -> tuple[Tile, ...]:
    """The tiles whose core holds a labelled pixel."""
    return tuple(tile for tile in tiles if labels_HW[tile.rows, tile.cols].any())


def prepare_job(
    recipe: Recipe,
    spec: RunSpec,
    scene: Scene,
    split: Split,
    curriculum: Curriculum,
    stages: tuple[PlannedStage, ...],
    tiles: Sequence[Tile],
    folder: RunFolder,
) -> Job:
    """All that the training workers need, apart from the tile stack."""
    halo = curriculum.patch_size // 2
    samples = {
        part: select_samples(
            split.parts, part, scene.labels, scene.classes, tiles, halo, spec.tiles.side
        )
        for part in (TRAIN, VALIDATION, TEST)
    }
    return Job(
        stages=stages,
        classes=len(scene.classes),
        build=recipe.build,
        loss=recipe.loss,
        optimizer=recipe.optimizer,
        train=spec.train,
        seed=spec.seed,
        fingerprint=fingerprint(
            spec,
            stages,
            curriculum.axis,
            split.labels_sha256,
            digest(split.parts),
            digest(some_spectra(scene, split)),
            recipe.identities,
        ),
        folder=folder.checkpoints,
        storage=folder.storage,
        halo=halo,
        train_samples=samples[TRAIN],
        validation_samples=samples[VALIDATION],
        test_samples=samples[TEST],
    )


def some_spectra(scene: Scene, split: Split, most: int = 64) -> NDArray[np.float32]:
    """Spectra of some training pixels (M, B): whether a file still holds the same scene."""
    pixels_N2 = np.argwhere(split.train)
    chosen_M2 = pixels_N2[:: -(-len(pixels_N2) // most)]
    windows = [scene.cube.read(slice(r, r + 1), slice(c, c + 1)) for r, c in chosen_M2]
    return np.concatenate(windows).reshape(len(windows), -1)


def digest(array: NDArray[np.generic]) -> str:
    """SHA-256 of an array's bytes."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def epochs_done(job: Job) -> int:
    """Epochs that an earlier process of a run that is not finished has trained.

    Raises:
        OutputError: The folder's checkpoints belong to other settings.
    """
    found = latest_checkpoint(job.folder, job.fingerprint)
    return found[1].epoch if found else 0


def bundle_model(
    spec: RunSpec, scene: Scene, basis: SpectralBasis, job: Job, curriculum: str, folder: RunFolder
) -> None:
    """Write the model bundle from the outcome's weights."""
    last = job.stages[-1]
    card = ModelCard(
        backbone=spec.backbone,
        backbone_options=dict(spec.backbone_options),
        components=last.components,
        patch_size=last.patch_size,
        classes=scene.classes,
        class_names=tuple(scene.class_names[index] for index in scene.classes),
        file_bands=scene.cube.file_shape[2],
        bands=scene.cube.band_indices,
        curriculum=curriculum,
        fingerprint=job.fingerprint,
        wavelengths=scene.cube.meta.wavelengths,
        class_colours=scene.class_colours,
    )
    save_bundle(folder.model, Outcome.weights(job.folder), basis, card)
    folder.keep(folder.model)


def predict_scene(
    engine: Engine,
    scene: Scene,
    folder: RunFolder,
    tiles: Sequence[Tile],
    side: int,
    build: Callable[..., torch.nn.Module],
) -> NDArray[np.int32]:
    """Class ids (H, W) of the whole scene by the bundle; 0 where a pixel is invalid."""
    model, basis, card = load_bundle(folder.model, build)
    work = PredictTiles(
        cube=scene.cube, model=model, basis=basis, card=card, side=side, device=engine.device
    )
    by_index = {tile.index: tile for tile in tiles}
    map_HW = np.zeros(scene.labels.shape, dtype=np.int32)
    for part in engine.stream_tiles(work, tiles):
        tile = by_index[int(part["index"])]
        map_HW[tile.rows, tile.cols] = part["classes"]
    return map_HW
