"""Labels from files with coordinates: rasters on other grids, polygons and points."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyogrio.raw
import pytest
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.features import shapes
from rasterio.transform import Affine
from rasterio.warp import reproject, transform
from shapely.geometry import shape

from st_ray.errors import SceneError
from st_ray.spectral.scene import Scene, SceneSpec, open_scene
from st_ray.spectral.split import SplitSpec, split_labels
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

if TYPE_CHECKING:
    from tests.conftest import SceneFiles

OTHERS = ["EPSG:4326", "EPSG:32617", "EPSG:3857"]


@pytest.fixture(scope="module")
def tif(scene_files: SceneFiles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small scene with coordinates."""
    return write_tif(tmp_path_factory.mktemp("scene") / "a.tif", scene_files.values)


def _open(cube: Path, labels: Path, **more: Any) -> Scene:
    return open_scene(SceneSpec(name=str(cube), labels=str(labels), **more))


def _error(cube: Path, labels: Path, **more: Any) -> str:
    with pytest.raises(SceneError) as caught:
        _open(cube, labels, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def polygons(truth: NDArray[np.generic]) -> tuple[list[Any], list[int]]:
    """Outlines of the regions of equal class, and the class of each."""
    found = list(shapes(truth, truth != 0, transform=CORNER))
    return [shape(each) for each, _ in found], [int(value) for _, value in found]


def write_vector(
    path: Path,
    features: Sequence[Any],
    crs: str | None = UTM,
    written_in: str | None = None,
    **fields: Sequence[Any],
) -> Path:
    """A vector file of features in one CRS, written in another."""
    drawn = np.array(features, dtype=object)
    if written_in:
        drawn = shapely.transform(
            drawn, lambda xy: np.column_stack(transform(crs, written_in, xy[:, 0], xy[:, 1]))
        )
    pyogrio.raw.write(
        path,
        geometry=shapely.to_wkb(drawn),
        field_data=[np.array(values) for values in fields.values()],
        fields=list(fields),
        geometry_type="Unknown" if len({each.geom_type for each in features}) > 1
        else features[0].geom_type,
        crs=written_in or crs,
    )  # fmt: skip
    return path


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".shp", ".fgb"])
@pytest.mark.parametrize("crs", [None, *OTHERS])
def test_polygons_in_any_crs_give_the_raster_they_were_drawn_from(
    suffix: str, crs: str | None, tif: Path, scene_files: SceneFiles, tmp_path: Path
) -> None:
    drawn, classes = polygons(scene_files.truth)
    path = write_vector(tmp_path / f"gt{suffix}", drawn, written_in=crs, label=classes)
    scene = _open(tif, path)
    np.testing.assert_array_equal(scene.labels, scene_files.truth)
    assert scene.class_names == {2: "class 2", 5: "class 5", 9: "class 9"}


@pytest.mark.parametrize("crs", OTHERS)
def test_polygons_of_indian_pines_give_the_same_training_pixels(crs: str, tmp_path: Path) -> None:
    original = open_scene(SceneSpec())
    values = original.cube.read(slice(None), slice(None))[:, :, :3].astype(np.uint16)
    cube = write_tif(tmp_path / "ip.tif", values)
    drawn, classes = polygons(original.labels)
    path = write_vector(tmp_path / "ip.gpkg", drawn, written_in=crs, **{"class": classes})
    scene = _open(cube, path)
    np.testing.assert_array_equal(scene.labels, original.labels)
    spec = SplitSpec()
    split, expected = (split_labels(each.labels, spec, 0, 11) for each in (scene, original))
    np.testing.assert_array_equal(split.parts, expected.parts)


def test_points_label_the_pixel_they_lie_in(
    tif: Path, scene_files: SceneFiles, tmp_path: Path
) -> None:
    pixels = np.argwhere(scene_files.truth)[::7]
    off = np.random.default_rng(0).uniform(0.05, 0.95, pixels.shape)
    points = [shapely.Point(*(CORNER @ (col, row))) for row, col in pixels + off]
    classes = [int(scene_files.truth[row, col]) for row, col in pixels]
    path = write_vector(tmp_path / "gt.geojson", points, written_in="EPSG:4326", ID=classes)
    expected = np.zeros_like(scene_files.truth)
    expected[tuple(pixels.T)] = classes
    np.testing.assert_array_equal(_open(tif, path).labels, expected)


