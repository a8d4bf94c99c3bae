"""Scenes: a hyperspectral cube, or several, and their label raster.

Shape letters: H W scene, B bands.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from st_ray.errors import SceneError, unknown_name
from st_ray.spectral.benchmarks import SCENES, RegisteredScene
from st_ray.spectral.cube import Cube, FileCube
from st_ray.spectral.files import FileStamp
from st_ray.spectral.labels import LabelFile, one_label, without_classes
from st_ray.spectral.manifest import Entry, list_entries
from st_ray.spectral.members import Member
from st_ray.spectral.mosaic import lay_labels, lay_out
from st_ray.spectral.naming import unnamed
from st_ray.spectral.readers.base import Hint
from st_ray.spectral.readers.choose import describe, open_reader
from st_ray.spectral.registry import locate, recognise
from st_ray.spectral.several import join
from st_ray.spectral.stacks import find_stack, read_stack_labels, stack_cubes

_ROWS = 1024
_RED_GREEN_BLUE = (640.0, 550.0, 460.0)  # nanometres
_SHOWN = 200  # characters of a name
_NEAR = 50.0  # nanometres, within which a band may stand for a colour


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneSpec:
    """What to read.

    Attributes:
        name: A registered scene, or the path of a cube: an array (.npy, .npz, .mat, HDF5), an
            ENVI file (header or data), a NetCDF or Zarr data set, a GeoTIFF or another raster
            that GDAL reads; or many cubes in one array (N, H, W, B). A ``*`` in the path, or a
            manifest (.csv, .toml), stands for several scenes of the same bands, trained as one.
        labels: Path of the class ids, 0 = unlabelled: an (H, W) array or picture, a raster with
            coordinates of its own, an ENVI classification, or polygons or points (.gpkg,
            .geojson, .shp, .fgb), or (N,), one for each of many cubes; None takes the registered
            scene's, or the only raster in the cube's own file. A ``*`` is filled with what the
            scene's stood for.
        cube_key: Variable of the cube in a file of several; None finds the only 3-D one.
        labels_key: Variable of the labels, or the attribute of polygons and points that holds the
            class (``LAYER.ATTRIBUTE`` where there are several layers); None finds the only
            integer-valued 2-D variable, or an attribute named like a class.
        ignore_classes: Class ids to treat as unlabelled.
        nodata: Stored value that stands for "not measured", beside NaN and infinity; None takes
            the file's own, nan uses none.
        bad_bands: Whether constant or invalid bands, and those that the file marks as bad, are
            dropped, or stop the run.
        resample: Of several scenes at different wavelengths, whether the bands of the others are
            interpolated to the first one's; else they are refused.
    """

    name: str = "indian_pines"
    labels: str | None = None
    cube_key: str | None = None
    labels_key: str | None = None
    ignore_classes: tuple[int, ...] = ()
    nodata: float | None = None
    bad_bands: Literal["drop", "error"] = "drop"
    resample: bool = False

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
        class_colours: Class id to colour (red, green, blue, 0-255), where the labels say.
        notes: What was repaired, assumed or left out in opening it, one line each.
        members: The scenes in it, if it is several.
    """

    name: str
    cube: Cube
    labels: NDArray[np.int32]
    class_names: dict[int, str]
    false_colour: tuple[int, int, int]
    class_colours: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    members: tuple[Member, ...] = ()

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
            index: self.class_names.get(index, unnamed(index)) for index in sorted(present - {0})
        }
        colours = {
            index: self.class_colours[index] for index in names if index in self.class_colours
        }
        return replace(self, labels=labels_HW, class_names=names, class_colours=colours)


def open_scene(spec: SceneSpec, align: int = 64) -> Scene:
    """Open a scene, or all that a pattern or manifest names; the cubes' values stay on disk.

    Args:
        spec: What to read.
        align: Of several scenes, each begins at a multiple of so many rows: the side of a tile.

    Raises:
        SceneError: The scene is unknown, missing or malformed, or its labels do not fit it; one
            line that says what was expected, what came, and the remedy.
    """
    entries = list_entries(spec.name, spec.labels)
    opened = [_open_entry(spec, entry, align) for entry in entries]
    scene = opened[0][0]
    if len(opened) > 1:
        files = [entry.labels or entry.image for entry in entries]
        scene = join(opened, files, Path(spec.name).stem, align, resample=spec.resample)
    return scene.relabel(without_classes(scene.labels, spec.ignore_classes))


def open_cube(spec: SceneSpec, bands: int | None = None) -> tuple[FileCube, tuple[str, ...]]:
    """Open a scene's cube alone, to predict: its labels are not looked at.

    Args:
        spec: What to read; a path without ``*``.
        bands: How many bands are expected, to tell the axes of a plain array apart; or None.

    Returns:
        The cube, and notes on what was repaired or assumed.

    Raises:
        SceneError: See `open_scene`.
    """
    return _open_cube(*_cube_file(spec), spec, Hint(bands=bands))


