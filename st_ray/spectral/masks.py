"""Fixed splits: which pixels train, validate and test, from published rasters.

Shape letters: H W scene.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from st_ray.errors import SplitError, unknown_name
from st_ray.spectral.files import Wanted, array_shapes, find_key, read_array
from st_ray.spectral.label_files import whole_numbers
from st_ray.spectral.labels import shape_mismatch

Mask = NDArray[np.bool_]

_MASK = Wanted(
    what="split mask", ndim=2, option="split.mask_key", error=SplitError, accepts=whole_numbers
)
# Keys of files that hold several masks; TR and TE are those of several transformer papers.
_TRAIN, _VALIDATION, _TEST = ("train", "TR"), ("validation", "val", "VA"), ("test", "TE")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FixedMasks:
    """What a split file says about the labelled pixels.

    Attributes:
        train: (H, W), labelled pixels to train on.
        validation: (H, W), or None if the file names none.
        test: (H, W); the remaining labelled pixels where the file names none.
        notes: How the file and the ground truth differ.
    """

    train: Mask
    validation: Mask | None
    test: Mask
    notes: tuple[str, ...]


def read_masks(
    path: Path,
    test_path: str | None,
    key: str | None,
    labels_HW: NDArray[np.integer],
    ids: Mapping[int, int] | None = None,
) -> FixedMasks:
    """Read fixed masks; class ids are the ground truth's, the masks' own are only compared.

    Args:
        path: Raster whose nonzero pixels train, or a .mat or .npz with train and test rasters.
        test_path: Raster whose nonzero pixels test, if another file holds it.
        key: Variable of the training raster, where the file holds several; None finds it.
        labels_HW: Ground truth, 0 = unlabelled.
        ids: The ground truth's id of each of the masks' own; None: what most of its pixels are.

    Raises:
        SplitError: A file cannot be read or does not fit, two parts share pixels, or a class has
            no training pixel.
    """
    keys = array_shapes(path, SplitError)
    train_key = key or _named(keys, _TRAIN)
    notes: list[str] = []
    read = partial(_labelled, labels=labels_HW, notes=notes, meaning=ids)
    train = read(path, train_key, what="training")
    validation_key, test_key = _named(keys, _VALIDATION), _named(keys, _TEST)
    validation = test = None
    if validation_key is not None:
        validation = read(path, validation_key, what="validation")
    if test_path is not None:
        test = read(split_file(test_path), None, what="test")
    elif test_key is not None:
        test = read(path, test_key, what="test")
    else:
        test = (labels_HW != 0) & ~train
        if validation is not None:
            test &= ~validation
    _check_disjoint(path, {"training": train, "validation": validation, "test": test})
    _check_classes(path, train, labels_HW)
    return FixedMasks(train=train, validation=validation, test=test, notes=tuple(notes))


def find_mask(kind: str, named: Sequence[str]) -> Path:
    """The mask file that a kind of split is the path of.

    Raises:
        SplitError: There is none; lists the kinds that go by name.
    """
    path = Path(kind).expanduser()
    if path.is_file() or path.suffix or len(path.parts) > 1:
        return split_file(kind)
    message = unknown_name("split", kind, named)
    raise SplitError(f"{message}; or the path of a mask file or a split manifest")


def split_file(name: str) -> Path:
    """The file of that path.

    Raises:
        SplitError: There is none.
    """
    path = Path(name).expanduser()
    if not path.is_file():
        raise SplitError(f"no such split file: {path} (in {Path.cwd()})")
    return path


def carve(
    train_HW: Mask, labels_HW: NDArray[np.integer], fraction: float, rng: np.random.Generator
) -> Mask:
    """Draw a validation part from training pixels, stratified.

    Args:
        train_HW: The training pixels.
        labels_HW: Class ids.
        fraction: Share of each class's training pixels, in 0..1; at least one pixel, if that
            leaves one to train on.
        rng: Decides the draw.

    Returns:
        The validation pixels (H, W), all of them in ``train_HW``.
    """
    carved = np.zeros(labels_HW.shape, dtype=bool)
    for index in np.unique(labels_HW[train_HW]):
        places = rng.permutation(np.flatnonzero(train_HW & (labels_HW == index)))
        wanted = max(1, round(fraction * len(places)))
        carved.flat[places[: min(wanted, len(places) - 1)]] = True
    return carved


def _named(keys: dict[str, tuple[int, ...]], names: Sequence[str]) -> str | None:
    return next((name for name in names if name in keys), None)


def _labelled(
    path: Path,
    key: str | None,
    *,
    labels: NDArray[np.integer],
    what: str,
    notes: list[str],
    meaning: Mapping[int, int] | None,
) -> Mask:
    raster = read_array(path, find_key(path, key, _MASK), SplitError)
    if raster.shape != labels.shape:
        raise SplitError(shape_mismatch(f"{what} mask {path}", raster.shape, labels.shape))
    if not whole_numbers(raster):
        raise SplitError(f"{what} mask {path}: expected whole numbers, 0 = not in the mask")
    marked = raster != 0
    mask = np.asarray(marked & (labels != 0), dtype=bool)
    if not mask.any():
        raise SplitError(f"{what} mask {path}: marks no labelled pixel")
    dropped = int(marked.sum() - mask.sum())
    if dropped:
        notes.append(
            f"{what} mask: {dropped} of its {int(marked.sum())} pixels are unlabelled in the "
            "ground truth and were dropped"
        )
    notes.extend(_compare(raster[mask], labels[mask], what, meaning))
    return mask


def _compare(
    ids: NDArray[np.generic],
    truth: NDArray[np.integer],
    what: str,
    given: Mapping[int, int] | None,
) -> list[str]:
    """Notes on a mask's own class ids: reordered against the ground truth, or in conflict.

    Raises:
        SplitError: What the ids are said to mean is not what the ground truth says.
    """
    own, own_index = np.unique(ids, return_inverse=True)
    if len(own) == 1:
        return []  # a plain mask, without class ids
    classes, class_index = np.unique(truth, return_inverse=True)
    table = np.zeros((len(own), len(classes)), dtype=np.int64)
    np.add.at(table, (own_index, class_index), 1)
    meaning = classes[table.argmax(axis=1)]
    if given is not None:
        _check_meaning(own, meaning, what, given)
    notes = []
    if (meaning != own).any():
        listing = ", ".join(f"{int(a)}={int(b)}" for a, b in zip(own, meaning, strict=True))
        notes.append(
            f"{what} mask: its class ids are not the ground truth's (mask=ground truth: "
            f"{listing}); the ground truth's were used"
        )
    conflicts = int(table.sum() - table.max(axis=1).sum())
    if conflicts:
        notes.append(
            f"{what} mask: {conflicts} pixels have another class than in the ground truth, "
            "which was used"
        )
    return notes


def _check_meaning(
    own: NDArray[np.generic],
    meaning: NDArray[np.integer],
    what: str,
    given: Mapping[int, int],
) -> None:
    for index, found in zip(own.tolist(), meaning.tolist(), strict=True):
        if given.get(index) != found:
            raise SplitError(
                f"{what} mask: its class {index} is class {given.get(index)} of the published "
                f"ground truth, but most of its pixels have class {found} in these labels; "
                "use the published labels, or name the mask's file as the split"
            )


def _check_disjoint(path: Path, parts: dict[str, Mask | None]) -> None:
    given = [(name, mask) for name, mask in parts.items() if mask is not None]
    for index, (name, mask) in enumerate(given):
        for other, other_mask in given[index + 1 :]:
            shared = int((mask & other_mask).sum())
            if shared:
                raise SplitError(
                    f"split {path}: {shared} pixels are in both the {name} and the {other} mask; "
                    "parts must be disjoint"
                )


def _check_classes(path: Path, train: Mask, labels: NDArray[np.integer]) -> None:
    trained = set(np.unique(labels[train]))
    without = [int(i) for i in np.unique(labels[labels != 0]) if i not in trained]
    if without:
        raise SplitError(
            f"split {path}: no training pixel of classes {without}; "
            f"leave them out with --set scene.ignore_classes={without}"
        )
