"""Cubes of every format: what was saved is read, window by window, with what the file says."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
import rasterio
import zarr
from numpy.typing import NDArray

from st_ray.spectral.scene import SceneSpec, open_cube, open_scene
from tests.formats import FORMATS, Values
from tests.rasters import (
    CORNER,
    UTM,
    write_envi,
    write_tif,
)

if TYPE_CHECKING:
    from tests.conftest import SceneFiles


ALL = slice(None)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_reads_what_was_saved(
    name: str, scene_files: SceneFiles, tmp_path: Path
) -> None:
    file, write = FORMATS[name]
    path = write(tmp_path / file, scene_files.values)
    scene = open_scene(SceneSpec(name=str(path), labels=str(scene_files.labels)))
    values = scene_files.values.astype(np.float32)
    np.testing.assert_array_equal(scene.labels, scene_files.truth)
    assert scene.cube.shape == values.shape
    _check(scene.cube.read(ALL, ALL), values)
    _check(scene.cube.read(slice(3, 9), slice(20, 26)), values[3:9, 20:26])
    some = scene.cube.select((7, 2, 3))
    _check(some.read(slice(0, 30), slice(5, 6)), values[:, 5:6, [7, 2, 3]])
    again = pickle.loads(pickle.dumps(scene.cube))
    assert again == scene.cube
    _check(again.read(slice(0, 1), ALL), values[:1])


def _check(read: NDArray[np.float32], values: NDArray[np.float32]) -> None:
    assert read.dtype == np.float32
    assert read.flags.c_contiguous
    np.testing.assert_array_equal(read, values)


@pytest.mark.parametrize("name", [name for name in FORMATS if "first" in name or "pixels" in name])
def test_an_unusual_order_of_axes_is_told(
    name: str, scene_files: SceneFiles, tmp_path: Path
) -> None:
    file, write = FORMATS[name]
    path = write(tmp_path / file, scene_files.values)
    notes = open_scene(SceneSpec(name=str(path), labels=str(scene_files.labels))).notes
    assert len(notes) == 1
    assert notes[0].startswith(f"{file}: ")
    assert "is stored as" in notes[0]


def test_the_order_of_a_square_cube_is_told_by_its_bands(tmp_path: Path) -> None:
    values = np.arange(9 * 5 * 9, dtype=np.uint16).reshape(9, 5, 9)
    np.save(tmp_path / "a.npy", values.transpose(2, 0, 1)[:6])
    cube, notes = open_cube(SceneSpec(name=str(tmp_path / "a.npy")), bands=6)
    assert cube.shape == (9, 5, 6)
    assert "as its 6 bands show" in notes[0]
    _check(cube.read(ALL, ALL), values[:, :, :6].astype(np.float32))
    assert open_cube(SceneSpec(name=str(tmp_path / "a.npy")))[0].shape == (6, 9, 5)


# Larger than any memory here, and on the disk next to nothing: no block of them is written.
HUGE = (60_000, 50_000, 100)


def _huge_npy(path: Path) -> Path:
    np.lib.format.open_memmap(path, "w+", np.uint16, HUGE)
    return path


def _huge_envi(path: Path, interleave: str) -> Path:
    write_envi(path, np.zeros((1, 1, 2), np.uint16), interleave=interleave)
    text = path.read_text().replace("lines = 1", f"lines = {HUGE[0]}")
    text = text.replace("samples = 1", f"samples = {HUGE[1]}").replace("bands = 2", "bands = 100")
    path.write_text(text)
    with path.with_suffix(".dat").open("r+b") as data:
        data.truncate(2 * int(np.prod(HUGE, dtype=object)))
    return path


def _huge_tif(path: Path) -> Path:
    options = {"tiled": True, "bigtiff": True, "sparse_ok": True, "dtype": "uint16"}
    height, width, count = HUGE
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=count, crs=UTM,
        transform=CORNER, **options,
    ):  # fmt: skip
        return path


def _huge_hdf5(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("cube", HUGE, "u2", chunks=(64, 64, 10))
        for axis, name in enumerate(("y", "x", "band")):
            file[name] = np.zeros(HUGE[axis], "u1")
            file[name].make_scale(name)
            dataset.dims[axis].attach_scale(file[name])
    return path


def _huge_zarr(path: Path) -> Path:
    zarr.create_array(path, shape=HUGE, chunks=(64, 64, 10), dtype="u2", fill_value=0)
    return path


@pytest.mark.parametrize(
    ("file", "write"),
    [
        ("a.npy", _huge_npy),
        ("bsq.hdr", lambda path: _huge_envi(path, "bsq")),
        ("bil.hdr", lambda path: _huge_envi(path, "bil")),
        ("a.tif", _huge_tif),
        ("a.h5", _huge_hdf5),
        ("a.nc", _huge_hdf5),
        ("a.zarr", _huge_zarr),
    ],
)
def test_a_scene_beyond_any_memory_is_read_by_its_windows(
    file: str, write: Callable[[Path], Path], tmp_path: Path
) -> None:
    cube, _ = open_cube(SceneSpec(name=str(write(tmp_path / file))))
    assert cube.shape == HUGE
    rows, cols = slice(30_000, 30_064), slice(49_990, 50_000)
    cube.expect(rows, cols)
    window = cube.select((5, 90)).read(rows, cols)
    assert window.shape == (64, 10, 2)
    assert not window.any()


@pytest.mark.parametrize("name", ["geotiff", "hdf5"])
def test_only_the_window_and_the_kept_bands_are_asked_of_a_library(
    name: str, scene_files: SceneFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, write = FORMATS[name]
    cube, _ = open_cube(SceneSpec(name=str(write(tmp_path / file, scene_files.values))))
    kind, method = {
        "geotiff": (rasterio.io.DatasetReader, "read"),
        "hdf5": (h5py.Dataset, "__getitem__"),
    }[name]
    read, bytes_read = getattr(kind, method), []

    def counted(self: object, *words: object, **more: object) -> Values:
        values: Values = read(self, *words, **more)
        bytes_read.append(values.nbytes)
        return values

    monkeypatch.setattr(kind, method, counted)
    cube.select((1, 2, 9)).read(slice(3, 7), slice(2, 12))
    assert sum(bytes_read) == 4 * 10 * 3 * 2


def test_files_stay_open_in_a_process(
    scene_files: SceneFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cube, _ = open_cube(SceneSpec(name=str(write_tif(tmp_path / "a.tif", scene_files.values))))
    monkeypatch.setattr("rasterio.open", None)
    for row in range(3):
        _check(cube.read(slice(row, row + 1), ALL), scene_files.values[row : row + 1].astype("f4"))


def test_the_hippo_of_the_shared_data_is_read(shared_data: Path) -> None:
    header = shared_data / "envi_hippo" / "image.hdr"
    cube, notes = open_cube(SceneSpec(name=str(header)))
    assert notes == ()
    assert cube.shape == (38, 23, 450)
    assert cube.meta.wavelengths[:2] == (378.190002, 381.549988)
    assert cube.meta.nodata == 0
    stored = np.fromfile(header.with_suffix(".dat"), "<u2").reshape(450, 38, 23).transpose(1, 2, 0)
    expected = np.where(stored == 0, np.nan, stored / 65535)
    np.testing.assert_allclose(cube.read(ALL, ALL), expected, rtol=1e-6)
    by_data, _ = open_cube(SceneSpec(name=str(header.with_suffix(".dat"))))
    np.testing.assert_array_equal(by_data.read(ALL, ALL), cube.read(ALL, ALL))
