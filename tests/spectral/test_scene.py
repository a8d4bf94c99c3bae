"""Scenes by path: keys, memory-mapping, and one clear line for every wrong input."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from st_ray.errors import SceneError
from st_ray.spectral.cube import FileCube
from st_ray.spectral.files import replacing
from st_ray.spectral.scene import Scene, SceneSpec, open_scene

if TYPE_CHECKING:
    from tests.conftest import SceneFiles

ALL = slice(None)
WriteMat = Callable[..., Path]


def _spec(cube: Path, labels: Path | None = None, **more: object) -> SceneSpec:
    return replace(SceneSpec(name=str(cube), labels=str(labels) if labels else None), **more)  # type: ignore[arg-type]


def _error(spec: SceneSpec) -> str:
    with pytest.raises(SceneError) as caught:
        open_scene(spec)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_npy_scene_reads_what_was_saved(scene_files: SceneFiles, small_scene: Scene) -> None:
    assert small_scene.name == "small"
    assert small_scene.cube.shape == (30, 26, 12)
    assert small_scene.classes == scene_files.classes
    assert small_scene.class_names == {2: "class 2", 5: "class 5", 9: "class 9"}
    assert small_scene.labels.dtype == np.int32
    window = small_scene.cube.read(slice(3, 9), slice(20, 26))
    assert window.dtype == np.float32
    np.testing.assert_array_equal(window, scene_files.values[3:9, 20:26])


def test_mat_with_one_cube_and_one_raster_needs_no_keys(
    scene_files: SceneFiles, write_mat: WriteMat
) -> None:
    path = write_mat(
        "scene.mat",
        pixels=scene_files.values,
        truth=scene_files.truth.astype(np.float64),
        wavelengths=np.linspace(0.4, 2.5, 12),
        note="text",
    )
    scene = open_scene(_spec(path))
    assert scene.cube.key == "pixels"
    np.testing.assert_array_equal(scene.cube.read(ALL, ALL), scene_files.values)
    np.testing.assert_array_equal(scene.labels, scene_files.truth)


def test_npz_with_cube_and_labels(scene_files: SceneFiles, tmp_path: Path) -> None:
    path = tmp_path / "scene.npz"
    np.savez_compressed(path, cube=scene_files.values, gt=scene_files.truth)
    scene = open_scene(_spec(path))
    np.testing.assert_array_equal(scene.cube.read(ALL, ALL), scene_files.values)
    np.testing.assert_array_equal(scene.labels, scene_files.truth)


def test_several_candidates_are_listed_with_the_option_that_chooses(
    scene_files: SceneFiles, write_mat: WriteMat
) -> None:
    values, labels = scene_files.values, scene_files.truth
    cubes = write_mat("cubes.mat", raw=values, corrected=values[:, :, :5], gt=labels)
    message = _error(_spec(cubes))
    assert "raw (30, 26, 12), corrected (30, 26, 5)" in message
    assert "--set scene.cube_key=NAME" in message
    assert open_scene(_spec(cubes, cube_key="corrected")).cube.shape == (30, 26, 5)
    rasters = write_mat("rasters.mat", cube=values, gt=labels, regions=labels)
    message = _error(_spec(rasters))
    assert "gt (30, 26), regions (30, 26)" in message
    assert "--set scene.labels_key=NAME" in message
    assert open_scene(_spec(rasters, labels_key="gt")).classes == scene_files.classes


def test_a_wrong_key_lists_the_keys(scene_files: SceneFiles, write_mat: WriteMat) -> None:
    path = write_mat("scene.mat", cube=scene_files.values, gt=scene_files.truth)
    assert "unknown key 'cub'; did you mean 'cube'? known: cube, gt" in _error(
        _spec(path, cube_key="cub")
    )
    assert "expected a cube of 3 dimensions" in _error(_spec(path, cube_key="gt"))
    assert "without keys" in _error(_spec(scene_files.cube, path, cube_key="cube"))


@pytest.mark.parametrize("shape", [(30, 26), (2, 2, 30, 26, 12)])
def test_a_cube_has_three_dimensions(
    shape: tuple[int, ...], tmp_path: Path, scene_files: SceneFiles
) -> None:
    np.save(tmp_path / "cube.npy", np.ones(shape))
    message = _error(_spec(tmp_path / "cube.npy", scene_files.labels))
    assert "expected a cube of 3 dimensions" in message
    assert str(shape) in message


@pytest.mark.parametrize("kind", ["complex64", "<U3", "object"])
def test_a_cube_holds_real_numbers(kind: str, tmp_path: Path, scene_files: SceneFiles) -> None:
    np.save(tmp_path / "cube.npy", np.ones((30, 26, 4)).astype(kind), allow_pickle=True)
    message = _error(_spec(tmp_path / "cube.npy", scene_files.labels))
    assert "cube.npy" in message
    assert "real numbers" in message or "Python objects" in message


def test_a_complex_mat_cube_is_refused(write_mat: WriteMat, scene_files: SceneFiles) -> None:
    path = write_mat("scene.mat", cube=np.full((30, 26, 4), 1 + 2j), gt=scene_files.truth)
    assert "expected real numbers, found values of type complex128" in _error(_spec(path))


def test_nodata_and_infinity_come_as_nan(scene_files: SceneFiles, tmp_path: Path) -> None:
    values = scene_files.values.astype(np.float64)
    values[0, 0, 0], values[0, 0, 1], values[0, 0, 2], values[0, 0, 3] = (
        -9999,
        np.inf,
        np.nan,
        1e300,
    )
    np.save(tmp_path / "cube.npy", values)
    cube = open_scene(_spec(tmp_path / "cube.npy", scene_files.labels, nodata=-9999)).cube
    read = cube.read(ALL, ALL)
    assert np.argwhere(np.isnan(read)).tolist() == [[0, 0, band] for band in range(4)]
    unsigned = open_scene(_spec(scene_files.cube, scene_files.labels, nodata=-1)).cube
    assert not np.isnan(unsigned.read(ALL, ALL)).any()


def test_kept_bands_keep_their_numbers(scene_files: SceneFiles, small_scene: Scene) -> None:
    cube = small_scene.cube.drop({0, 3})
    assert cube.shape == (30, 26, 10)
    assert cube.band_indices == (1, 2, 4, 5, 6, 7, 8, 9, 10, 11)
    assert cube.drop([1]).band_indices == (2, 4, 5, 6, 7, 8, 9, 10, 11)
    np.testing.assert_array_equal(
        cube.select((11, 1)).read(slice(0, 2), ALL), scene_files.values[:2, :, [11, 1]]
    )
    with pytest.raises(SceneError, match=r"bands \[12\]: the file has bands 0 to 11"):
        cube.select((12,))


def test_reading_copies(scene_files: SceneFiles, small_scene: Scene) -> None:
    small_scene.cube.read(ALL, ALL)[:] = 0
    np.testing.assert_array_equal(small_scene.cube.read(ALL, ALL), scene_files.values)


def test_a_pickled_cube_is_small_and_reopens_in_another_process(
    scene_files: SceneFiles, write_mat: WriteMat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_mat("scene.mat", cube=scene_files.values, gt=scene_files.truth)
    data = pickle.dumps(open_scene(_spec(path)).cube)
    assert len(data) < 1000
    elsewhere = tmp_path / "a node with its own cache"
    monkeypatch.setenv("ST_RAY_CACHE", str(elsewhere))
    program = (
        "import pickle, sys; cube = pickle.loads(bytes.fromhex(sys.argv[1])); "
        "print(int(cube.read(slice(0, 30), slice(0, 26)).sum()))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, data.hex()], capture_output=True, text=True, check=True
    )
    assert int(answer.stdout) == scene_files.values.sum()
    assert len(list((elsewhere / "unpacked").iterdir())) == 1


def test_a_mat_is_unpacked_once_and_again_when_it_changes(
    scene_files: SceneFiles, write_mat: WriteMat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("ST_RAY_CACHE", str(cache))
    path = write_mat("scene.mat", cube=scene_files.values, gt=scene_files.truth)
    for _ in range(2):
        open_scene(_spec(path))
    assert len(list(cache.rglob("*.npy"))) == 1
    write_mat("scene.mat", cube=scene_files.values[:, :, :7] + 1, gt=scene_files.truth)
    scene = open_scene(_spec(path))
    np.testing.assert_array_equal(
        scene.cube.read(ALL, ALL), scene_files.values[:, :, :7] + np.uint16(1)
    )


def test_a_cube_whose_file_is_gone_says_so(small_scene: Scene) -> None:
    cube = replace(small_scene.cube, path="/nowhere/cube.npy")
    with pytest.raises(SceneError, match=r"/nowhere/cube\.npy is not on machine"):
        cube.read(ALL, ALL)


def test_a_cube_of_the_registry_is_found_wherever_it_is_installed() -> None:
    cube = open_scene(SceneSpec()).cube
    moved = replace(cube, path="/another/node/site-packages/cube.npy")
    window = slice(0, 3)
    np.testing.assert_array_equal(moved.read(window, window), cube.read(window, window))


def test_a_damaged_matlab_73_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "scene.mat"
    # The 128-byte header of a MATLAB v7.3 file: text, version 0x0200, endian mark.
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF\r\n\x1a\n")
    assert f"cannot read {path}" in _error(_spec(path))


@pytest.mark.parametrize("name", ["cube.npy", "cube.npz", "cube.mat"])
def test_a_damaged_file_is_named(name: str, tmp_path: Path, scene_files: SceneFiles) -> None:
    (tmp_path / name).write_bytes(b"this is no array at all, whatever its name says" * 9)
    assert f"cannot read {tmp_path / name}" in _error(_spec(tmp_path / name, scene_files.labels))


def test_a_format_that_is_not_read_lists_those_that_are(
    scene_files: SceneFiles, tmp_path: Path
) -> None:
    (tmp_path / "cube.dat").write_bytes(b"0")
    message = _error(_spec(tmp_path / "cube.dat", scene_files.labels))
    assert "a .npy, .npz, .mat or HDF5 array, an ENVI file" in message
    assert message.count("cube.dat") == 1
    (tmp_path / "gt.bmp").write_bytes(b"0")
    assert ".tif" in _error(_spec(scene_files.cube, tmp_path / "gt.bmp"))


def test_missing_files_are_named(scene_files: SceneFiles, tmp_path: Path) -> None:
    assert "no such scene file" in _error(SceneSpec(name="missing.mat"))
    assert "no such file" in _error(_spec(scene_files.cube, tmp_path / "missing.npy"))


def test_an_unwritable_cache_names_the_variable_to_set(
    scene_files: SceneFiles, write_mat: WriteMat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("ST_RAY_CACHE", str(tmp_path / "file"))
    path = write_mat("scene.mat", cube=scene_files.values, gt=scene_files.truth)
    assert "ST_RAY_CACHE" in _error(_spec(path))


def test_an_unknown_policy_lists_the_known_ones() -> None:
    with pytest.raises(SceneError, match=r"scene.bad_bands: unknown policy 'keep'.*drop, error"):
        SceneSpec(bad_bands="keep")  # type: ignore[arg-type]


def test_a_file_cut_short_while_writing_never_appears(tmp_path: Path) -> None:
    def write_half() -> None:
        with replacing(tmp_path / "out.npy") as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert list(tmp_path.iterdir()) == []


def test_salinas_a_by_path_has_its_published_counts_and_names(shared_data: Path) -> None:
    folder = shared_data / "salinas_a"
    scene = open_scene(_spec(folder / "SalinasA_corrected.mat", folder / "SalinasA_gt.mat"))
    assert scene.cube.shape == (83, 86, 204)
    counts = {index: int((scene.labels == index).sum()) for index in scene.classes}
    assert counts == {1: 391, 10: 1343, 11: 616, 12: 1525, 13: 674, 14: 799}
    assert scene.class_names[10] == "Corn_senesced_green_weeds"
    assert scene.false_colour == (43, 21, 11)
    assert scene.cube.read(ALL, ALL).min() == -9


def test_indian_pines_by_path_equals_the_packaged_scene(shared_data: Path) -> None:
    folder = shared_data / "indian_pines_mat"
    by_path = open_scene(
        _spec(folder / "Indian_pines_corrected.mat", folder / "Indian_pines_gt.mat")
    )
    packaged = open_scene(SceneSpec())
    assert isinstance(packaged.cube, FileCube)
    np.testing.assert_array_equal(by_path.cube.read(ALL, ALL), packaged.cube.read(ALL, ALL))
    np.testing.assert_array_equal(by_path.labels, packaged.labels)
    assert by_path.class_names == packaged.class_names
