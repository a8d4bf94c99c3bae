"""The forms of a map: what other programs read in them is what was predicted."""

from __future__ import annotations

import errno
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import zarr
from numpy.typing import NDArray
from PIL import Image
from rasterio.transform import Affine

from st_ray import (
    ClusterSpec,
    RunSpec,
    SceneSpec,
    TileSpec,
    TrainSpec,
    open_scene,
    predict_map,
    run_curriculum,
)
from st_ray.errors import OutputError
from st_ray.inference.layers import Layer, Legend, Made
from st_ray.inference.plain import write_png
from st_ray.inference.run import predict_maps
from st_ray.report.palette import class_colours
from st_ray.spectral.metadata import Grid
from tests.inference.conftest import one_pass

UTM = rasterio.crs.CRS.from_epsg(32616)
PLACE = Affine(20.0, 0.0, 500_010.0, 0.0, -20.0, 4_480_000.0)
NODATA = -9999


@dataclass(frozen=True)
class Ground:
    """A crop of Indian Pines as GDAL writes it, with a strip that was not measured."""

    values: NDArray[np.int16]
    images: dict[str, Path]
    run: Path

    @property
    def valid(self) -> NDArray[np.bool_]:
        return (self.values != NODATA).all(2)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """The crop as GeoTIFF and as ENVI, and a model that was trained on the first."""
    folder = tmp_path_factory.mktemp("ground")
    scene = open_scene(SceneSpec(name="indian_pines"))
    rows, cols = slice(20, 56), slice(20, 64)
    values = scene.cube.read(rows, cols).astype(np.int16)
    values[30:34, :9] = NODATA
    waves = "{" + ", ".join(f"{400 + 10 * band}" for band in range(200)) + "}"
    facts = {"count": 200, "height": 36, "width": 44, "dtype": "int16", "nodata": NODATA}
    images = {"GTiff": folder / "tiff.tif", "ENVI": folder / "envi.img"}
    for driver, path in images.items():
        with rasterio.open(path, "w", driver=driver, crs=UTM, transform=PLACE, **facts) as file:
            file.write(values.transpose(2, 0, 1))
            if driver == "ENVI":
                file.update_tags(ns="ENVI", wavelength=waves, wavelength_units="Nanometers")
    labels = {**facts, "count": 1, "dtype": "uint8", "nodata": 0}
    with rasterio.open(
        folder / "labels.tif", "w", driver="GTiff", crs=UTM, transform=PLACE, **labels
    ) as file:
        file.write(scene.labels[rows, cols].astype(np.uint8), 1)
    for driver, path in images.items():
        run_curriculum(
            RunSpec(
                scene=SceneSpec(name=str(path), labels=str(folder / "labels.tif")),
                tiles=TileSpec(side=16),
                backbone="resnet2d",
                backbone_options={"width": 8},
                curriculum="paper",
                patch_size=5,
                epochs=9,
                train=TrainSpec(batch_size=32),
                cluster=ClusterSpec(workers=0, device="cpu", threads=1),
                out=str(folder / driver),
                map=False,
            )
        )
    return Ground(values=values, images=images, run=folder)


@pytest.mark.parametrize("suffix", [".tif", ".img"])
@pytest.mark.parametrize("driver", ["GTiff", "ENVI"])
def test_a_scene_with_coordinates_gives_a_map_with_the_same(
    ground: Ground, driver: str, suffix: str, tmp_path
) -> None:
    model = ground.run / driver
    result = predict_map(model, ground.images[driver], tmp_path / f"map{suffix}")
    with rasterio.open(ground.images[driver]) as image, rasterio.open(result.place) as made:
        assert made.crs == image.crs == UTM
        assert made.transform == image.transform == PLACE
        assert made.shape == image.shape
        assert made.nodata == 0
        class_map = made.read(1)
    values = np.where(ground.valid[..., None], ground.values, np.nan)
    assert np.array_equal(class_map, np.where(ground.valid, one_pass(model, values), 0))
    assert (class_map[ground.valid] > 0).all()
    assert result.valid_pixels == ground.valid.sum() == 36 * 44 - 36


