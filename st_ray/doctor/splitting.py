"""`st-ray split`: the split of a run, as a file, without the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from st_ray.config import RunSpec
from st_ray.engine import LocalEngine
from st_ray.learn.presets import find_curriculum
from st_ray.recipe import default_shape
from st_ray.spectral.parts import footprint_overlap, leakage
from st_ray.spectral.scene import open_scene
from st_ray.spectral.split import split_labels
from st_ray.spectral.splitfile import save_split
from st_ray.spectral.tiles import plan_tiles
from st_ray.steps import inspect_bands


def make_split(spec: RunSpec, path: Path) -> dict[str, Any]:
    """Split a scene's labels as a run of this spec would, and write the manifest.

    A run leaves out labelled pixels without a valid value; so the scene is read once for them.

    Args:
        spec: Of the run; scene, split, seed and largest patch count.
        path: The manifest.

    Returns:
        ``counts`` (class to pixels by part), ``names``, ``leakage`` and ``overlap`` for the
        largest patch, ``patch_size``, ``notes``, ``bytes`` of the file.

    Raises:
        StRayError: Bad input, in one line.
    """
    scene = open_scene(spec.scene, spec.tiles.side)
    tiles = plan_tiles(scene.labels.shape, spec.tiles, scene.cube.extents)
    scene, _, notes = inspect_bands(LocalEngine(spec.cluster), scene, tiles, spec)
    curriculum = find_curriculum(
        spec.curriculum, scene.cube.shape[2], spec.patch_size, default_shape(spec.backbone)
    )
    split = split_labels(scene.labels, spec.split, spec.seed, curriculum.patch_size, scene.members)
    save_split(split, path, scene.labels, scene.name)
    return {
        "counts": split.counts(scene.labels),
        "names": scene.class_names,
        "patch_size": curriculum.patch_size,
        "leakage": leakage(split, curriculum.patch_size),
        "overlap": footprint_overlap(split, curriculum.patch_size),
        "notes": [*notes, *split.notes],
        "bytes": path.stat().st_size,
    }
