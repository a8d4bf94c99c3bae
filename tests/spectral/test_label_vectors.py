"""Labels from polygons and points."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyogrio.raw
import pytest
import shapely

from st_ray.errors import SceneError
from st_ray.spectral.scene import Scene, SceneSpec, open_scene
from st_ray.spectral.split import SplitSpec, split_labels
from tests.rasters import (
    CORNER,
    UTM,
    write_envi,
    write_tif,
)
from tests.vectors import OTHERS, label_error, open_labelled, polygons, write_vector

if TYPE_CHECKING:
    from tests.conftest import SceneFiles


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".shp", ".fgb"])
@pytest.mark.parametrize("crs", [None, *OTHERS])
def test_polygons_in_any_crs_give_the_raster_they_were_drawn_from(
    suffix: str, crs: str | None, tif: Path, scene_files: SceneFiles, tmp_path: Path
) -> None:
    drawn, classes = polygons(scene_files.truth)
    path = write_vector(tmp_path / f"gt{suffix}", drawn, written_in=crs, label=classes)
    scene = open_labelled(tif, path)
    np.testing.assert_array_equal(scene.labels, scene_files.truth)
    assert scene.class_names == {2: "class 2", 5: "class 5", 9: "class 9"}


@pytest.mark.parametrize("crs", OTHERS)
def test_polygons_of_indian_pines_give_the_same_training_pixels(crs: str, tmp_path: Path) -> None:
    original = open_scene(SceneSpec())
    values = original.cube.read(slice(None), slice(None))[:, :, :3].astype(np.uint16)
    cube = write_tif(tmp_path / "ip.tif", values)
    drawn, classes = polygons(original.labels)
    path = write_vector(tmp_path / "ip.gpkg", drawn, written_in=crs, **{"class": classes})
    scene = open_labelled(cube, path)
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
    np.testing.assert_array_equal(open_labelled(tif, path).labels, expected)


def test_a_pixel_belongs_to_the_polygon_around_its_centre(tif: Path, tmp_path: Path) -> None:
    def square(left: float, top: float, right: float, bottom: float) -> Any:
        return shapely.box(*(CORNER @ (left, bottom)), *(CORNER @ (right, top)))

    path = write_vector(
        tmp_path / "gt.gpkg", [square(2.6, 3.4, 6.4, 5.6), square(10, 10, 11, 11)], label=[1, 2]
    )
    labels = open_labelled(tif, path).labels
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
    scene = open_labelled(tif, path)
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
    scene = open_labelled(tif, path)
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
    scene = open_labelled(tmp_path / "*.tif", tmp_path / "*.gpkg")
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
    message = label_error(tmp_path / "*.npy", tmp_path / "*.hdr")
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
        return open_labelled(tif, write_vector(path, drawn, **fields), labels_key=key)

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
    assert "several layers: old, new; say which with --set scene.labels_key=LAYER" in label_error(
        tif, path
    )
    for key in ("new", "new.kind"):
        assert open_labelled(tif, path, labels_key=key).classes == scene_files.classes


def test_features_that_cannot_be_used_are_counted_or_refused(
    tif: Path, scene_files: SceneFiles, tmp_path: Path
) -> None:
    drawn, classes = polygons(scene_files.truth)
    line = shapely.LineString([CORNER @ (0, 0), CORNER @ (5, 5)])
    mixed = write_vector(tmp_path / "a.geojson", [*drawn, line], label=[*classes, 7])
    scene = open_labelled(tif, mixed)
    np.testing.assert_array_equal(scene.labels, scene_files.truth)
    assert any("a.geojson: 1 of" in note and "features left out" in note for note in scene.notes)
    lines = write_vector(tmp_path / "b.gpkg", [line], label=[1])
    assert "expected polygons or points with a class in 'label', found none" in label_error(
        tif, lines
    )
    broken = write_vector(tmp_path / "c.gpkg", drawn, label=[value + 0.5 for value in classes])
    assert "expected whole class ids from 0 in 'label', found" in label_error(tif, broken)
    negative = write_vector(tmp_path / "d.gpkg", drawn, label=[-value for value in classes])
    assert "expected whole class ids from 0 in 'label', found -" in label_error(tif, negative)
    (tmp_path / "e.gpkg").write_bytes(b"no database")
    assert f"cannot read {tmp_path / 'e.gpkg'}" in label_error(tif, tmp_path / "e.gpkg")
    assert "no such file" in label_error(tif, tmp_path / "f.gpkg")


def test_overlaps_of_two_classes_are_counted(tif: Path, tmp_path: Path) -> None:
    def square(left: float, right: float) -> Any:
        return shapely.box(*(CORNER @ (left, 8)), *(CORNER @ (right, 2)))

    path = write_vector(tmp_path / "gt.gpkg", [square(2, 8), square(6, 12)], label=[1, 2])
    scene = open_labelled(tif, path)
    assert (scene.labels == 2).sum() == 36
    assert "gt.gpkg: 12 pixels lie in two classes; the later feature counts" in scene.notes


def test_drawings_beside_the_scene_are_refused_with_both_places(
    tif: Path, scene_files: SceneFiles, tmp_path: Path
) -> None:
    far = [shapely.box(0, 0, 10, 10)]
    path = write_vector(tmp_path / "a.gpkg", far, written_in="EPSG:4326", label=[1])
    message = label_error(tif, path)
    assert "no feature covers the centre of a pixel; the scene covers x 500000 to 500520" in message
    assert "give a raster of 30 x 26 class ids, or a scene with coordinates" in label_error(
        scene_files.cube, path
    )


def test_drawings_without_a_crs_are_taken_in_the_scenes_if_they_lie_on_it(
    tif: Path, scene_files: SceneFiles, tmp_path: Path
) -> None:
    drawn, classes = polygons(scene_files.truth)
    path = write_vector(tmp_path / "a.shp", drawn, label=classes)
    path.with_suffix(".prj").unlink()
    scene = open_labelled(tif, path)
    np.testing.assert_array_equal(scene.labels, scene_files.truth)
    assert any("the features have no coordinate reference system" in note for note in scene.notes)
    far = write_vector(tmp_path / "b.shp", [shapely.box(0, 0, 9, 9)], label=[1])
    far.with_suffix(".prj").unlink()
    assert "no coordinate reference system, and the features at x 0 to 9" in label_error(tif, far)


@pytest.mark.parametrize("module", ["pyogrio", "shapely", "rasterio.features"])
def test_drawings_without_a_package_name_the_extra(
    module: str, tif: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_vector(tmp_path / "gt.gpkg", [shapely.Point(CORNER @ (1, 1))], label=[1])
    monkeypatch.setitem(sys.modules, module, None)
    message = label_error(tif, path)
    assert f"needs the package {module.partition('.')[0]}, which is not installed" in message
    assert "pip install 'st_ray[geo]'" in message