def test_a_pixel_belongs_to_the_polygon_around_its_centre(tif: Path, tmp_path: Path) -> None:
    def square(left: float, top: float, right: float, bottom: float) -> Any:
        return shapely.box(*(CORNER @ (left, bottom)), *(CORNER @ (right, top)))

    path = write_vector(
        tmp_path / "gt.gpkg", [square(2.6, 3.4, 6.4, 5.6), square(10, 10, 11, 11)], label=[1, 2]
    )
    labels = _open(tif, path).labels
    assert np.argwhere(labels == 1).tolist() == [
        [row, col] for row in (3, 4, 5) for col in (3, 4, 5)
    ]
    assert np.argwhere(labels == 2).tolist() == [[10, 10]]


def test_classes_given_as_text_are_numbered_in_their_order(
    tif: Path, scene_files: SceneFiles, tmp_path: Path
) -> None:
    drawn, classes = polygons(scene_files.truth)
    words = {2: "maïs", 5: "blé", 9: "soja"}
    path = write_vector(
        tmp_path / "gt.gpkg", drawn, Class=[words[each] for each in classes], id=range(len(drawn))
    )
    scene = _open(tif, path)
    assert scene.class_names == {1: "blé", 2: "maïs", 3: "soja"}
    for index, name in scene.class_names.items():
        old = next(each for each, word in words.items() if word == name)
        np.testing.assert_array_equal(scene.labels == index, scene_files.truth == old)
    assert "gt.gpkg: the classes of 'Class' are numbered: 1 blé, 2 maïs, 3 soja" in scene.notes


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"name": "{word}"}, True),
        ({"name": "parcel {number}", "class_name": "{word}"}, True),
        ({"name": "parcel {number}"}, False),  # several of a class: they are no classes' names
        ({"name": "field"}, False),  # of all classes
    ],
)
def test_class_ids_are_named_by_the_attribute_beside_them(
    fields: dict[str, str], named: bool, tif: Path, scene_files: SceneFiles, tmp_path: Path
) -> None:
    drawn, classes = polygons(scene_files.truth)
    drawn, classes = drawn + drawn[:1], classes + classes[:1]
    words = {2: "maïs", 5: "blé", 9: "soja"}
    texts = {
        field: [
            pattern.format(word=words[each], number=number) for number, each in enumerate(classes)
        ]
        for field, pattern in fields.items()
    }
    path = write_vector(tmp_path / "gt.gpkg", drawn, class_id=classes, **texts)
    scene = _open(tif, path)
    np.testing.assert_array_equal(scene.labels, scene_files.truth)  # whatever their names' order
    unnamed = {index: f"class {index}" for index in words}
    assert scene.class_names == (words if named else unnamed)
    assert any("names of the classes are read from" in note for note in scene.notes) is named


def test_scenes_that_name_their_classes_share_the_ids(
    tif: Path, scene_files: SceneFiles, tmp_path: Path
) -> None:
    drawn, classes = polygons(scene_files.truth)
    for scene, second in (("a", "rye"), ("b", "beet")):
        words = {2: "corn", 5: second, 9: "soy"}
        (tmp_path / f"{scene}.tif").write_bytes(tif.read_bytes())
        write_vector(tmp_path / f"{scene}.gpkg", drawn, label=[words[each] for each in classes])
    scene = _open(tmp_path / "*.tif", tmp_path / "*.gpkg")
    assert scene.class_names == {1: "beet", 2: "corn", 3: "rye", 4: "soy"}
    top, bottom = (scene.labels[extent.rows, : extent.width] for extent in scene.cube.extents)
    np.testing.assert_array_equal(top, np.array([0, 0, 2, 0, 0, 3, 0, 0, 0, 4])[scene_files.truth])
    np.testing.assert_array_equal(
        bottom, np.array([0, 0, 2, 0, 0, 1, 0, 0, 0, 4])[scene_files.truth]
    )


