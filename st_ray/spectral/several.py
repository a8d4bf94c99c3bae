"""Several scenes, each opened, as one: with the same ids for the same classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from st_ray.spectral.cube import FileCube
from st_ray.spectral.members import Member
from st_ray.spectral.mosaic import MosaicCube, lay_labels, lay_out
from st_ray.spectral.naming import apply_ids, join_names, renumber

if TYPE_CHECKING:
    from st_ray.spectral.scene import Scene


def join(
    opened: Sequence[tuple[Scene, bool]],
    files: Sequence[str],
    name: str,
    align: int,
    *,
    resample: bool,
) -> Scene:
    """Lay scenes one below the other.

    Args:
        opened: Scenes, or mosaics of them, each with whether its class ids are no more than the
            order of its names.
        files: Their labels' files, for errors.
        name: Of the whole.
        align: Each begins at a multiple of so many rows.
        resample: Whether bands at other wavelengths than the first's are interpolated.

    Raises:
        SceneError: Their bands differ, or an id means two classes.
    """
    scenes = _renumbered(opened)
    cubes: list[FileCube] = []
    rasters: list[NDArray[np.int32]] = []
    told: list[Member] = []
    for scene in scenes:
        parts = scene.cube.parts if isinstance(scene.cube, MosaicCube) else (scene.cube,)
        cubes += [part for part in parts if isinstance(part, FileCube)]
        rasters += [scene.labels[extent.rows, : extent.width] for extent in scene.cube.extents]
        told += scene.members or [Member(name=scene.name, extent=scene.cube.extents[0])]
    cube = lay_out(cubes, align, resample=resample)
    labels = lay_labels(cube, rasters)
    members = zip(told, cube.extents, strict=True)
    return replace(
        scenes[0],
        name=name,
        cube=cube,
        class_names=join_names([scene.class_names for scene in scenes], files),
        class_colours=dict(item for scene in scenes for item in scene.class_colours.items()),
        notes=tuple(dict.fromkeys(note for scene in scenes for note in scene.notes)),
        members=tuple(replace(member, extent=extent) for member, extent in members),
    ).relabel(labels)


def _renumbered(opened: Sequence[tuple[Scene, bool]]) -> list[Scene]:
    """The scenes, with the same ids for the same classes where those are given as text."""
    scenes = [scene for scene, _ in opened]
    tables = renumber([scene.class_names for scene in scenes], [known for _, known in opened])
    return [
        replace(
            scene,
            class_names={
                table.get(index, index): name for index, name in scene.class_names.items()
            },
        ).relabel(apply_ids(scene.labels, table))
        for scene, table in zip(scenes, tables, strict=True)
    ]
