"""Scenes: a memory-mapped hyperspectral cube and its label raster.

Shape letters: H W scene, B bands.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from st_ray.errors import SceneError, unknown_name
from st_ray.spectral.benchmarks import SCENES
from st_ray.spectral.files import ARRAY_SUFFIXES, FileStamp, Wanted, find_key, forget, map_array
from st_ray.spectral.labels import read_labels, without_classes
from st_ray.spectral.registry import locate, recognise

_CUBE = Wanted(what="cube", ndim=3, option="scene.cube_key")


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneSpec:
    """What to read.

    Attributes:
        name: A registered scene, or the path of a .npy, .npz or .mat cube (H, W, B).
        labels: Path of the (H, W) class ids (.npy, .npz, .mat, .tif, .png), 0 = unlabelled; None
            takes the registered scene's, or the only raster in the cube's own file.
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Cube:
    """A cube on disk. Small and picklable: every process that reads it maps the file itself.

    Attributes:
        path: The file, absolute.
        key: Variable in the file; "" where it holds one array.
        file_shape: (H, W, B) in the file.
        bands: Kept bands as numbered in the file, 0-based; None keeps all.
        nodata: Value that stands for "not measured", or None.
        registered: Name in the registry, where a machine without ``path`` looks; or None.
    """

    path: str
    key: str
    file_shape: tuple[int, int, int]
    bands: tuple[int, ...] | None = None
    nodata: float | None = None
    registered: str | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, B) with the kept bands only."""
        return (*self.file_shape[:2], len(self.band_indices))

    @property
    def band_indices(self) -> tuple[int, ...]:
        """Kept bands as numbered in the file, 0-based, in the order `read` returns them."""
        return tuple(range(self.file_shape[2])) if self.bands is None else self.bands

    def read(self, rows: slice, cols: slice) -> NDArray[np.float32]:
        """Read a window; only its part of the file is touched.

        Args:
            rows: Rows of the scene.
            cols: Columns of the scene.

        Returns:
            A copy (h, w, B); nodata, infinite and too large values are NaN.

        Raises:
            SceneError: The file is not on this machine.
        """
        mapped = map_array(FileStamp.of(self._place()), self.key)
        raw = mapped[rows, cols]
        if self.bands is not None:
            raw = raw[:, :, list(self.bands)]
        with np.errstate(over="ignore"):  # float64 beyond float32: infinite, so NaN below
            values = np.array(raw, dtype=np.float32, order="C")
        if raw.dtype.kind == "f":
            values[~np.isfinite(values)] = np.nan
        if self.nodata is not None:
            values[raw == self.nodata] = np.nan
        forget(mapped)
        return values

    def select(self, bands: Iterable[int]) -> Cube:
        """The same cube with only these bands, numbered as in the file, in this order.

        Raises:
            SceneError: A band is not in the file.
        """
        chosen = tuple(int(band) for band in bands)
        unknown = [band for band in chosen if not 0 <= band < self.file_shape[2]]
        if unknown or not chosen:
            raise SceneError(f"bands {unknown}: the file has bands 0 to {self.file_shape[2] - 1}")
        return replace(self, bands=chosen)

    def drop(self, bands: Iterable[int]) -> Cube:
        """The same cube without these bands, numbered as in the file."""
        dropped = set(bands)
        return self.select(band for band in self.band_indices if band not in dropped)

    def _place(self) -> Path:
        path = Path(self.path)
        if path.is_file():
            return path
        if self.registered is not None:
            return locate(self.registered)[0]
        raise SceneError(
            f"{path} is not on machine {platform.node()}; put the scene on storage that every "
            "node mounts at the same place"
        )


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
        return tuple(int(index) for index in np.unique(self.labels) if index != 0)

    def relabel(self, labels_HW: NDArray[np.int32]) -> Scene:
        """The same scene with other labels; class names follow."""
        present = [int(index) for index in np.unique(labels_HW) if index != 0]
        names = {index: self.class_names.get(index, f"class {index}") for index in present}
        return replace(self, labels=labels_HW, class_names=names)


def open_scene(spec: SceneSpec) -> Scene:
    """Open a scene; the cube's values stay on disk.

    Raises:
        SceneError: The scene is unknown, missing or malformed, or its labels do not fit it; one
            line that says what was expected, what came, and the remedy.
    """
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


def _open_cube(path: Path, key: str | None, spec: SceneSpec) -> Cube:
    if path.suffix.lower() not in ARRAY_SUFFIXES:
        raise SceneError(f"{path}: a cube is one of {', '.join(ARRAY_SUFFIXES)}; convert it")
    found = find_key(path, key, _CUBE)
    stamp = FileStamp.of(path)
    height, width, bands = map_array(stamp, found).shape
    return Cube(
        path=stamp.path,
        key=found,
        file_shape=(height, width, bands),
        nodata=spec.nodata,
        registered=spec.name if spec.name in SCENES else None,
    )


def _spread(bands: int) -> tuple[int, int, int]:
    # Without wavelengths, three bands spread over the spectrum; red is the longest.
    return (3 * bands // 4, bands // 2, bands // 4)