def test_scenes_that_name_one_id_differently_are_refused(
    scene_files: SceneFiles, tmp_path: Path
) -> None:
    for scene, names in (("a", ["-", "corn", "rye"]), ("b", ["-", "corn", "soy"])):
        np.save(tmp_path / f"{scene}.npy", scene_files.values)
        labels = np.minimum(scene_files.truth, 2)
        write_envi(tmp_path / f"{scene}.hdr", labels, class_names=names)
    message = _error(tmp_path / "*.npy", tmp_path / "*.hdr")
    assert "class 2 is 'rye' in" in message
    assert "and 'soy' in" in message


def test_the_attribute_is_found_or_asked_for(
    tif: Path, scene_files: SceneFiles, tmp_path: Path
) -> None:
    drawn, classes = polygons(scene_files.truth)
    other = [1] * len(classes)
    path = tmp_path / "gt.gpkg"

    def opened(key: str | None = None, **fields: Sequence[Any]) -> Scene:
        path.unlink(missing_ok=True)
        return _open(tif, write_vector(path, drawn, **fields), labels_key=key)

    assert opened(anything=classes).classes == scene_files.classes
    assert opened(id=other, class_id=classes).classes == scene_files.classes
    both = opened(label=other, CLASS=classes)
    assert both.classes == scene_files.classes
    assert "gt.gpkg: classes are read from 'CLASS', not from label" in both.notes
    assert opened("mine", label=other, mine=classes).classes == scene_files.classes
    with pytest.raises(SceneError, match=r"no attribute named like a class \(found: one, two\)"):
        opened(one=other, two=classes)
    with pytest.raises(SceneError, match=r"unknown attribute 'tow'; did you mean 'two'\?"):
        opened("tow", one=other, two=classes)


def test_the_layer_is_asked_for_where_there_are_several(
    tif: Path, scene_files: SceneFiles, tmp_path: Path
) -> None:
    drawn, classes = polygons(scene_files.truth)
    path = tmp_path / "gt.gpkg"
    for layer, values in (("old", [1] * len(classes)), ("new", classes)):
        pyogrio.raw.write(
            path, layer=layer, geometry=shapely.to_wkb(np.array(drawn, dtype=object)), crs=UTM,
            field_data=[np.array(values)], fields=["kind"], geometry_type="Polygon",
        )  # fmt: skip
    assert "several layers: old, new; say which with --set scene.labels_key=LAYER" in _error(
        tif, path
    )
    for key in ("new", "new.kind"):
        assert _open(tif, path, labels_key=key).classes == scene_files.classes


def test_features_that_cannot_be_used_are_counted_or_refused(
    tif: Path, scene_files: SceneFiles, tmp_path: Path
) -> None:
    drawn, classes = polygons(scene_files.truth)
    line = shapely.LineString([CORNER @ (0, 0), CORNER @ (5, 5)])
    mixed = write_vector(tmp_path / "a.geojson", [*drawn, line], label=[*classes, 7])
    scene = _open(tif, mixed)
    np.testing.assert_array_equal(scene.labels, scene_files.truth)
    assert any("a.geojson: 1 of" in note and "features left out" in note for note in scene.notes)
    lines = write_vector(tmp_path / "b.gpkg", [line], label=[1])
    assert "expected polygons or points with a class in 'label', found none" in _error(tif, lines)
    broken = write_vector(tmp_path / "c.gpkg", drawn, label=[value + 0.5 for value in classes])
    assert "expected whole class ids from 0 in 'label', found" in _error(tif, broken)
    negative = write_vector(tmp_path / "d.gpkg", drawn, label=[-value for value in classes])
    assert "expected whole class ids from 0 in 'label', found -" in _error(tif, negative)
    (tmp_path / "e.gpkg").write_bytes(b"no database")
    assert f"cannot read {tmp_path / 'e.gpkg'}" in _error(tif, tmp_path / "e.gpkg")
    assert "no such file" in _error(tif, tmp_path / "f.gpkg")


def test_overlaps_of_two_classes_are_counted(tif: Path, tmp_path: Path) -> None:
    def square(left: float, right: float) -> Any:
        return shapely.box(*(CORNER @ (left, 8)), *(CORNER @ (right, 2)))

    path = write_vector(tmp_path / "gt.gpkg", [square(2, 8), square(6, 12)], label=[1, 2])
    scene = _open(tif, path)
    assert (scene.labels == 2).sum() == 36
    assert "gt.gpkg: 12 pixels lie in two classes; the later feature counts" in scene.notes


