"""Cubes of every format: what was saved is read, window by window, with what the file says."""

from __future__ import annotations

import pickle
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
import rasterio
import zarr
from numpy.typing import NDArray
from scipy.io import savemat

from st_ray.errors import SceneError
from st_ray.spectral.cube import FileCube
from st_ray.spectral.metadata import Grid
from st_ray.spectral.scene import Scene, SceneSpec, open_cube, open_scene
from tests.rasters import (
    CORNER,
    MAP_INFO,
    UTM,
    cf_dataset,
    wavelengths,
    write_envi,
    write_hdf5,
    write_mat73,
    write_netcdf,
    write_plain_zarr,
    write_tif,
    write_zarr,
)

if TYPE_CHECKING:
    from tests.conftest import SceneFiles

ALL = slice(None)
Values = NDArray[np.generic]
Write = Callable[[Path, Values], Path]


def _save(path: Path, values: Values) -> Path:
    np.save(path, values)
    return path


def _savez(path: Path, values: Values) -> Path:
    np.savez_compressed(path, cube=values)
    return path


def _savemat(path: Path, values: Values) -> Path:
    savemat(path, {"cube": values})
    return path


def _pixels(values: Values) -> Values:
    """(B, N) with the pixels down the columns, as MATLAB's reshape gives them."""
    return values.transpose(1, 0, 2).reshape(-1, values.shape[2]).T


FORMATS: dict[str, tuple[str, Write]] = {
    "npy": ("a.npy", _save),
    "npy, columns fastest": ("a.npy", lambda p, v: _save(p, np.asfortranarray(v))),
    "npy, bands first": ("a.npy", lambda p, v: _save(p, v.transpose(2, 0, 1))),
    "npy, lines of bands": ("a.npy", lambda p, v: _save(p, v.transpose(0, 2, 1))),
    "npy, bands x pixels": ("a.npy", lambda p, v: _save(p, v.reshape(-1, v.shape[2]).T.copy())),
    "npy, turned": ("a.npy", lambda p, v: _save(p, v.reshape(-1, v.shape[2]).T)),
    "npy, pixels x bands": ("a.npy", lambda p, v: _save(p, v.reshape(-1, v.shape[2]))),
    "npz": ("a.npz", _savez),
    "mat": ("a.mat", _savemat),
    "mat, bands x pixels": ("a.mat", lambda p, v: _savemat(p, _pixels(v))),
    "mat, pixels x bands": ("a.mat", lambda p, v: _savemat(p, _pixels(v).T)),
    "mat 7.3": ("a.mat", lambda p, v: write_mat73(p, cube=v)),
    "mat 7.3, bands first": ("a.mat", lambda p, v: write_mat73(p, cube=v.transpose(2, 0, 1))),
    "mat 7.3, bands x pixels": ("a.mat", lambda p, v: write_mat73(p, cube=_pixels(v))),
    "mat 7.3, pixels x bands": ("a.mat", lambda p, v: write_mat73(p, cube=_pixels(v).T)),
    "hdf5": ("a.h5", lambda p, v: write_hdf5(p, cube=v)),
    "hdf5 in a group": ("a.he5", lambda p, v: write_hdf5(p, **{"deep/cube": v})),
    "hdf5, bands first": ("a.hdf5", lambda p, v: write_hdf5(p, cube=v.transpose(2, 0, 1))),
    "hdf5, bands x pixels": (
        "a.h5",
        lambda p, v: write_hdf5(p, cube=v.reshape(-1, v.shape[2]).T),
    ),
    "hdf5 without a suffix": ("a", lambda p, v: write_hdf5(p, cube=v)),
    "envi bsq": ("a.hdr", write_envi),
    "envi bil": ("a.hdr", lambda p, v: write_envi(p, v, interleave="bil", ext=".img")),
    "envi bip, big-endian": (
        "a.hdr",
        lambda p, v: write_envi(p, v, interleave="bip", ext="", byteorder=1),
    ),
    "envi by its data": (
        "a.hdr",
        lambda p, v: write_envi(p, v, interleave="bil", ext=".raw").with_suffix(".raw"),
    ),
    "geotiff": ("a.tif", write_tif),
    "geotiff, tiled": (
        "a.tif",
        lambda p, v: write_tif(p, v, tiled=True, blockxsize=16, blockysize=16, interleave="pixel"),
    ),
    "erdas imagine": ("a.img", lambda p, v: write_tif(p, v, driver="HFA")),
    "netcdf": ("a.nc", write_netcdf),
    "netcdf, bands first": ("a.nc", lambda p, v: write_netcdf(p, v, "wavelength", "y", "x")),
    "netcdf, columns first": ("a.nc4", lambda p, v: write_netcdf(p, v, "x", "wavelength", "y")),
    "netcdf 3": ("a.nc", lambda p, v: write_netcdf(p, v.astype("i4"), engine="scipy")),
    "zarr": ("a.zarr", write_zarr),
    "zarr, a plain array": ("a.zarr", write_plain_zarr),
}


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
    path = _savez(tmp_path / "a.npz", scene_files.values)
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=1000))
    message = _error(path)
    assert "it says that it holds 1.88e-05 GB, and 1e-06 GB are free" in message
    assert "ST_RAY_CACHE" in message


def test_an_archive_is_unpacked_without_having_it_in_memory(tmp_path: Path) -> None:
    values = np.zeros((400, 300, 100), np.uint16)
    values[7, 8] = np.arange(100)
    path = _savez(tmp_path / "a.npz", values)
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
