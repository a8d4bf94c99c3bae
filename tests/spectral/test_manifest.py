"""Manifests: what a line says of a scene, and one clear line for every wrong one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from st_ray.errors import SceneError
from st_ray.spectral.manifest import list_entries
from st_ray.spectral.scene import SceneSpec, open_scene


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scenes in a folder of their own, two of them with labels beside them."""
    path = tmp_path_factory.mktemp("scènes of mine")
    rng = np.random.default_rng(0)
    (path / "in").mkdir()
    for name, height in (("a", 9), ("b", 12), ("c", 7)):
        np.save(path / "in" / f"{name}.npy", rng.normal(size=(height, 8, 5)).astype("f4"))
        np.save(path / "in" / f"{name}_gt.npy", rng.integers(0, 4, (height, 8)))
    return path


def write(folder: Path, text: str, name: str = "scenes.csv") -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


CSV = "image,labels,part\nin/a.npy,in/a_gt.npy,train\nin/b.npy,3,\n\nin/c.npy,in/c_gt.npy,test\n"
TOML = """
[[scene]]
image = "in/a.npy"
labels = "in/a_gt.npy"
part = "train"
[[scene]]
image = "in/b.npy"
labels = 3
[[scene]]
image = "in/c.npy"
labels = "in/c_gt.npy"
part = "test"
"""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("scenes.csv", CSV),
        ("scenes.csv", "\ufeff" + CSV.replace(",", ";").replace("\n", "\r\n")),
        ("scenes.csv", CSV.replace("image,labels", "Image , LABELS")),
        ("scenes.toml", TOML),
    ],
    ids=["csv", "spreadsheet", "spaces", "toml"],
)
def test_a_manifest_names_scenes_labels_and_parts_relative_to_itself(
    folder: Path, name: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    scene = open_scene(SceneSpec(name=write(folder, text, name)), 16)
    assert [(m.name, m.part, m.whole) for m in scene.members] == [
        ("a", "train", False),
        ("b", "", True),
        ("c", "test", False),
    ]
    for member in scene.members:
        window = member.extent.rows, slice(0, 8)
        cube = scene.cube.read(*window)
        np.testing.assert_array_equal(cube, np.load(folder / "in" / f"{member.name}.npy"))
        own = np.load(folder / "in" / f"{member.name}_gt.npy")
        expected = np.full_like(own, 3) if member.whole else own
        np.testing.assert_array_equal(scene.labels[window], expected)


def test_classes_may_be_named(folder: Path) -> None:
    text = "image,labels\nin/a.npy,sky\nin/b.npy,thin cloud\nin/c.npy,sky\n"
    scene = open_scene(SceneSpec(name=write(folder, text)))
    assert scene.class_names == {1: "sky", 2: "thin cloud"}
    ids = [scene.labels[member.extent.top, 0] for member in scene.members]
    assert ids == [1, 2, 1]


def test_a_registered_scene_may_be_listed(folder: Path) -> None:
    (entry,) = list_entries(write(folder, "image\nindian_pines\n"), None)
    assert (entry.image, entry.labels, entry.label) == ("indian_pines", None, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"lists no scene; expected one a line: image, labels, part"),
        ("image,labels\n", r"lists no scene"),
        ("images,labels\nin/a.npy,1\n", r"unknown column 'images'; did you mean 'image'"),
        ("labels,part\n1,train\n", r"expected a column image, found labels, part"),
        ("image,image\nin/a.npy,in/b.npy\n", r"a column stands there twice"),
        ("image,labels\nin/a.npy\n", r"line 2: expected 2 cells \(image, labels\), found 1"),
        ("image\nin/x.npy\n", r"line 2: no such scene file: .*in/x\.npy"),
        ("image\nin/*.npy\n", r"one scene a line, without \*"),
        ("image,labels\n,1\n", r"line 2: image is empty"),
        ("image,labels\nin/a.npy,in/x_gt.npy\n", r"no such label file: .*in/x_gt\.npy"),
        ("image,labels\nin/a.npy,0\n", r"labels=0: expected a class id from 1 on"),
        ("image,labels\nin/a.npy,-3\n", r"labels=-3: expected a class id from 1 on"),
        ("image,labels\nin/a.npy,99999999999\n", r"expected a class id from 1 on"),
        ("image,part\nin/a.npy,trian\n", r"unknown part 'trian'; did you mean 'train'"),
        (
            "image,labels\nin/a.npy,1\n./in/a.npy,2\n",
            r"line 3: .*is already listed .*line 2",
        ),
        ("image,labels\nin/a.npy,sky\nin/b.npy,2\n", r"line 3: expected the name of a class"),
        ('image\n"in/a.npy\n', r"not CSV"),
    ],
)
def test_a_wrong_line_is_named(folder: Path, text: str, message: str) -> None:
    with pytest.raises(SceneError, match=message) as caught:
        list_entries(write(folder, text), None)
    assert "scenes.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[scene]\n", r"is not TOML"),
        ("scenes = 3\n", r"unknown key 'scenes'; did you mean 'scene'"),
        ("scene = 3\n", r"expected a \[\[scene\]\] table for each scene"),
        ("[[scene]]\nimage = 3\n", r"scene 1: image=3: expected text"),
        ("[[scene]]\nimage = 'in/a.npy'\nlabels = 1.5\n", r"labels=1.5: expected text"),
        ("[[scene]]\nlabels = 1\n", r"scene 1: expected a column image, found labels"),
    ],
)
def test_wrong_toml_is_named(folder: Path, text: str, message: str) -> None:
    with pytest.raises(SceneError, match=message):
        list_entries(write(folder, text, "scenes.toml"), None)


def test_a_manifest_says_the_labels_itself(folder: Path) -> None:
    with pytest.raises(SceneError, match=r"leave --labels out"):
        list_entries(write(folder, CSV), "gt.npy")


def test_text_that_is_none_and_a_missing_manifest_are_named(tmp_path: Path) -> None:
    (tmp_path / "binary.csv").write_bytes(b"image\n\xff\xfe")
    with pytest.raises(SceneError, match=r"expected text, saved as UTF-8"):
        list_entries(str(tmp_path / "binary.csv"), None)
    with pytest.raises(SceneError, match=r"cannot read manifest .*missing\.csv: No such file"):
        list_entries(str(tmp_path / "missing.csv"), None)


def test_what_is_wrong_in_a_scene_names_its_line(folder: Path) -> None:
    text = "image,labels\nin/a.npy,in/a_gt.npy\nin/b.npy,in/c_gt.npy\n"
    with pytest.raises(SceneError, match=r"scenes.csv, line 3: .*shape \(7, 8\) does not fit"):
        open_scene(SceneSpec(name=write(folder, text)))