def test_drawings_beside_the_scene_are_refused_with_both_places(
    tif: Path, scene_files: SceneFiles, tmp_path: Path
) -> None:
    far = [shapely.box(0, 0, 10, 10)]
    path = write_vector(tmp_path / "a.gpkg", far, written_in="EPSG:4326", label=[1])
    message = _error(tif, path)
    assert "no feature covers the centre of a pixel; the scene covers x 500000 to 500520" in message
    assert "give a raster of 30 x 26 class ids, or a scene with coordinates" in _error(
        scene_files.cube, path
    )


def test_drawings_without_a_crs_are_taken_in_the_scenes_if_they_lie_on_it(
    tif: Path, scene_files: SceneFiles, tmp_path: Path
) -> None:
    drawn, classes = polygons(scene_files.truth)
    path = write_vector(tmp_path / "a.shp", drawn, label=classes)
    path.with_suffix(".prj").unlink()
    scene = _open(tif, path)
    np.testing.assert_array_equal(scene.labels, scene_files.truth)
    assert any("the features have no coordinate reference system" in note for note in scene.notes)
    far = write_vector(tmp_path / "b.shp", [shapely.box(0, 0, 9, 9)], label=[1])
    far.with_suffix(".prj").unlink()
    assert "no coordinate reference system, and the features at x 0 to 9" in _error(tif, far)


def test_a_raster_on_the_scenes_own_grid_is_taken_as_it_is(
    tif: Path, scene_files: SceneFiles, tmp_path: Path
) -> None:
    scene = _open(tif, write_tif(tmp_path / "gt.tif", scene_files.truth))
    np.testing.assert_array_equal(scene.labels, scene_files.truth)
    assert scene.notes == ()


def test_a_raster_of_the_same_crs_and_other_borders_is_laid_over_the_scene(
    tif: Path, scene_files: SceneFiles, tmp_path: Path
) -> None:
    wide = np.pad(scene_files.truth, 5, constant_values=3)
    path = write_tif(tmp_path / "gt.tif", wide, transform=CORNER @ Affine.translation(-5, -5))
    scene = _open(tif, path)
    np.testing.assert_array_equal(scene.labels, scene_files.truth)
    assert scene.notes == (
        "gt.tif: warped to the scene's pixels by nearest neighbour, from 40 x 36 pixels of its own",
    )
    fine = scene_files.truth.repeat(3, axis=0).repeat(3, axis=1)
    path = write_tif(tmp_path / "fine.tif", fine, transform=CORNER @ Affine.scale(1 / 3))
    np.testing.assert_array_equal(_open(tif, path).labels, scene_files.truth)
    part = write_tif(tmp_path / "part.tif", scene_files.truth[:14])
    np.testing.assert_array_equal(_open(tif, part).labels[:14], scene_files.truth[:14])
    assert not _open(tif, part).labels[14:].any()


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
    np.testing.assert_array_equal(_open(tif, path).labels, scene_files.truth)


def test_a_raster_elsewhere_is_refused(tif: Path, scene_files: SceneFiles, tmp_path: Path) -> None:
    path = write_tif(
        tmp_path / "gt.tif", scene_files.truth, transform=Affine(20, 0, 900_000, 0, -20, 4_000_000)
    )
    assert "no labelled pixel lies in the scene; check that both have" in _error(tif, path)


def test_without_coordinates_on_both_sides_the_shape_decides(
    tif: Path, scene_files: SceneFiles, tmp_path: Path
) -> None:
    bare = write_tif(tmp_path / "bare.tif", scene_files.truth, crs=None)
    np.testing.assert_array_equal(_open(tif, bare).labels, scene_files.truth)
    np.testing.assert_array_equal(_open(scene_files.cube, bare).labels, scene_files.truth)
    small = write_tif(tmp_path / "small.tif", scene_files.truth[:-1])
    assert "(29, 26) does not fit the scene's (30, 26)" in _error(scene_files.cube, small)
    np.save(tmp_path / "small.npy", scene_files.truth[:-1])
    assert "(29, 26) does not fit" in _error(tif, tmp_path / "small.npy")


