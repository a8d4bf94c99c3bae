"""Labels from rasters, on other grids too."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine
from rasterio.warp import reproject, transform

from st_ray.errors import SceneError
from st_ray.spectral.scene import SceneSpec, open_scene
from tests.rasters import (
    CORNER,
    MAP_INFO,
    UTM,
    write_envi,
    write_hdf5,
    write_mat73,
    write_tif,
    write_zarr,
)
from tests.vectors import OTHERS, label_error, open_labelled

if TYPE_CHECKING:
    from tests.conftest import SceneFiles


def test_a_raster_on_the_scenes_own_grid_is_taken_as_it_is(
    tif: Path, scene_files: SceneFiles, tmp_path: Path
) -> None:
    scene = open_labelled(tif, write_tif(tmp_path / "gt.tif", scene_files.truth))
    np.testing.assert_array_equal(scene.labels, scene_files.truth)
    assert scene.notes == ()


def test_a_raster_of_the_same_crs_and_other_borders_is_laid_over_the_scene(
    tif: Path, scene_files: SceneFiles, tmp_path: Path
) -> None:
    wide = np.pad(scene_files.truth, 5, constant_values=3)
    path = write_tif(tmp_path / "gt.tif", wide, transform=CORNER @ Affine.translation(-5, -5))
    scene = open_labelled(tif, path)
    np.testing.assert_array_equal(scene.labels, scene_files.truth)
    assert scene.notes == (
        "gt.tif: warped to the scene's pixels by nearest neighbour, from 40 x 36 pixels of its own",
    )
    fine = scene_files.truth.repeat(3, axis=0).repeat(3, axis=1)
    path = write_tif(tmp_path / "fine.tif", fine, transform=CORNER @ Affine.scale(1 / 3))
    np.testing.assert_array_equal(open_labelled(tif, path).labels, scene_files.truth)
    part = write_tif(tmp_path / "part.tif", scene_files.truth[:14])
    np.testing.assert_array_equal(open_labelled(tif, part).labels[:14], scene_files.truth[:14])
    assert not open_labelled(tif, part).labels[14:].any()


@pytest.mark.parametrize("crs", OTHERS)
def test_a_raster_in_another_crs_is_warped_by_nearest_neighbour(
    crs: str, tif: Path, scene_files: SceneFiles, tmp_path: Path
) -> None:
    height, width = scene_files.truth.shape
    corners = [CORNER @ (col, row) for col in (0, width) for row in (0, height)]
    xs, ys = transform(UTM, crs, *zip(*corners, strict=True))
    left, top, wide, high = min(xs), max(ys), max(xs) - min(xs), max(ys) - min(ys)
    fine = Affine(wide / 300, 0, left, 0, -high / 300, top)
    other = np.zeros((300, 300), np.uint8)
    reproject(
        scene_files.truth, other, src_transform=CORNER, src_crs=UTM,
        dst_transform=fine, dst_crs=crs, tolerance=0,
    )  # fmt: skip
    path = write_tif(tmp_path / "gt.tif", other, crs=crs, transform=fine)
    np.testing.assert_array_equal(open_labelled(tif, path).labels, scene_files.truth)


def test_a_raster_elsewhere_is_refused(tif: Path, scene_files: SceneFiles, tmp_path: Path) -> None:
    path = write_tif(
        tmp_path / "gt.tif", scene_files.truth, transform=Affine(20, 0, 900_000, 0, -20, 4_000_000)
    )
    assert "no labelled pixel lies in the scene; check that both have" in label_error(tif, path)


def test_without_coordinates_on_both_sides_the_shape_decides(
    tif: Path, scene_files: SceneFiles, tmp_path: Path
) -> None:
    bare = write_tif(tmp_path / "bare.tif", scene_files.truth, crs=None)
    np.testing.assert_array_equal(open_labelled(tif, bare).labels, scene_files.truth)
    np.testing.assert_array_equal(open_labelled(scene_files.cube, bare).labels, scene_files.truth)
    small = write_tif(tmp_path / "small.tif", scene_files.truth[:-1])
    assert "(29, 26) does not fit the scene's (30, 26)" in label_error(scene_files.cube, small)
    np.save(tmp_path / "small.npy", scene_files.truth[:-1])
    assert "(29, 26) does not fit" in label_error(tif, tmp_path / "small.npy")


def test_nodata_of_a_label_raster_is_unlabelled(
    tif: Path, scene_files: SceneFiles, tmp_path: Path
) -> None:
    marked = np.where(scene_files.truth == 0, np.int16(-1), scene_files.truth.astype(np.int16))
    path = write_tif(tmp_path / "gt.tif", marked, nodata=-1)
    np.testing.assert_array_equal(open_labelled(tif, path).labels, scene_files.truth)
    gaps = np.where(scene_files.truth == 0, np.float32(np.nan), scene_files.truth)
    path = write_tif(tmp_path / "gaps.tif", gaps.astype(np.float32), nodata=float("nan"))
    np.testing.assert_array_equal(open_labelled(tif, path).labels, scene_files.truth)


def test_an_envi_classification_keeps_names_colours_and_coordinates(
    tif: Path, scene_files: SceneFiles, tmp_path: Path
) -> None:
    names = ["Unclassified", "a", "wood", "c", "d", "field", "f", "g", "h", "water"]
    lookup = [0, 0, 0, *range(1, 28)]
    header = write_envi(
        tmp_path / "gt.hdr", np.pad(scene_files.truth, ((0, 0), (0, 4))), classes=10,
        class_names=names, class_lookup=lookup, map_info=MAP_INFO, file_type="ENVI Classification",
    )  # fmt: skip
    scene = open_labelled(tif, header)
    np.testing.assert_array_equal(scene.labels, scene_files.truth)
    assert scene.class_names == {2: "wood", 5: "field", 9: "water"}
    assert scene.class_colours == {2: (4, 5, 6), 5: (13, 14, 15), 9: (25, 26, 27)}
    less = open_scene(replace(SceneSpec(name=str(tif), labels=str(header)), ignore_classes=(5,)))
    assert set(less.class_colours) == {2, 9}


def test_a_geotiff_keeps_its_colour_table_and_category_names(
    tif: Path, scene_files: SceneFiles, tmp_path: Path
) -> None:
    path = write_tif(tmp_path / "gt.tif", scene_files.truth)
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {2: (255, 0, 0), 5: (0, 255, 0, 255), 9: (0, 0, 255)})
    categories = "".join(f"<Category>{name}</Category>" for name in ["", "", "corn", "", "", "oat"])
    (tmp_path / "gt.tif.aux.xml").write_text(
        f'<PAMDataset><PAMRasterBand band="1"><CategoryNames>{categories}</CategoryNames>'
        "</PAMRasterBand></PAMDataset>"
    )
    scene = open_labelled(tif, path)
    assert scene.class_colours == {2: (255, 0, 0), 5: (0, 255, 0), 9: (0, 0, 255)}
    assert scene.class_names == {2: "corn", 5: "oat", 9: "class 9"}


def test_a_picture_without_coordinates_needs_no_extra(
    scene_files: SceneFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tif(tmp_path / "gt.tif", scene_files.truth)
    monkeypatch.setitem(sys.modules, "rasterio", None)
    np.testing.assert_array_equal(open_labelled(scene_files.cube, path).labels, scene_files.truth)


def test_a_folder_holds_no_labels(tif: Path, scene_files: SceneFiles, tmp_path: Path) -> None:
    assert "expected a file, found a folder" in label_error(tif, tmp_path)
    store = write_zarr(tmp_path / "a.zarr", scene_files.values)
    with pytest.raises(
        SceneError, match="no labels were given, .*; give the labels with --labels FILE"
    ):
        open_scene(SceneSpec(name=str(store)))


def test_a_raster_of_several_bands_is_no_label_raster(
    tif: Path, scene_files: SceneFiles, tmp_path: Path
) -> None:
    path = write_tif(tmp_path / "gt.tif", np.stack([scene_files.truth] * 3, axis=2))
    assert (
        "expected a label raster of 2 dimensions (rows, columns), found (30, 26, 3)"
        in label_error(tif, path)
    )
    header = write_envi(tmp_path / "gt.hdr", np.stack([scene_files.truth] * 2, axis=2))
    assert "found (30, 26, 2)" in label_error(tif, header)


def test_labels_of_a_matlab_73_file_and_of_hdf5(scene_files: SceneFiles, tmp_path: Path) -> None:
    path = write_mat73(tmp_path / "a.mat", cube=scene_files.values, gt=scene_files.truth)
    scene = open_scene(SceneSpec(name=str(path)))
    np.testing.assert_array_equal(scene.labels, scene_files.truth)
    np.testing.assert_array_equal(scene.cube.read(slice(2), slice(3)), scene_files.values[:2, :3])
    hdf5 = write_hdf5(tmp_path / "gt.h5", noise=scene_files.truth + 0.5, gt=scene_files.truth)
    np.testing.assert_array_equal(open_labelled(scene_files.cube, hdf5).labels, scene_files.truth)