def test_wavelengths_travel_from_the_header_into_the_bundle(ground: Ground) -> None:
    card = json.loads((ground.run / "ENVI" / "model" / "model.json").read_text())
    assert card["wavelengths"] == [400.0 + 10 * band for band in range(200)]


def test_a_geotiff_is_cloud_optimised_and_tells_its_classes(ground: Ground, tmp_path) -> None:
    names = json.loads((ground.run / "GTiff" / "model" / "model.json").read_text())["class_names"]
    result = predict_map(
        ground.run / "GTiff", ground.images["GTiff"], tmp_path / "map.tif", probability=True
    )
    ids = [entry["id"] for entry in json.loads(Path(f"{result.place}.json").read_text())["classes"]]
    with rasterio.open(result.place) as made:
        assert made.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert made.profile["tiled"]
        assert made.dtypes == ("uint8",)
        colours = [made.colormap(1)[index][:3] for index in ids]
        assert colours == list(class_colours(len(ids)))
        assert [made.tags()[f"CLASS_{index}"] for index in ids] == names
        class_map = made.read(1)
    with rasterio.open(tmp_path / "map_probability.tif") as shares:
        assert shares.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert shares.descriptions == tuple(names)
        values = shares.read()
        assert np.isnan(shares.nodata)
    assert np.array_equal(np.isfinite(values).all(0), class_map > 0)
    assert np.array_equal(np.array(ids)[values.argmax(0)][ground.valid], class_map[ground.valid])


def test_an_envi_map_is_a_classification_whose_header_names_the_classes(
    ground: Ground, tmp_path
) -> None:
    result = predict_map(
        ground.run / "ENVI", ground.images["ENVI"], tmp_path / "map.hdr", confidence=True
    )
    assert result.place == str(tmp_path / "map.img")
    header = (tmp_path / "map.hdr").read_text()
    assert "file type = ENVI Classification" in header
    assert str(tmp_path) not in header  # such as the path of the draft
    import spectral.io.envi

    table = spectral.io.envi.read_envi_header(tmp_path / "map.hdr")
    card = json.loads((ground.run / "ENVI" / "model" / "model.json").read_text())
    named = {index: table["class names"][index] for index in card["classes"]}
    assert list(named.values()) == card["class_names"]
    assert table["class names"][0] == "Unclassified"
    with rasterio.open(tmp_path / "map_confidence.img") as confidence:
        values = confidence.read(1)
    assert np.array_equal(np.isfinite(values), ground.valid)


def test_a_zarr_map_opens_in_xarray_with_coordinates(ground: Ground, tmp_path) -> None:
    import xarray

    result = predict_map(
        ground.run / "GTiff", ground.images["GTiff"], tmp_path / "map.zarr", probability=True
    )
    with xarray.open_zarr(result.place) as made:
        assert made["classes"].dims == ("y", "x")
        assert made["probability"].dims == ("y", "x", "class")
        assert made["classes"].attrs["grid_mapping"] == "spatial_ref"
        assert rasterio.crs.CRS.from_wkt(made["spatial_ref"].attrs["crs_wkt"]) == UTM
        assert float(made["x"][0]) == PLACE.c + 10
        assert float(made["y"][0]) == PLACE.f - 10
        stored = zarr.open_array(f"{result.place}/classes", mode="r")[:]
        known = dict(
            zip(
                made["classes"].attrs["flag_values"],
                made["classes"].attrs["flag_meanings"].split(),
                strict=True,
            )
        )
    expected = predict_map(ground.run / "GTiff", ground.images["GTiff"], tmp_path / "map.npy")
    assert np.array_equal(stored, np.load(expected.place))
    assert set(np.unique(stored)) <= {0, *known}


def test_a_png_holds_the_ids_and_shows_their_colours(asked, in_memory, tmp_path) -> None:
    (result,) = predict_maps(replace(asked, out=str(tmp_path / "map.png")))
    with Image.open(result.place) as picture:
        assert np.array_equal(np.asarray(picture), in_memory)
        shown = np.asarray(picture.convert("RGB"))
    assert tuple(shown[0, 0]) == class_colours(3)[(2, 5, 9).index(in_memory[0, 0])]


