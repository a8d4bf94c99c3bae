"""What a file says beside its values: coordinates, scale, nodata, wavelengths, bad bands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
import rasterio

from st_ray.spectral.cube import FileCube
from st_ray.spectral.metadata import Grid
from st_ray.spectral.scene import Scene, SceneSpec, open_cube, open_scene
from tests.formats import Values
from tests.rasters import (
    CORNER,
    MAP_INFO,
    UTM,
    cf_dataset,
    wavelengths,
    write_envi,
    write_hdf5,
    write_tif,
)

if TYPE_CHECKING:
    from tests.conftest import SceneFiles


ALL = slice(None)
GRID = Grid(crs=rasterio.CRS.from_string(UTM).to_wkt(), transform=tuple(CORNER)[:6])


@pytest.fixture(scope="module")
def indian_pines() -> Scene:
    return open_scene(SceneSpec())


@pytest.mark.parametrize("name", ["geotiff", "envi", "netcdf"])
def test_indian_pines_with_coordinates_equals_the_original(
    name: str, indian_pines: Scene, tmp_path: Path
) -> None:
    values = indian_pines.cube.read(ALL, ALL).astype(np.uint16)
    centres = wavelengths(values.shape[2])
    names = [f"Band {band}" for band in range(200)]
    if name == "geotiff":
        path = write_tif(tmp_path / "ip.tif", values, centres=centres, nodata=0, tiled=True)
    elif name == "envi":
        more = {"wavelength": centres, "wavelength_units": "Nanometers", "band_names": names}
        path = write_envi(tmp_path / "ip.hdr", values, interleave="bil", map_info=MAP_INFO, **more)
    else:
        cf_dataset(values).to_netcdf(tmp_path / "ip.nc", engine="h5netcdf")
        path = tmp_path / "ip.nc"
    cube, notes = open_cube(SceneSpec(name=str(path)))
    assert notes == ()
    np.testing.assert_array_equal(cube.read(ALL, ALL), values)
    assert cube.meta.wavelengths == tuple(centres)
    assert cube.meta.grid is not None
    np.testing.assert_allclose(cube.meta.grid.transform, GRID.transform)
    assert rasterio.CRS.from_wkt(cube.meta.grid.crs) == rasterio.CRS.from_string(UTM)
    assert cube.meta.band_names == (tuple(names) if name == "envi" else ())


def _coordinates(path: Path, values: Values, change: Callable[[Any], Any]) -> Grid | None:
    change(cf_dataset(values)).to_netcdf(path, engine="h5netcdf")
    return open_cube(SceneSpec(name=str(path)))[0].meta.grid


def test_coordinates_of_netcdf_come_from_its_axes(scene_files: SceneFiles, tmp_path: Path) -> None:
    values = scene_files.values
    degrees = {
        "lat": ("y", np.linspace(40.5, 40.21, 30), {"units": "degrees_north"}),
        "lon": ("x", np.linspace(-87, -86.75, 26), {"units": "degrees_east"}),
    }
    grid = _coordinates(
        tmp_path / "degrees.nc",
        values,
        lambda it: (
            it.drop_vars(["x", "y", "spatial_ref"])
            .assign_coords(degrees)
            .swap_dims(x="lon", y="lat")
        ),
    )
    assert grid is not None
    assert rasterio.CRS.from_wkt(grid.crs).to_epsg() == 4326
    np.testing.assert_allclose(grid.transform, (0.01, 0, -87.005, 0, -0.01, 40.505))
    uneven = CORNER.c + np.arange(26.0) ** 1.5
    assert _coordinates(tmp_path / "a.nc", values, lambda it: it.assign_coords(x=uneven)) is None
    # Over many pixels a step that grows by little lies apart by whole pixels at the end.
    long = np.repeat(values, 40, axis=1)
    centres = CORNER.c + 20.0 * np.arange(26 * 40)
    creeping = centres + 1e-5 * (centres - CORNER.c) ** 2
    for name, x, known in (
        ("long", centres.astype(np.float32), True),
        ("creeping", creeping, False),
    ):
        found = _coordinates(tmp_path / f"{name}.nc", long, lambda it, x=x: it.assign_coords(x=x))
        assert (found is not None) == known
    bare = _coordinates(tmp_path / "b.nc", values, lambda it: it.drop_vars(["x", "y"]))
    assert bare is None
    south_up = _coordinates(tmp_path / "c.nc", values, lambda it: it.isel(y=slice(None, None, -1)))
    assert south_up is not None
    assert south_up.transform[4:] == (20, CORNER.f - 600)


def test_the_picture_shows_red_green_and_blue_where_wavelengths_are_known(
    scene_files: SceneFiles, tmp_path: Path
) -> None:
    centres = [900, 650, 640, 600, 560, 545, 500, 470, 455, 400, 1500, 2000]
    tif = write_tif(tmp_path / "a.tif", scene_files.values, centres=centres)
    spec = SceneSpec(name=str(tif), labels=str(scene_files.labels))
    assert open_scene(spec).false_colour == (2, 5, 8)
    infrared = write_tif(
        tmp_path / "b.tif", scene_files.values, centres=[each + 900 for each in centres]
    )
    spec = SceneSpec(name=str(infrared), labels=str(scene_files.labels))
    assert open_scene(spec).false_colour == (9, 6, 3)


STORED = np.array([[[100, 200], [-9999, 300]]], dtype=np.int16)
SCALED = np.array([[[2.0, 3.0], [np.nan, 4.0]]], dtype=np.float32)


def _scaled_tif(path: Path) -> Path:
    write_tif(path, STORED, nodata=-9999)
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (0.01, 0.01), (1, 1)
    return path


def _scaled_netcdf(path: Path) -> Path:
    dataset = cf_dataset(STORED)
    dataset["reflectance"].attrs |= {"scale_factor": 0.01, "add_offset": 1.0}
    dataset["reflectance"].attrs["missing_value"] = np.int16(-9999)
    if path.suffix == ".zarr":
        dataset.to_zarr(path, consolidated=False)
    else:
        dataset.to_netcdf(path, engine="h5netcdf")
    return path


@pytest.mark.parametrize(
    ("file", "write"),
    [
        ("a.tif", _scaled_tif),
        ("a.nc", _scaled_netcdf),
        ("a.zarr", _scaled_netcdf),
        (
            "a.h5",
            lambda path: write_hdf5(
                path, {"scale_factor": 0.01, "add_offset": 1.0, "_FillValue": -9999}, cube=STORED
            ),
        ),
        (
            "a.hdr",
            lambda path: write_envi(
                path,
                STORED,
                data_ignore_value=-9999,
                reflectance_scale_factor=100,
                data_offset_values=[100, 100],
            ),
        ),
    ],
)
def test_scale_offset_and_nodata_of_the_file_are_applied(
    file: str, write: Callable[[Path], Path], tmp_path: Path
) -> None:
    path = str(write(tmp_path / file))
    cube, _ = open_cube(SceneSpec(name=path))
    assert cube.meta.nodata == -9999
    np.testing.assert_allclose(cube.read(ALL, ALL), SCALED, rtol=1e-6)
    np.testing.assert_allclose(cube.select((1,)).read(ALL, ALL), SCALED[:, :, 1:], rtol=1e-6)
    other, _ = open_cube(SceneSpec(name=path, nodata=300))  # as it is stored, not as it is read
    read = other.read(ALL, ALL)
    assert np.isnan(read[0, 1, 1])
    assert not np.isnan(read[0, 1, 0])
    none, _ = open_cube(SceneSpec(name=path, nodata=float("nan")))
    assert not np.isnan(none.read(ALL, ALL)).any()


def test_each_band_has_its_own_scale(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", STORED)
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (2, 0.5), (0, 1)
    cube, _ = open_cube(SceneSpec(name=str(path)))
    np.testing.assert_array_equal(cube.read(ALL, ALL)[0, 0], [200, 101])
    np.testing.assert_array_equal(cube.select((1,)).read(ALL, ALL)[0, 0], [101])


def test_nan_as_the_nodata_of_all_bands_is_one_value(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", STORED.astype(np.float32), nodata=float("nan"))
    cube, notes = open_cube(SceneSpec(name=str(path)))
    assert notes == ()
    assert cube.meta.nodata is not None
    assert np.isnan(cube.meta.nodata)


def test_a_value_that_a_type_cannot_hold_is_never_nodata(scene_files: SceneFiles) -> None:
    for nodata in (-9999.0, 1e40, 0.5, float("inf")):
        cube = FileCube(path=str(scene_files.cube), key="", file_shape=(30, 26, 12), nodata=nodata)
        assert not np.isnan(cube.read(ALL, ALL)).any()


ENMAP = """<?xml version="1.0"?><level_X><specific><bandCharacterisation>{}
</bandCharacterisation></specific></level_X>"""
_BAND = '<bandID number="{}"><wavelengthCenterOfBand>{}</wavelengthCenterOfBand></bandID>'


def test_the_bands_of_an_enmap_scene_have_wavelengths(
    scene_files: SceneFiles, tmp_path: Path
) -> None:
    name = "ENMAP01-____L2A-DT0000001049_20220612T105735Z_028_V010303_20230922T131826Z"
    path = write_tif(tmp_path / f"{name}-SPECTRAL_IMAGE.TIF", scene_files.values, nodata=-32768,
                     dtype="int16")  # fmt: skip
    bands = "".join(_BAND.format(band, 418.416 + 5 * band) for band in range(12))
    (tmp_path / f"{name}-METADATA.XML").write_text(ENMAP.format(bands))
    cube, _ = open_cube(SceneSpec(name=str(path)))
    assert cube.meta.wavelengths[:2] == (418.416, 423.416)
    assert cube.meta.nodata == -32768
    (tmp_path / f"{name}-METADATA.XML").write_text("<broken")
    assert open_cube(SceneSpec(name=str(path)))[0].meta.wavelengths == ()


@pytest.mark.parametrize(
    "tags",
    [
        [{"wavelength": str(w), "wavelength_units": "Micrometers"} for w in (0.45, 0.55)],
        [{"WAVELENGTH": "450"}, {"WAVELENGTH": "550"}],
        [{"Wavelength_nm": "450.0"}, {"Wavelength_nm": "550.0"}],
    ],
)
def test_wavelengths_come_from_tags(tags: list[dict[str, str]], tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", STORED)
    with rasterio.open(path, "r+") as file:
        for band, each in enumerate(tags, 1):
            file.update_tags(band, **each)
    assert open_cube(SceneSpec(name=str(path)))[0].meta.wavelengths == (450, 550)


def test_wavelengths_come_from_band_names_and_variables(
    scene_files: SceneFiles, tmp_path: Path, write_mat: Callable[..., Path]
) -> None:
    path = write_tif(tmp_path / "a.tif", STORED)
    with rasterio.open(path, "r+") as file:
        file.descriptions = ("Band 1 (0.45 um)", "Band 2 (550.0 Nanometers)")
    meta = open_cube(SceneSpec(name=str(path)))[0].meta
    assert meta.wavelengths == (450, 550)
    assert meta.band_names == ("Band 1 (0.45 um)", "Band 2 (550.0 Nanometers)")
    centres = np.linspace(0.4, 2.5, 12)
    mat = write_mat("a.mat", cube=scene_files.values, Wavelength=centres)
    found = open_cube(SceneSpec(name=str(mat)))[0].meta.wavelengths
    np.testing.assert_allclose(found, 1000 * centres, atol=1e-5)


def test_emit_keeps_wavelengths_and_flags_in_a_group(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "EMIT.nc", "w") as file:
        for axis, size in (("downtrack", 3), ("crosstrack", 4), ("bands", 5)):
            file[axis] = np.zeros(size)
            file[axis].make_scale(axis)
        file["reflectance"] = np.ones((3, 4, 5), "f4")
        group = file.create_group("sensor_band_parameters")
        group["wavelengths"] = np.linspace(400, 800, 5)
        group["good_wavelengths"] = np.array([1, 1, 0, 1, 1], "f4")
        for axis, name in enumerate(("downtrack", "crosstrack", "bands")):
            file["reflectance"].dims[axis].attach_scale(file[name])
        for name in ("wavelengths", "good_wavelengths"):
            group[name].attrs["units"] = "nm" if name == "wavelengths" else "1"
            group[name].dims[0].attach_scale(file["bands"])
    cube, notes = open_cube(SceneSpec(name=str(tmp_path / "EMIT.nc")))
    assert cube.shape == (3, 4, 5)
    assert cube.meta.wavelengths == (400, 500, 600, 700, 800)
    assert cube.meta.bad_bands == (2,)
    assert notes == ()
