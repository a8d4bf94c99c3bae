"""A run on a scene as it comes: a broken ENVI header, labels as polygons in another CRS."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyogrio.raw
import pytest
import shapely
from rasterio.features import shapes
from rasterio.warp import transform_geom

from st_ray import Report
from st_ray.learn.bundle import load_bundle
from tests.rasters import CORNER, MAP_INFO, UTM, edit, wavelengths, write_envi, write_zarr

if TYPE_CHECKING:
    from tests.conftest import SceneFiles

StRay = Callable[..., tuple[int, str, str]]
QUICK = (
    "--workers", "0", "--epochs", "12", "--patch-size", "5", "--curriculum", "paper",
    "--set", "backbone_options.width=8", "--set", "cluster.threads=1",
)  # fmt: skip


@pytest.fixture
def field(scene_files: SceneFiles, tmp_path: Path) -> tuple[Path, Path]:
    """An ENVI scene with marked bands and a broken header; polygons with names."""
    header = write_envi(
        tmp_path / "scene.hdr", scene_files.values, interleave="bil", map_info=MAP_INFO,
        wavelength=wavelengths(12), wavelength_units="Nanometers",
        bbl=[0, *[1] * 10, 0],
    )  # fmt: skip
    edit(header, byte_order=None)
    names = {2: "corn", 5: "rye", 9: "soy"}
    truth = scene_files.truth
    found = list(shapes(truth, truth != 0, transform=CORNER))
    drawn = [transform_geom(UTM, "EPSG:4326", each) for each, _ in found]
    pyogrio.raw.write(
        tmp_path / "polygons.gpkg",
        geometry=shapely.to_wkb(np.array([shapely.geometry.shape(each) for each in drawn])),
        field_data=[np.array([names[int(value)] for _, value in found])],
        fields=["crop"],
        geometry_type="Polygon",
        crs="EPSG:4326",
    )
    return header, tmp_path / "polygons.gpkg"


def test_repairs_are_told_at_once_and_on_the_report(
    field: tuple[Path, Path], st_ray: StRay, tmp_path: Path
) -> None:
    header, labels = field
    code, out, err = st_ray("train", header, "--labels", labels, "--out", "run", *QUICK)
    assert (code, err) == (0, "")
    told = "scene.hdr: no byte order in the header; 0, least significant first, assumed"
    assert told in " ".join(out.partition("Starting up")[0].split())
    report = Report.load(tmp_path / "run" / "report.json")
    assert told in report.warnings
    assert "polygons.gpkg: the classes of 'crop' are numbered: 1 corn, 2 rye, 3 soy" in (
        report.warnings
    )
    assert [entry.name for entry in report.scene.classes] == ["corn", "rye", "soy"]
    assert {(each.band, each.reason) for each in report.scene.bands_dropped} == {
        (0, "marked bad in the header"),
        (11, "marked bad in the header"),
    }
    card = json.loads((tmp_path / "run" / "model" / "model.json").read_text())
    assert card["wavelengths"] == wavelengths(12)
    assert card["bands"] == list(range(1, 11))


def test_colours_of_a_classification_travel_into_the_bundle(
    scene_files: SceneFiles, st_ray: StRay, tmp_path: Path
) -> None:
    store = write_zarr(tmp_path / "scene.zarr", scene_files.values)
    labels = write_envi(
        tmp_path / "gt.hdr", scene_files.truth, classes=10, class_lookup=list(range(30))
    )
    code, _, err = st_ray("train", store.name, "--labels", labels, "--out", "run", *QUICK)
    assert (code, err) == (0, "")
    _, _, card = load_bundle(tmp_path / "run" / "model")
    assert card.class_colours == {2: (6, 7, 8), 5: (15, 16, 17), 9: (27, 28, 29)}
    spec = (tmp_path / "run" / "run.toml").read_text()
    assert str(store) in spec  # a store is found from anywhere
