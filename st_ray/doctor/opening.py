"""Opening a scene to look at it: with its labels, or, where it has none, without."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from st_ray.errors import SceneError
from st_ray.spectral.benchmarks import SCENES
from st_ray.spectral.mosaic import lay_out, match_files
from st_ray.spectral.scene import Scene, SceneSpec, open_cube, open_scene, picture_bands


def open_any(spec: SceneSpec, align: int) -> tuple[Scene, str]:
    """Open a scene; without labels, if it has none of its own and none were given.

    Args:
        spec: What to read.
        align: See `open_scene`.

    Returns:
        The scene, and why it has no labels; "" if it has.

    Raises:
        SceneError: It cannot be opened, or not with the labels that were given.
    """
    try:
        return open_scene(spec, align), ""
    except SceneError as error:
        if spec.labels is not None:
            raise
        try:
            return _without_labels(spec, align), str(error)
        except SceneError:
            raise error from None


def _without_labels(spec: SceneSpec, align: int) -> Scene:
    names = [name for name, _ in match_files(spec.name, None)]
    opened = [open_cube(replace(spec, name=name)) for name in names]
    cubes = [cube for cube, _ in opened]
    cube = cubes[0] if len(cubes) == 1 else lay_out(cubes, align)
    return Scene(
        name=names[0] if names[0] in SCENES else Path(spec.name).stem,
        cube=cube,
        labels=np.zeros(cube.shape[:2], np.int32),
        class_names={},
        false_colour=picture_bands(cubes[0]),
        notes=tuple(note for _, notes in opened for note in notes),
    )
