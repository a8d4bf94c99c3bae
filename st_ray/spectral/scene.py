"""Scenes: a hyperspectral cube, or several, and their label raster.

Shape letters: H W scene, B bands.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from st_ray.errors import SceneError, unknown_name
from st_ray.spectral.benchmarks import SCENES
from st_ray.spectral.cube import Cube, FileCube
from st_ray.spectral.files import ARRAY_SUFFIXES, FileStamp, Wanted, find_key, map_array
from st_ray.spectral.labels import read_labels, without_classes
from st_ray.spectral.mosaic import lay_labels, lay_out, match_files
from st_ray.spectral.registry import locate, recognise

_ROWS = 1024
_CUBE = Wanted(what="cube", ndim=3, option="scene.cube_key")


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneSpec:
    """What to read.

    Attributes:
        name: A registered scene, or the path of a .npy, .npz or .mat cube (H, W, B). A ``*`` in
            the path stands for several scenes of the same bands, trained as one.
        labels: Path of the (H, W) class ids (.npy, .npz, .mat, .tif, .png), 0 = unlabelled; None
            takes the registered scene's, or the only raster in the cube's own file. A ``*`` is
            filled with what the scene's stood for.
        cube_key: Variable of the cube in a .mat or .npz file; None finds the only 3-D one.
        labels_key: Variable of the labels; None finds the only integer-valued 2-D one.
        ignore_classes: Class ids to treat as unlabelled.
        nodata: Value that stands for "not measured", beside NaN and infinity.
        bad_bands: Whether constant or invalid bands are dropped, or stop the run.
    """

    name: str = "indian_pines"
    labels: str | None = None
    cube_key: str | None = None
    labels_key: str | None = None
    ignore_classes: tuple[int, ...] = ()
    nodata: float | None = None
    bad_bands: Literal["drop", "error"] = "drop"

    def __post_init__(self) -> None:
        if self.bad_bands not in ("drop", "error"):
            message = unknown_name("policy", self.bad_bands, ("drop", "error"))
            raise SceneError(f"scene.bad_bands: {message}")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Scene:
    """A cube with its labels.

    Attributes:
        name: Registered name, or the file's stem.
        cube: The cube.
        labels: (H, W) int32 class ids; 0 = unlabelled.
        class_names: Class id to name, for every class that has a labelled pixel.
        false_colour: Bands shown as red, green and blue, as numbered in the file, 0-based.
    """

    name: str
    cube: Cube
    labels: NDArray[np.int32]
    class_names: dict[int, str]
    false_colour: tuple[int, int, int]

    @property
    def classes(self) -> tuple[int, ...]:
        """Ids that have a labelled pixel, ascending; not necessarily contiguous."""
        return tuple(sorted(self.class_names))

    def relabel(self, labels_HW: NDArray[np.int32]) -> Scene:
        """The same scene with other labels; class names follow."""
        present: set[int] = set()
        for top in range(0, len(labels_HW), _ROWS):  # a sorted copy of it all may be too large
            present.update(np.unique(labels_HW[top : top + _ROWS]).tolist())
        names = {
            index: self.class_names.get(index, f"class {index}") for index in sorted(present - {0})
        }
        return replace(self, labels=labels_HW, class_names=names)


def open_scene(spec: SceneSpec, align: int = 64) -> Scene:
    """Open a scene, or all that a pattern names; the cubes' values stay on disk.

    Args:
        spec: What to read.
        align: Of several scenes, each begins at a multiple of so many rows: the side of a tile.

    Raises:
        SceneError: The scene is unknown, missing or malformed, or its labels do not fit it; one
            line that says what was expected, what came, and the remedy.
    """
    opened = [
        _open(replace(spec, name=name, labels=labels))
        for name, labels in match_files(spec.name, spec.labels)
    ]
    if len(opened) == 1:
        return opened[0]
    cube = lay_out([scene.cube for scene in opened if isinstance(scene.cube, FileCube)], align)
    names: dict[int, str] = {}
    for scene in opened:
        names = {**scene.class_names, **names}
    labels = lay_labels(cube, [scene.labels for scene in opened])
    return replace(opened[0], name=Path(spec.name).stem, cube=cube, class_names=names).relabel(
        labels
    )


def _open(spec: SceneSpec) -> Scene:
    registered = SCENES.get(spec.name)
    if registered is not None:
        cube_path, labels_path = locate(spec.name)
        cube_key = spec.cube_key or registered.cube_key
        labels_key = spec.labels_key or registered.labels_key
    else:
        cube_path = labels_path = _local(spec.name)
        cube_key, labels_key = spec.cube_key, spec.labels_key
    cube = _open_cube(cube_path, cube_key, spec)
    if spec.labels is not None:
        labels_path, labels_key = Path(spec.labels).expanduser(), spec.labels_key
    own = labels_path == cube_path
    labels = read_labels(labels_path, labels_key, cube.shape[:2], own=own)
    # Ids mean a benchmark's classes only in the benchmark's own ground truth.
    known = registered if registered and spec.labels is None else recognise(labels_path)
    pictured = registered or (known if known and known.shape == cube.shape else None)
    scene = Scene(
        name=spec.name if registered else cube_path.stem,
        cube=cube,
        labels=labels,
        class_names=known.class_names if known else {},
        false_colour=pictured.false_colour if pictured else _spread(cube.shape[2]),
    )
    return scene.relabel(without_classes(labels, spec.ignore_classes))


def _local(name: str) -> Path:
    path = Path(name).expanduser()
    if path.exists():
        return path
    if path.suffix or len(path.parts) > 1:
        raise SceneError(f"no such scene file: {path} (in {Path.cwd()})")
    raise SceneError(unknown_name("scene", name, SCENES) + "; or give the path of a .mat or .npy")


def _open_cube(path: Path, key: str | None, spec: SceneSpec) -> FileCube:
    if path.suffix.lower() not in ARRAY_SUFFIXES:
        raise SceneError(f"{path}: a cube is one of {', '.join(ARRAY_SUFFIXES)}; convert it")
    found = find_key(path, key, _CUBE)
    stamp = FileStamp.of(path)
    height, width, bands = map_array(stamp, found).shape
    return FileCube(
        path=stamp.path,
        key=found,
        file_shape=(height, width, bands),
        nodata=spec.nodata,
        registered=spec.name if spec.name in SCENES else None,
    )


def _spread(bands: int) -> tuple[int, int, int]:
    # Without wavelengths, three bands spread over the spectrum; red is the longest.
    return (3 * bands // 4, bands // 2, bands // 4)
