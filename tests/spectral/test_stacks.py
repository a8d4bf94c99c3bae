"""Many patches in one array: the layout of CloudPatch-7, 444 patches of 50 x 50 x 462."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from st_ray.errors import SceneError, SplitError
from st_ray.spectral.scene import Scene, SceneSpec, open_scene
from st_ray.spectral.split import SplitSpec, leakage, split_labels
from st_ray.spectral.tiles import TileSpec, plan_tiles

PATCHES = np.random.default_rng(0).integers(0, 4000, (9, 6, 5, 7)).astype(np.uint16)
CLASSES = np.resize([1, 2, 3], 9)


def spec(cube: Path, labels: Path | None = None, **more: object) -> SceneSpec:
    return SceneSpec(name=str(cube), labels=labels and str(labels), **more)  # type: ignore[arg-type]


def check(scene: Scene) -> None:
    assert len(scene.members) == 9
    for member, patch, label in zip(scene.members, PATCHES, CLASSES, strict=True):
        assert member.whole
        np.testing.assert_array_equal(scene.cube.read(member.extent.rows, slice(None)), patch)
        assert (scene.labels[member.extent.rows] == label).all()


@pytest.fixture
def files(tmp_path: Path) -> Callable[[NDArray[np.generic], NDArray[np.generic]], SceneSpec]:
    """Save patches and labels as .npy; gives what opens them."""

    def save(patches: NDArray[np.generic], labels: NDArray[np.generic]) -> SceneSpec:
        np.save(tmp_path / "X.npy", patches)
        np.save(tmp_path / "y.npy", labels)
        return spec(tmp_path / "X.npy", tmp_path / "y.npy")

    return save


def test_every_patch_is_a_scene_with_one_label(files, write_mat, tmp_path: Path) -> None:
    check(open_scene(files(PATCHES, CLASSES)))
    check(open_scene(files(PATCHES, CLASSES[:, None].astype(np.float64))))
    np.savez(tmp_path / "both.npz", X=PATCHES, y=CLASSES)
    check(open_scene(spec(tmp_path / "both.npz")))
    check(open_scene(spec(write_mat("both.mat", data=PATCHES, target=CLASSES, year=2024))))
    np.savez(tmp_path / "many.npz", X=PATCHES, y=CLASSES, parent=CLASSES)
    with pytest.raises(SceneError, match=r"found y, parent; say which with --set scene.labels_key"):
        open_scene(spec(tmp_path / "many.npz"))
    check(open_scene(spec(tmp_path / "many.npz", labels_key="y")))


def test_hdf5_and_matlab_73_hold_patches_too(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "both.h5", "w") as file:
        file["X"], file["y"] = PATCHES, CLASSES
    check(open_scene(spec(tmp_path / "both.h5")))
    # MATLAB writes the axes in reverse, after 512 bytes of its own.
    with h5py.File(tmp_path / "both.mat", "w", userblock_size=512) as file:
        file["X"], file["y"] = PATCHES.transpose(), CLASSES[None].astype(float)
    with (tmp_path / "both.mat").open("r+b") as plain:
        plain.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    check(open_scene(spec(tmp_path / "both.mat")))


def test_labels_may_be_names(files) -> None:
    names = np.array(["clear sky", "cirrus", "stratus"])[CLASSES - 1]
    scene = open_scene(files(PATCHES, names))
    assert scene.class_names == {1: "cirrus", 2: "clear sky", 3: "stratus"}
    assert (scene.labels[scene.members[0].extent.rows] == 2).all()


def test_labels_may_be_rasters(files) -> None:
    rasters = np.random.default_rng(1).integers(0, 3, PATCHES.shape[:3])
    scene = open_scene(files(PATCHES, rasters))
    for member, raster in zip(scene.members, rasters, strict=True):
        assert not member.whole
        np.testing.assert_array_equal(scene.labels[member.extent.rows], raster)


@pytest.mark.parametrize(
    ("patches", "labels", "message"),
    [
        (PATCHES, CLASSES - 1, r"3 of 9 patches have the label 0, .* count classes from 1"),
        (PATCHES, CLASSES[:8], r"expected a label for each of the 9 patches, .*one array \(8,\)"),
        (PATCHES, CLASSES * 1.5, r"expected whole class ids .* found 1\.5"),
        (PATCHES, -CLASSES, r"expected class ids 0 to 2147483647, found -3 to -1"),
        (np.moveaxis(PATCHES[:, :5], -1, 1), CLASSES, r"bands came before rows; save np.moveaxis"),
        (np.moveaxis(PATCHES, 0, -1), CLASSES, r"along the array's last axis: save np.moveaxis"),
        (PATCHES[:, :0], CLASSES, r"holds no pixel"),
        (PATCHES * (1 + 2j), CLASSES, r"expected real numbers"),
    ],
)
def test_what_does_not_fit_is_one_line(files, patches, labels, message) -> None:
    with pytest.raises(SceneError, match=message) as caught:
        open_scene(files(patches, labels))
    assert "\n" not in str(caught.value)


def test_patches_labelled_0_may_be_left_out(files) -> None:
    scene = open_scene(SceneSpec(**{**_fields(files(PATCHES, CLASSES - 1)), "ignore_classes": [0]}))
    assert scene.classes == (1, 2)
    assert not scene.labels[scene.members[0].extent.rows].any()


def _fields(given: SceneSpec) -> dict[str, object]:
    return {"name": given.name, "labels": given.labels}


def test_a_manifest_may_say_which_arrays_train_and_which_test(tmp_path: Path) -> None:
    for name, rows in (("train", slice(0, 6)), ("test", slice(6, 9))):
        np.save(tmp_path / f"X_{name}.npy", PATCHES[rows])
        np.save(tmp_path / f"y_{name}.npy", CLASSES[rows])
    text = "image,labels,part\nX_train.npy,y_train.npy,train\nX_test.npy,y_test.npy,test\n"
    (tmp_path / "clouds.csv").write_text(text)
    scene = open_scene(spec(tmp_path / "clouds.csv"))
    check(scene)
    assert [member.part for member in scene.members] == ["train"] * 6 + ["test"] * 3
    assert scene.members[7].name == "X_test.npy[1]"


def test_one_class_may_be_left_out_of_all_patches(files) -> None:
    scene = open_scene(SceneSpec(**{**_fields(files(PATCHES, CLASSES)), "ignore_classes": (2,)}))
    assert scene.classes == (1, 3)


def test_the_published_shape_opens_in_no_time_and_little_memory(tmp_path: Path) -> None:
    # The file has the published size, 1 GB, and takes up next to nothing: its values are holes.
    shape = (444, 50, 50, 462)
    np.lib.format.open_memmap(tmp_path / "CloudPatch7.npy", "w+", np.uint16, shape).flush()
    labels = np.resize(np.arange(1, 8), 444)
    np.save(tmp_path / "labels.npy", labels)
    scene = open_scene(spec(tmp_path / "CloudPatch7.npy", tmp_path / "labels.npy"))
    assert len(plan_tiles(scene.labels.shape, TileSpec(), scene.cube.extents)) == 444
    assert np.count_nonzero(scene.labels) == 444 * 50 * 50
    assert scene.labels.nbytes < 12e6
    assert len(pickle.dumps(scene.cube.drop([0, 461]))) < 20_000
    split = split_labels(scene.labels, SplitSpec(), 0, 11, scene.members)
    assert leakage(split, 11) == 0.0
    totals = {part: (split.parts == part).sum() / 2500 for part in (1, 2, 3)}
    assert totals == {1: 42, 2: 21, 3: 381}
    with pytest.raises(SplitError, match=r"444 of the 444 scenes have one label"):
        split_labels(scene.labels, SplitSpec(kind="random"), 0, 11, scene.members)