def test_a_large_png_is_written_row_by_row(tmp_path) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 4, (900, 2500), np.uint8)
    values.tofile(tmp_path / "classes.raw")
    layer = Layer(
        name="classes",
        path=tmp_path / "classes.raw",
        shape=(900, 2500, 1),
        dtype="uint8",
        titles=("class",),
    )
    legend = Legend(ids=(1, 2, 3), names=("a", "b", "c"), colours=class_colours(3))
    write_png(Made(layers=(layer,), legend=legend, grid=None), tmp_path / "map.png")
    with Image.open(tmp_path / "map.png") as picture:
        assert np.array_equal(np.asarray(picture), values)


@pytest.mark.parametrize("suffix", [".tif", ".img", ".zarr", ".npy"])
def test_ids_beyond_255_and_names_with_commas_fit_and_no_grid_is_no_matter(
    asked, in_memory, suffix: str, tmp_path
) -> None:
    shutil.copytree(Path(asked.model) / "model", tmp_path / "many")
    card = tmp_path / "many" / "model.json"
    names = ["Corn, min {till}", "Maïs <&>", "c"]
    table = {**json.loads(card.read_text()), "classes": [2, 5, 900], "class_names": names}
    card.write_text(json.dumps(table))
    (result,) = predict_maps(
        replace(asked, model=str(tmp_path / "many"), out=str(tmp_path / f"map{suffix}"))
    )
    if suffix == ".zarr":
        stored = zarr.open_array(f"{result.place}/classes", mode="r")[:]
    elif suffix == ".npy":
        stored = np.load(result.place)
    else:
        with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
            made = rasterio.open(result.place)
        with made:
            stored = made.read(1)
            assert made.colormap(1)[900][:3] == class_colours(3)[2]
    assert stored.dtype == np.uint16
    assert np.array_equal(stored, np.where(in_memory == 9, 900, in_memory))
    if suffix == ".img":
        assert "Corn; min (till), " in (tmp_path / "map.hdr").read_text()


def test_ids_too_large_for_a_colour_table_are_kept(asked, in_memory, tmp_path) -> None:
    shutil.copytree(Path(asked.model) / "model", tmp_path / "huge")
    card = tmp_path / "huge" / "model.json"
    card.write_text(json.dumps({**json.loads(card.read_text()), "classes": [2, 5, 70_000]}))
    (result,) = predict_maps(
        replace(asked, model=str(tmp_path / "huge"), out=str(tmp_path / "map.tif"))
    )
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        made = rasterio.open(result.place)
    with made:
        assert np.array_equal(made.read(1), np.where(in_memory == 9, 70_000, in_memory))
        assert made.tags()["CLASS_70000"]


def test_coordinates_that_envi_cannot_hold_are_refused(asked, told, tmp_path) -> None:
    told(grid=Grid(crs=UTM.to_wkt(), transform=(20.0, 3.0, 5e5, 1.0, -20.0, 4e6)))
    with pytest.raises(OutputError, match=r"cannot hold the transform .*\.tif"):
        predict_maps(replace(asked, out=str(tmp_path / "map.img")))
    (result,) = predict_maps(replace(asked, out=str(tmp_path / "map.tif")))
    with rasterio.open(result.place) as made:
        assert tuple(made.transform)[:6] == (20.0, 3.0, 5e5, 1.0, -20.0, 4e6)


def test_a_missing_package_is_one_line_that_names_the_extra(asked, monkeypatch, tmp_path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "rasterio", None)
    with pytest.raises(OutputError, match=r"pip install 'st_ray\[geo\]'"):
        predict_maps(replace(asked, out=str(tmp_path / "map.tif")))
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_one_line_and_what_was_done_is_kept(asked, monkeypatch, tmp_path) -> None:
    def full(*unused: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("shutil.copyfileobj", full)
        with pytest.raises(OutputError, match=r"cannot write .*No space left.*--out") as caught:
            predict_maps(asked)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["map.npy.part"]
    (result,) = predict_maps(asked)
    assert result.predicted_pixels == 0
    assert result.valid_pixels == 30 * 26
