"""Split manifests: they read back the same, can be read by anyone, and refuse what was changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from st_ray.errors import OutputError, SplitError
from st_ray.spectral.parts import PART_NAMES, Split, labels_fingerprint
from st_ray.spectral.scene import Scene
from st_ray.spectral.split import SplitSpec, split_labels
from st_ray.spectral.splitfile import load_split, save_split, short_name

Table = dict[str, Any]


@pytest.fixture
def made(small_scene: Scene, tmp_path: Path) -> tuple[Split, Path]:
    """A disjoint split of the small scene, and its manifest."""
    split = split_labels(small_scene.labels, SplitSpec(kind="disjoint"), 3, 5)
    path = tmp_path / "my.split.json"
    save_split(split, path, small_scene.labels, "small")
    return split, path


def test_a_manifest_reads_back_the_same(small_scene: Scene, made: tuple[Split, Path]) -> None:
    split, path = made
    for labels in (small_scene.labels, small_scene.labels.astype(np.int64)):
        again = split_labels(labels, SplitSpec(kind=str(path)), 99, 5)
        np.testing.assert_array_equal(again.parts, split.parts)
        assert (again.notes, again.labels_sha256) == (split.notes, split.labels_sha256)
        assert (again.rule, again.seed) == (split.rule, 3)


def test_a_manifest_says_how_the_pixels_were_chosen(made: tuple[Split, Path]) -> None:
    table = json.loads(made[1].read_text())
    assert table["scene"] == "small"
    assert table["seed"] == 3
    assert table["rule"] == {
        "kind": "disjoint",
        "train_fraction": 0.1,
        "validation_fraction": 0.05,
        "guard": 2,
        "block_size": 8,
        "patch_size": 5,
    }


def test_another_program_can_read_a_manifest_by_its_own_words(
    small_scene: Scene, made: tuple[Split, Path]
) -> None:
    split, path = made
    table = json.loads(path.read_text())
    rows, cols = table["shape"]
    flat = [0] * (rows * cols)
    for number, part in enumerate(PART_NAMES[1:], start=1):
        for index, text in table["parts"][part].items():
            for word in text.split():
                ends = word.split("-")
                for pixel in range(int(ends[0]), int(ends[-1]) + 1):
                    assert small_scene.labels[divmod(pixel, cols)] == int(index)
                    flat[pixel] = number
    assert flat == split.parts.ravel().tolist()
    assert hashlib.sha256(bytes(flat)).hexdigest() == table["parts_sha256"]
    ids = b"".join(int(i).to_bytes(8, "little") for i in small_scene.labels.flat)
    assert hashlib.sha256(b"(30, 26)" + ids).hexdigest() == table["labels_sha256"]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.randoms(use_true_random=False))
def test_any_split_survives(tmp_path_factory, height: int, width: int, random: Any) -> None:
    cells = [(random.randrange(4), random.choice((1, 2, 70_000))) for _ in range(height * width)]
    parts, labels = np.array(cells, dtype=np.int64).reshape(height, width, 2).transpose(2, 0, 1)
    split = Split(parts=parts.astype(np.uint8), labels_sha256=labels_fingerprint(labels))
    path = tmp_path_factory.getbasetemp() / "any.json"
    save_split(split, path, labels)
    np.testing.assert_array_equal(load_split(path, labels).parts, split.parts)


def _pixels(table: Table, part: str, index: str, text: str) -> None:
    table["parts"][part][index] = text


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.update(labels_sha256="0" * 64), "was made for other labels"),
        (lambda t: t.update(shape=[29, 26]), r"\(29, 26\) does not fit the scene's \(30, 26\)"),
        (lambda t: t.update(shape=[26, 30]), "it is transposed"),
        (lambda t: t.update(parts_sha256="0" * 64), "not those it was written with"),
        (lambda t: t["parts"]["test"].pop("5"), "not those it was written with"),
        (lambda t: t["parts"].pop("test"), "parts is not as st-ray split writes it"),
        (lambda t: t.update(shape=[30]), "shape is not as"),
        (lambda t: t.update(rule={"kind": ["disjoint"]}), "rule is not as"),
        (lambda t: t.update(seed="3"), "seed is not as"),
        (lambda t: t.pop("seed"), r"lacks \['seed'\]"),
        (lambda t: t.update(format="st_ray split 9"), "found 'st_ray split 9'"),
        (lambda t: _pixels(t, "train", "2", "0-4 x"), "found 'x'"),
        (lambda t: _pixels(t, "train", "2", "-4"), "found '-4'"),
        (lambda t: _pixels(t, "train", "2", "4-0"), "pixels of 0 to 779, found 4-0"),
        (lambda t: _pixels(t, "train", "2", "0-99999999999"), "found 0-99999999999"),
        (lambda t: _pixels(t, "train", "2", "9" * 5000), "found '999"),
        (lambda t: _pixels(t, "train", "2", "0-4 3"), "3-3 are listed twice"),
        (lambda t: _pixels(t, "train", "2", "0-20"), "0-20 are not of this class"),
        (lambda t: _pixels(t, "train", "two", "0"), "parts is not as"),
    ],
)
def test_a_changed_manifest_is_refused_in_one_line(
    small_scene: Scene, made: tuple[Split, Path], change: Callable[[Table], object], says: str
) -> None:
    path = made[1]
    table = json.loads(path.read_text())
    change(table)
    path.write_text(json.dumps(table))
    with pytest.raises(SplitError, match=says) as caught:
        split_labels(small_scene.labels, SplitSpec(kind=str(path)), 0, 5)
    assert "\n" not in str(caught.value)
    assert "my.split.json" in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"[1, 2]", b"{", b"\xff\xfe", b"[" * 100_000, b'{"shape": [30, 26]}']
)
def test_what_is_no_manifest_is_refused_in_one_line(
    small_scene: Scene, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "some.json"
    path.write_bytes(content)
    with pytest.raises(SplitError, match="st-ray split") as caught:
        split_labels(small_scene.labels, SplitSpec(kind=str(path)), 0, 5)
    assert "\n" not in str(caught.value)


def test_a_manifest_of_other_labels_names_the_classes_that_lack(
    small_scene: Scene, made: tuple[Split, Path]
) -> None:
    fewer = np.where(small_scene.labels == 5, 0, small_scene.labels)
    with pytest.raises(SplitError, match=r"these lack its classes \[5\].*ignored classes"):
        load_split(made[1], fewer)


def test_a_split_npz_of_an_earlier_version_still_loads(small_scene: Scene, tmp_path: Path) -> None:
    path = tmp_path / "split.npz"
    split = split_labels(small_scene.labels, SplitSpec(), 0, 5)
    np.savez_compressed(
        path,
        parts=split.parts,
        labels_sha256=np.array(split.labels_sha256),
        notes=np.array(["a note"], dtype=np.str_),
    )
    again = split_labels(small_scene.labels, SplitSpec(kind=str(path)), 99, 5)
    np.testing.assert_array_equal(again.parts, split.parts)
    assert again.notes == ("a note",)
    assert again.seed is None  # it does not say
    changed = small_scene.labels.copy()
    changed[0, 0] = 0
    with pytest.raises(SplitError, match="was made for other labels"):
        load_split(path, changed)
    with pytest.raises(SplitError, match=r"\(30, 26\) does not fit the scene's \(29, 26\)"):
        load_split(path, changed[1:])


def test_a_manifest_that_cannot_be_written_says_so(
    small_scene: Scene, made: tuple[Split, Path], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OutputError, match="cannot write .*split.json"):
        save_split(made[0], tmp_path / "file" / "split.json", small_scene.labels)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("random", "random"),
        ("given/my.split.json", "my"),
        ("split.json", "split"),
        ("a/m.mat", "m"),
    ],
)
def test_a_split_has_a_short_name_for_tables(kind: str, name: str) -> None:
    assert short_name(kind) == name
