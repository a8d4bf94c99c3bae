"""Fixed masks: ids from the ground truth, differences noted, validation carved from training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from st_ray.errors import SplitError
from st_ray.spectral.scene import Scene, SceneSpec, open_scene
from st_ray.spectral.split import Split, SplitSpec, split_labels


def _split(labels: NDArray[np.int32], path: Path, **more: str) -> Split:
    return split_labels(labels, SplitSpec(kind=str(path), **more), 0, 5)  # type: ignore[arg-type]


@pytest.fixture
def left_half(small_scene: Scene) -> NDArray[np.int32]:
    """The labels of every third row: a mask with the ground truth's ids."""
    mask = np.zeros_like(small_scene.labels)
    mask[::3] = small_scene.labels[::3]
    return mask


@pytest.mark.parametrize("suffix", [".npy", ".mat", ".tif", ".png"])
def test_nonzero_pixels_train_and_the_other_labelled_ones_test(
    suffix: str,
    left_half: NDArray[np.int32],
    small_scene: Scene,
    tmp_path: Path,
    write_mat: Callable[..., Path],
) -> None:
    path = tmp_path / f"mask{suffix}"
    mask = (left_half != 0).astype(np.uint8)
    if suffix == ".npy":
        np.save(path, mask)
    elif suffix == ".mat":
        write_mat(path.name, mask=mask)
    else:
        Image.fromarray(mask * 255).save(path)
    split = _split(small_scene.labels, path)
    np.testing.assert_array_equal(split.train | split.validation, left_half != 0)
    np.testing.assert_array_equal(split.test, (small_scene.labels != 0) & (left_half == 0))
    assert not any("ids" in note for note in split.notes)


def test_validation_is_a_stratified_share_of_the_training_mask(
    left_half: NDArray[np.int32], small_scene: Scene, tmp_path: Path
) -> None:
    np.save(tmp_path / "mask.npy", left_half)
    spec = SplitSpec(kind=str(tmp_path / "mask.npy"), validation_fraction=0.25)
    split = split_labels(small_scene.labels, spec, 0, 5)
    for index, parts in split.counts(small_scene.labels).items():
        given = int((left_half == index).sum())
        assert parts["validation"] == round(0.25 * given)
        assert parts["train"] == given - parts["validation"]
    assert any("25% of its training pixels, stratified, validate" in n for n in split.notes)


def test_a_class_with_one_training_pixel_keeps_it(small_scene: Scene, tmp_path: Path) -> None:
    mask = small_scene.labels.copy()
    mask[mask == 5] = 0
    mask[20, 3] = 5
    np.save(tmp_path / "mask.npy", mask)
    split = _split(small_scene.labels, tmp_path / "mask.npy")
    assert split.counts(small_scene.labels)[5]["train"] == 1
    assert "classes without a validation pixel: [5]" in split.notes
    assert "classes without a test pixel: [2, 9]" in split.notes


def test_ids_come_from_the_ground_truth_and_differences_are_noted(
    left_half: NDArray[np.int32], small_scene: Scene, tmp_path: Path
) -> None:
    mask = np.select([left_half == 2, left_half == 5, left_half == 9], [1, 2, 3], 0)
    mask[0, 0] = 3  # another class than the ground truth's 2
    mask[15, :4] = 1  # unlabelled in the ground truth
    np.save(tmp_path / "mask.npy", mask)
    split = _split(small_scene.labels, tmp_path / "mask.npy")
    notes = "\n".join(split.notes)
    assert "(mask=ground truth: 1=2, 2=5, 3=9)" in notes
    assert f"4 of its {(mask != 0).sum()} pixels are unlabelled" in notes
    assert "1 pixels have another class than in the ground truth" in notes
    assert (split.train | split.validation)[0, 0]
    assert not split.parts[15, :4].any()


