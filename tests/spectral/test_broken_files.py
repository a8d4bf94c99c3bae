"""Files that cannot be read as a cube: one line with the remedy."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from st_ray.errors import SceneError
from st_ray.spectral.scene import SceneSpec, open_cube
from tests.formats import FORMATS, save_npz
from tests.rasters import cf_dataset, write_hdf5, write_tif

if TYPE_CHECKING:
    from tests.conftest import SceneFiles


ALL = slice(None)


def _error(path: Path, **more: object) -> str:
    with pytest.raises(SceneError) as caught:
        open_cube(SceneSpec(name=str(path), **more))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_cut_short_is_named(name: str, scene_files: SceneFiles, tmp_path: Path) -> None:
    file, write = FORMATS[name]
    path = write(tmp_path / file, scene_files.values)
    if path.is_dir():
        (path / "zarr.json").write_text((path / "zarr.json").read_text()[:40])
    else:
        data = next(p for p in tmp_path.iterdir() if p.suffix != ".hdr")
        data.write_bytes(data.read_bytes()[: data.stat().st_size // 3])
    with pytest.raises(SceneError) as caught:
        open_cube(SceneSpec(name=str(path)))[0].read(ALL, ALL)
    assert path.stem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_several_variables_are_listed(scene_files: SceneFiles, tmp_path: Path) -> None:
    values = scene_files.values
    hdf5 = write_hdf5(tmp_path / "a.h5", raw=values, corrected=values[:, :, :5])
    assert "say which with --set scene.cube_key=NAME" in _error(hdf5)
    assert open_cube(SceneSpec(name=str(hdf5), cube_key="raw"))[0].shape == (30, 26, 12)
    dataset = cf_dataset(values)
    dataset["noise"] = dataset["reflectance"] * 2
    dataset.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    message = _error(tmp_path / "a.nc")
    assert "noise ('y', 'x', 'wavelength')" in message
    assert "scene.cube_key=NAME" in message
    key = {"cube_key": "noise"}
    assert open_cube(SceneSpec(name=str(tmp_path / "a.nc"), **key))[0].shape == (30, 26, 12)
    assert "did you mean 'noise'" in _error(tmp_path / "a.nc", cube_key="nois")
    assert "without keys" in _error(write_tif(tmp_path / "a.tif", values), cube_key="noise")


def test_images_inside_a_raster_are_listed(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    for name, each in (("first", values), ("second", 255 - values)):
        write_tif(
            tmp_path / "a.gpkg", each, driver="GPKG", raster_table=name, tile_format="PNG",
            append_subdataset=name == "second",
        )  # fmt: skip
    path = tmp_path / "a.gpkg"
    message = _error(path)
    assert "holds several images: first, second; say which with --set scene.cube_key" in message
    cube, _ = open_cube(SceneSpec(name=str(path), cube_key="second"))
    np.testing.assert_array_equal(cube.read(ALL, ALL)[..., :3], 255 - values)
    assert "holds several images" in _error(path, cube_key="third")


def test_a_header_beside_a_geotiff_is_not_its_own(scene_files: SceneFiles, tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", scene_files.values)
    (tmp_path / "a.hdr").write_text("ENVI\nsamples = 3\nlines = 4\nfile type = TIFF\n")
    assert open_cube(SceneSpec(name=str(path)))[0].shape == (30, 26, 12)


def test_an_archive_that_claims_more_than_the_disk_has_is_refused(
    scene_files: SceneFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_npz(tmp_path / "a.npz", scene_files.values)
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=1000))
    message = _error(path)
    assert "it says that it holds 1.88e-05 GB, and 1e-06 GB are free" in message
    assert "ST_RAY_CACHE" in message


def test_an_archive_is_unpacked_without_having_it_in_memory(tmp_path: Path) -> None:
    values = np.zeros((400, 300, 100), np.uint16)
    values[7, 8] = np.arange(100)
    path = save_npz(tmp_path / "a.npz", values)
    tracemalloc.start()
    cube, _ = open_cube(SceneSpec(name=str(path)))
    window = cube.read(slice(7, 8), slice(8, 9))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(window[0, 0], np.arange(100))
    assert peak < values.nbytes


def test_other_folders_and_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert "is a folder" in _error(tmp_path / "folder")
    (tmp_path / "text.txt").write_text("no raster")
    assert "a cube is a .npy" in _error(tmp_path / "text.txt")
    complex_tif = write_tif(tmp_path / "c.tif", np.ones((3, 4, 2), np.complex64))
    assert "expected real numbers, found values of type complex64" in _error(complex_tif)


@pytest.mark.parametrize(
    ("module", "file", "extra"),
    [
        ("rasterio", "geotiff", "geo"),
        ("h5py", "hdf5", "hdf5"),
        ("xarray", "netcdf", "netcdf"),
        ("zarr", "zarr", "netcdf"),
        ("h5netcdf", "netcdf", "netcdf"),
    ],
)
def test_a_missing_package_names_its_extra(
    module: str,
    file: str,
    extra: str,
    scene_files: SceneFiles,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name, write = FORMATS[file]
    path = write(tmp_path / name, scene_files.values)
    monkeypatch.setitem(__import__("sys").modules, module, None)
    message = _error(path)
    assert f"needs the package {module}, which is not installed" in message
    assert message.endswith(f"run: pip install 'st_ray[{extra}]'")
