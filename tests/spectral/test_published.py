"""Published splits: ids remapped by a table and held to the ground truth, counts as published."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from st_ray.errors import SplitError
from st_ray.spectral import published
from st_ray.spectral.published import PUBLISHED
from st_ray.spectral.scene import SceneSpec, open_scene
from st_ray.spectral.split import Split, SplitSpec, split_labels
from st_ray.spectral.splitfile import load_split, save_split


@pytest.fixture(scope="module")
def pines() -> NDArray[np.int32]:
    return open_scene(SceneSpec()).labels


def _read(labels: NDArray[np.int32], name: str, folder: Path) -> Split:
    return split_labels(labels, SplitSpec(kind=name, folder=str(folder)), 0, 11)


def _fake(
    monkeypatch: pytest.MonkeyPatch, labels: NDArray[np.int32], folder: Path, ids: tuple[int, ...]
) -> NDArray[np.uint8]:
    """Write every third row of the labels as a DASE mask of these ids, and register its count."""
    own = {index: number for number, index in enumerate(ids, start=1)}
    mask = np.zeros(labels.shape, dtype=np.uint8)
    mask[::3] = np.vectorize(lambda index: own.get(index, 0))(labels[::3])
    Image.fromarray(mask).save(folder / "indianpines_ts.tif")
    entry = PUBLISHED["dase"]
    counted = replace(entry, train=replace(entry.train, pixels=int((mask != 0).sum())))
    monkeypatch.setitem(published.PUBLISHED, "dase", counted)
    return mask


@pytest.mark.parametrize("entry", PUBLISHED.values(), ids=list(PUBLISHED))
def test_every_table_of_ids_names_each_class_once(entry: published.PublishedSplit) -> None:
    assert sorted(entry.ids) == list(range(1, 17))


def test_ids_are_remapped_by_the_table(
    pines: NDArray[np.int32], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = _fake(monkeypatch, pines, tmp_path, PUBLISHED["dase"].ids)
    split = _read(pines, "dase", tmp_path)
    np.testing.assert_array_equal(split.train | split.validation, mask != 0)
    np.testing.assert_array_equal(split.test, (pines != 0) & (mask == 0))
    assert "1=2, 2=3, 3=5, 4=6, 5=8, 6=10, 7=11, 8=12" in "\n".join(split.notes)
    assert split.rule["kind"] == "dase"


def test_ids_that_the_ground_truth_contradicts_are_refused(
    pines: NDArray[np.int32], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swapped = (3, 2, *PUBLISHED["dase"].ids[2:])
    _fake(monkeypatch, pines, tmp_path, swapped)
    with pytest.raises(SplitError, match="its class 1 is class 2 .* have class 3 in these labels"):
        _read(pines, "dase", tmp_path)


def test_another_file_of_that_name_is_refused(pines: NDArray[np.int32], tmp_path: Path) -> None:
    mask = np.zeros(pines.shape, dtype=np.uint8)
    mask[0, :9] = 1
    Image.fromarray(mask).save(tmp_path / "indianpines_ts.tif")
    with pytest.raises(SplitError, match=r"marks \[9\] pixels, the published mask 5689"):
        _read(pines, "dase", tmp_path)


def test_a_missing_file_is_named_with_its_source(
    pines: NDArray[np.int32], tmp_path: Path, cache_folder: Path
) -> None:
    with pytest.raises(SplitError, match=r"IndianTR123_temp123\.tif, which is not in .*695/9,671"):
        _read(pines, "spectralformer", tmp_path)
    with pytest.raises(SplitError, match=f"not in {cache_folder}; .* split.folder=FOLDER"):
        split_labels(pines, SplitSpec(kind="dase"), 0, 11)


def test_a_published_split_is_of_its_scene_only(tmp_path: Path) -> None:
    labels = np.ones((30, 26), dtype=np.int32)
    with pytest.raises(SplitError, match=r"of Indian Pines .*145 x 145 pixels; .* are 30 x 26"):
        _read(labels, "dase", tmp_path)


def test_a_folder_goes_with_published_splits_only() -> None:
    with pytest.raises(SplitError, match=r"split\.folder goes with a published split \(dase, "):
        SplitSpec(kind="random", folder="masks")
    with pytest.raises(SplitError, match="go with a mask file, not with split.kind=dase"):
        SplitSpec(kind="dase", test_path="test.mat")


@pytest.mark.parametrize(
    ("name", "train", "test"), [("dase", 5538, 4711), ("spectralformer", 695 - 26, 9671 - 230)]
)
def test_the_public_files_give_the_published_counts_and_a_manifest(
    name: str, train: int, test: int, pines: NDArray[np.int32], shared_data: Path, tmp_path: Path
) -> None:
    folder = shared_data / "indian_pines_splits"
    split = _read(pines, name, folder)
    assert (split.train | split.validation).sum() == train
    assert split.test.sum() == test
    save_split(split, tmp_path / "shared.json", pines, "indian_pines")
    again = load_split(tmp_path / "shared.json", pines)
    np.testing.assert_array_equal(again.parts, split.parts)
    assert again.rule == {"kind": name, "validation_fraction": 0.05}


def test_on_their_own_ground_truth_the_masks_are_whole(shared_data: Path) -> None:
    folder = shared_data / "indian_pines_splits"
    labels = folder / "19920612_AVIRIS_IndianPine_Site3_gr.tif"
    purdue = open_scene(SceneSpec(labels=str(labels))).labels
    split = _read(purdue, "spectralformer", folder)
    assert (split.train | split.validation).sum() == 695
    assert split.test.sum() == 9671
    assert not any("unlabelled" in note for note in split.notes)