def test_train_validation_and_test_keys_are_all_used(
    small_scene: Scene, write_mat: Callable[..., Path], tmp_path: Path
) -> None:
    labelled = small_scene.labels != 0
    rows = np.arange(30)[:, None] % 4 * np.ones(26, dtype=int)
    parts = {"train": rows == 0, "validation": rows == 1, "test": rows == 2}
    masks = {name: (labelled & chosen).astype(np.uint8) for name, chosen in parts.items()}
    np.savez(tmp_path / "masks.npz", **masks)
    for path in (write_mat("masks.mat", **masks), tmp_path / "masks.npz"):
        split = _split(small_scene.labels, path)
        np.testing.assert_array_equal(split.train, masks["train"])
        np.testing.assert_array_equal(split.validation, masks["validation"])
        np.testing.assert_array_equal(split.test, masks["test"])
        assert f"{(labelled & (rows == 3)).sum()} labelled pixels are in no part" in split.notes


def test_a_second_file_may_hold_the_test_mask(
    left_half: NDArray[np.int32], small_scene: Scene, tmp_path: Path
) -> None:
    test = np.zeros_like(left_half)
    test[1::3] = small_scene.labels[1::3]
    np.save(tmp_path / "train.npy", left_half)
    np.save(tmp_path / "test.npy", test)
    split = _split(small_scene.labels, tmp_path / "train.npy", test_path=str(tmp_path / "test.npy"))
    np.testing.assert_array_equal(split.test, test != 0)
    np.save(tmp_path / "test.npy", left_half)
    with pytest.raises(SplitError, match="are in both the training and the test mask"):
        _split(small_scene.labels, tmp_path / "train.npy", test_path=str(tmp_path / "test.npy"))


def test_several_masks_in_one_file_ask_for_the_key(
    left_half: NDArray[np.int32], small_scene: Scene, write_mat: Callable[..., Path]
) -> None:
    path = write_mat("masks.mat", first=left_half, second=np.flipud(left_half))
    with pytest.raises(SplitError, match=r"first .*, second .*--set split\.mask_key=NAME"):
        _split(small_scene.labels, path)
    split = _split(small_scene.labels, path, mask_key="first")
    np.testing.assert_array_equal(split.train | split.validation, left_half != 0)


def test_a_mask_that_does_not_fit_is_refused(
    left_half: NDArray[np.int32], small_scene: Scene, tmp_path: Path
) -> None:
    path = tmp_path / "mask.npy"
    for mask, says in (
        (left_half.T, r"\(26, 30\) does not fit the scene's \(30, 26\); it is transposed"),
        (left_half * 0.5, "expected whole numbers"),
        (left_half * 0, "marks no labelled pixel"),
        (np.where(left_half == 9, 0, left_half), r"no training pixel of classes \[9\]"),
    ):
        np.save(path, mask)
        with pytest.raises(SplitError, match=says):
            _split(small_scene.labels, path)
    path.write_bytes(b"not an array")
    with pytest.raises(SplitError, match="cannot read"):
        _split(small_scene.labels, path)


@pytest.mark.parametrize("name", ["indianpines_disjoint_dset.mat", "indianpines_ts.tif"])
def test_the_dase_mask_gives_its_known_counts(name: str, shared_data: Path) -> None:
    labels = open_scene(SceneSpec()).labels
    split = _split(labels, shared_data / "indian_pines_splits" / name)
    assert (split.train | split.validation).sum() == 5538
    assert split.test.sum() == 4711
    notes = "\n".join(split.notes)
    assert "151 of its 5689 pixels are unlabelled in the ground truth" in notes
    assert "10 pixels have another class" in notes
    assert "1=2, 2=3, 3=5, 4=6, 5=8, 6=10, 7=11, 8=12, 9=14, 10=1, 11=4, 12=7" in notes
    assert all(parts["train"] >= 1 for parts in split.counts(labels).values())


def test_the_transformer_papers_masks_give_their_known_counts(shared_data: Path) -> None:
    labels = open_scene(SceneSpec()).labels
    folder = shared_data / "indian_pines_splits"
    split = _split(
        labels,
        folder / "IndianTR123_temp123.tif",
        test_path=str(folder / "IndianTE123_temp123.tif"),
    )
    assert (split.train | split.validation).sum() == 695 - 26
    assert split.test.sum() == 9671 - 230