def test_nodata_of_a_label_raster_is_unlabelled(
    tif: Path, scene_files: SceneFiles, tmp_path: Path
) -> None:
    marked = np.where(scene_files.truth == 0, np.int16(-1), scene_files.truth.astype(np.int16))
    path = write_tif(tmp_path / "gt.tif", marked, nodata=-1)
    np.testing.assert_array_equal(_open(tif, path).labels, scene_files.truth)
    gaps = np.where(scene_files.truth == 0, np.float32(np.nan), scene_files.truth)
    path = write_tif(tmp_path / "gaps.tif", gaps.astype(np.float32), nodata=float("nan"))
    np.testing.assert_array_equal(_open(tif, path).labels, scene_files.truth)


def test_an_envi_classification_keeps_names_colours_and_coordinates(
    tif: Path, scene_files: SceneFiles, tmp_path: Path
) -> None:
    names = ["Unclassified", "a", "wood", "c", "d", "field", "f", "g", "h", "water"]
    lookup = [0, 0, 0, *range(1, 28)]
    header = write_envi(
        tmp_path / "gt.hdr", np.pad(scene_files.truth, ((0, 0), (0, 4))), classes=10,
        class_names=names, class_lookup=lookup, map_info=MAP_INFO, file_type="ENVI Classification",
    )  # fmt: skip
    scene = _open(tif, header)
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
    scene = _open(tif, path)
    assert scene.class_colours == {2: (255, 0, 0), 5: (0, 255, 0), 9: (0, 0, 255)}
    assert scene.class_names == {2: "corn", 5: "oat", 9: "class 9"}


def test_a_picture_without_coordinates_needs_no_extra(
    scene_files: SceneFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tif(tmp_path / "gt.tif", scene_files.truth)
    monkeypatch.setitem(sys.modules, "rasterio", None)
    np.testing.assert_array_equal(_open(scene_files.cube, path).labels, scene_files.truth)


@pytest.mark.parametrize("module", ["pyogrio", "shapely", "rasterio.features"])
def test_drawings_without_a_package_name_the_extra(
    module: str, tif: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_vector(tmp_path / "gt.gpkg", [shapely.Point(CORNER @ (1, 1))], label=[1])
    monkeypatch.setitem(sys.modules, module, None)
    message = _error(tif, path)
    assert f"needs the package {module.partition('.')[0]}, which is not installed" in message
    assert "pip install 'st_ray[geo]'" in message


def test_a_folder_holds_no_labels(tif: Path, scene_files: SceneFiles, tmp_path: Path) -> None:
    assert "expected a file, found a folder" in _error(tif, tmp_path)
    store = write_zarr(tmp_path / "a.zarr", scene_files.values)
    with pytest.raises(
        SceneError, match="no labels were given, .*; give the labels with --labels FILE"
    ):
        open_scene(SceneSpec(name=str(store)))


def test_a_raster_of_several_bands_is_no_label_raster(
    tif: Path, scene_files: SceneFiles, tmp_path: Path
) -> None:
    path = write_tif(tmp_path / "gt.tif", np.stack([scene_files.truth] * 3, axis=2))
    assert "expected a label raster of 2 dimensions (rows, columns), found (30, 26, 3)" in _error(
        tif, path
    )
    header = write_envi(tmp_path / "gt.hdr", np.stack([scene_files.truth] * 2, axis=2))
    assert "found (30, 26, 2)" in _error(tif, header)


def test_labels_of_a_matlab_73_file_and_of_hdf5(scene_files: SceneFiles, tmp_path: Path) -> None:
    path = write_mat73(tmp_path / "a.mat", cube=scene_files.values, gt=scene_files.truth)
    scene = open_scene(SceneSpec(name=str(path)))
    np.testing.assert_array_equal(scene.labels, scene_files.truth)
    np.testing.assert_array_equal(scene.cube.read(slice(2), slice(3)), scene_files.values[:2, :3])
    hdf5 = write_hdf5(tmp_path / "gt.h5", noise=scene_files.truth + 0.5, gt=scene_files.truth)
    np.testing.assert_array_equal(_open(scene_files.cube, hdf5).labels, scene_files.truth)