def _open_entry(spec: SceneSpec, entry: Entry, align: int) -> tuple[Scene, bool]:
    """One scene, or the patches of an array, and whether class ids are but the names' order."""
    spec = replace(spec, name=entry.image, labels=entry.labels)
    try:
        stack = None if spec.name in SCENES else find_stack(_local(spec.name), spec.cube_key)
        if stack is not None:
            return _open_stack(spec, entry, *stack, align)
        scene, numbered = _open(spec, entry)
    except SceneError as error:
        raise SceneError(f"{entry.where}: {error}" if entry.where else str(error)) from None
    except OSError as problem:  # such as a folder that may not be looked into
        named = problem.filename or spec.name
        raise SceneError(f"cannot read {named}: {problem.strerror or problem}") from None
    if not entry.where:
        return scene, numbered
    whole = entry.label is not None
    member = Member(name=scene.name, extent=scene.cube.extents[0], part=entry.part, whole=whole)
    return replace(scene, members=(member,)), numbered


def _open(spec: SceneSpec, entry: Entry) -> tuple[Scene, bool]:
    registered = SCENES.get(spec.name)
    cube_path, cube_key = _cube_file(spec)
    labels_path, labels_key = cube_path, spec.labels_key
    if registered is not None:
        labels_path, labels_key = locate(spec.name)[1], labels_key or registered.labels_key
    if spec.labels is not None:
        labels_path, labels_key = Path(spec.labels).expanduser(), spec.labels_key
    known: RegisteredScene | None = None
    if entry.label is None:
        file = LabelFile(labels_path, labels_key, own=labels_path == cube_path)
        cube, notes = _open_cube(cube_path, cube_key, spec, Hint(raster=file.shape))
        labels = file.on(cube.shape[:2], cube.meta.grid)
        # Ids mean a benchmark's classes only in the benchmark's own ground truth.
        known = registered if registered and spec.labels is None else recognise(labels_path)
    else:
        cube, notes = _open_cube(cube_path, cube_key, spec, Hint())
        labels = one_label(entry.label, entry.class_name, cube.shape[:2])
    pictured = registered or (known if known and known.shape == cube.shape else None)
    scene = Scene(
        name=spec.name if registered else cube_path.stem,
        cube=cube,
        labels=labels.ids,
        class_names=known.class_names if known else labels.names,
        false_colour=pictured.false_colour if pictured else picture_bands(cube),
        class_colours=labels.colours,
        notes=(*notes, *labels.notes),
    )
    return scene.relabel(labels.ids), labels.numbered


def _open_stack(
    spec: SceneSpec, entry: Entry, key: str, shape: tuple[int, int, int, int], align: int
) -> tuple[Scene, bool]:
    path = _local(spec.name)
    if entry.label is not None:
        raise SceneError(f"{path} holds {shape[0]} patches; give a file with a label for each")
    labels_path = path if spec.labels is None else Path(spec.labels).expanduser()
    own = labels_path == path
    told = read_stack_labels(
        labels_path,
        spec.labels_key,
        shape,
        cube_key=key if own else None,
        ignored=0 in spec.ignore_classes,
    )
    cubes = stack_cubes(path, key, shape, spec.nodata)
    cube = lay_out(cubes, align)
    scene = Scene(
        name=path.stem,
        cube=cube,
        labels=lay_labels(cube, told.rasters),
        class_names=told.names,
        false_colour=picture_bands(cubes[0]),
        members=tuple(
            Member(name=f"{path.name}[{item}]", extent=extent, part=entry.part, whole=told.whole)
            for item, extent in enumerate(cube.extents)
        ),
    )
    return scene.relabel(scene.labels), bool(told.names)


def _cube_file(spec: SceneSpec) -> tuple[Path, str | None]:
    """The cube's file, and its variable there if it is known."""
    registered = SCENES.get(spec.name)
    if registered is None:
        return _local(spec.name), spec.cube_key
    return locate(spec.name)[0], spec.cube_key or registered.cube_key


def _local(name: str) -> Path:
    path = Path(name).expanduser()
    try:
        if path.exists():
            return path
    except OSError as problem:  # a folder that may not be looked into, a name that is too long
        raise SceneError(f"cannot read {name[:_SHOWN]}: {problem.strerror}") from None
    if path.suffix or len(path.parts) > 1:
        raise SceneError(f"no such scene file: {path} (in {Path.cwd()})")
    raise SceneError(unknown_name("scene", name, SCENES) + "; or give the path of a .mat or .npy")


def _open_cube(
    path: Path, key: str | None, spec: SceneSpec, hint: Hint
) -> tuple[FileCube, tuple[str, ...]]:
    source, stamp = describe(path, key, hint), FileStamp.of(path)
    open_reader(stamp, source.key, source.layout, source.shape)  # what cannot be read ends here
    cube = FileCube(
        path=stamp.path,
        key=source.key,
        file_shape=source.shape,
        nodata=spec.nodata,
        registered=spec.name if spec.name in SCENES else None,
        meta=source.meta,
        layout=source.layout,
    )
    return cube, source.notes


def picture_bands(cube: FileCube) -> tuple[int, int, int]:
    """Bands for red, green and blue: by wavelength, or spread over the spectrum, red longest."""
    bands = cube.file_shape[2]
    red, green, blue = 3 * bands // 4, bands // 2, bands // 4
    if cube.meta.wavelengths:
        known = np.array(cube.meta.wavelengths)
        known[list(cube.meta.bad_bands)] = np.inf
        off = np.abs(known[:, None] - np.array(_RED_GREEN_BLUE))
        if off.min(axis=0).max() <= _NEAR:
            red, green, blue = (int(band) for band in off.argmin(axis=0))
    return red, green, blue
