"""Split manifests: a split as a text file that can be shared, and is checked when it is loaded.

JSON: whose labels (their hash and the scene's name), how the pixels were chosen (rule and seed),
and the pixels themselves, by part and class, as ranges: "0-4 7 9-12" are pixels 0 to 4, 7, and 9
to 12, where pixel = row * columns + column. A random split of Indian Pines is 27 kB, a disjoint
one 10 kB.

Shape letters: H W scene.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from st_ray.errors import SplitError, writing
from st_ray.spectral.files import array_shapes, replacing
from st_ray.spectral.labels import shape_mismatch
from st_ray.spectral.parts import (
    PART_NAMES,
    TEST,
    TRAIN,
    VALIDATION,
    Labels,
    Setting,
    Split,
    labels_fingerprint,
    parts_fingerprint,
)

FORMAT = "st_ray split 1"
SUFFIX = ".json"
_ABOUT = (
    "parts: class id to pixels; pixel = row * columns + column, from 0; ranges include both ends. "
    "labels_sha256: of '(rows, columns)' and the class ids as little-endian 64-bit integers, row "
    "by row, 0 = unlabelled. parts_sha256: of one byte a pixel, row by row: 0 in no part, 1 "
    "train, 2 validation, 3 test."
)
_KEYS = ("shape", "labels_sha256", "rule", "seed", "notes", "parts_sha256", "parts")


def save_split(split: Split, path: Path, labels_HW: Labels, scene: str = "") -> None:
    """Write a split as a manifest, which ``SplitSpec(kind=path)`` reads back.

    Args:
        split: Of these labels.
        path: The file; its name should end in .json.
        labels_HW: Class ids, 0 = unlabelled.
        scene: Its name, for people.

    Raises:
        OutputError: The file cannot be written.
    """
    table = {
        "format": FORMAT,
        "about": _ABOUT,
        "scene": scene,
        "shape": list(split.parts.shape),
        "labels_sha256": split.labels_sha256,
        "rule": dict(split.rule),
        "seed": split.seed,
        "notes": list(split.notes),
        "parts_sha256": parts_fingerprint(split.parts),
        "parts": {
            PART_NAMES[part]: dict(_classes_of(split.parts == part, labels_HW))
            for part in (TRAIN, VALIDATION, TEST)
        },
    }
    text = json.dumps(table, indent=1, ensure_ascii=False)
    with writing(path), replacing(path) as file:
        file.write((text + "\n").encode())


def load_split(path: Path, labels_HW: Labels) -> Split:
    """Read a manifest, or a split.npz of an earlier version.

    Raises:
        SplitError: Not a split, one of other labels, or one that was changed since.
    """
    if path.suffix.lower() == ".npz":
        return _load_npz(path, labels_HW)
    table = _read(path)
    _check_labels(path, tuple(table["shape"]), table["labels_sha256"], labels_HW, _classes(table))
    parts_HW = _paint(path, table["parts"], labels_HW)
    if parts_fingerprint(parts_HW) != table["parts_sha256"]:
        raise SplitError(
            f"split {path}: its pixels are not those it was written with (parts_sha256 differs); "
            "get the file anew, or make a new split"
        )
    return Split(
        parts=parts_HW,
        notes=tuple(table["notes"]),
        labels_sha256=table["labels_sha256"],
        rule=table["rule"],
        seed=table["seed"],
    )


def short_name(kind: str) -> str:
    """What tables call a split: a kind as it is, a file without folder and endings."""
    return Path(kind).stem.removesuffix(".split")


def holds_split(path: Path) -> bool:
    """Whether a file is a saved split, by its suffix, or of an .npz its keys."""
    suffix = path.suffix.lower()
    return suffix == SUFFIX or (suffix == ".npz" and "parts" in array_shapes(path, SplitError))


def _classes_of(mask_HW: NDArray[np.bool_], labels: Labels) -> Iterator[tuple[str, str]]:
    """Class id and ranges of a part's pixels, classes ascending."""
    pixels = np.flatnonzero(mask_HW)
    ids = labels.reshape(-1)[pixels]
    order = np.argsort(ids, kind="stable")
    found, starts = np.unique(ids[order], return_index=True)
    for index, own in zip(found, np.split(pixels[order], starts)[1:], strict=True):
        yield str(int(index)), _as_ranges(own)


def _as_ranges(pixels: NDArray[np.int64]) -> str:
    ends = np.flatnonzero(np.diff(pixels) != 1)
    firsts = pixels[np.concatenate(([0], ends + 1))].tolist()
    lasts = pixels[np.concatenate((ends, [len(pixels) - 1]))].tolist()
    pairs = zip(firsts, lasts, strict=True)
    return " ".join(f"{a}-{b}" if b > a else str(a) for a, b in pairs)


def _read(path: Path) -> dict[str, Any]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise SplitError(f"cannot read split {path}: {reason}; make it with st-ray split") from None
    known = table.get("format") if isinstance(table, dict) else None
    if known != FORMAT:
        raise SplitError(
            f"split {path}: expected a manifest of format {FORMAT!r}, found {str(known)[:60]!r}; "
            "make one with st-ray split"
        )
    missing = [key for key in _KEYS if key not in table]
    if missing:
        raise SplitError(f"split {path}: not a whole manifest, it lacks {missing}; get it anew")
    _check_types(path, table)
    return dict(table)


def _check_types(path: Path, table: Mapping[str, Any]) -> None:
    """See that all has the type that `save_split` wrote."""
    named = PART_NAMES[1:]
    parts = table["parts"]
    fits = {
        "shape": _list_of(table["shape"], int) and len(table["shape"]) == 2,
        "labels_sha256": isinstance(table["labels_sha256"], str),
        "parts_sha256": isinstance(table["parts_sha256"], str),
        "rule": isinstance(table["rule"], dict)
        and all(isinstance(value, Setting) for value in table["rule"].values()),
        "seed": isinstance(table["seed"], int | None),
        "notes": _list_of(table["notes"], str),
        "parts": isinstance(parts, dict)
        and set(parts) == set(named)
        and all(_texts_by_id(parts[name]) for name in named),
    }
    wrong = [key for key, right in fits.items() if not right]
    if wrong:
        raise SplitError(f"split {path}: {wrong[0]} is not as st-ray split writes it; get it anew")


def _list_of(value: object, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)


def _texts_by_id(table: object) -> bool:
    return isinstance(table, dict) and all(
        key.isascii() and key.isdecimal() and isinstance(text, str) for key, text in table.items()
    )


def _classes(table: Mapping[str, Any]) -> set[int]:
    return {int(index) for listed in table["parts"].values() for index in listed}


def _paint(path: Path, parts: Mapping[str, Mapping[str, str]], labels: Labels) -> NDArray[np.uint8]:
    """The raster of parts (H, W), every pixel checked against its class."""
    flat, truth = np.zeros(labels.size, dtype=np.uint8), labels.reshape(-1)
    for part in (TRAIN, VALIDATION, TEST):
        for index, text in parts[PART_NAMES[part]].items():
            where = f"split {path}: {PART_NAMES[part]} pixels of class {index}"
            for first, last in _ranges(text, labels.size, where):
                run = slice(first, last + 1)
                if flat[run].any():
                    raise SplitError(f"{where}: {first}-{last} are listed twice; get it anew")
                if (truth[run] != int(index)).any():
                    raise SplitError(f"{where}: {first}-{last} are not of this class; get it anew")
                flat[run] = part
    return flat.reshape(labels.shape)


def _ranges(text: str, pixels: int, where: str) -> Iterator[tuple[int, int]]:
    for word in text.split():
        low, _, high = word.partition("-")
        ends = (low, high or low)
        # Numbers of many digits cost time to read; none is needed.
        if not all(end.isascii() and end.isdecimal() and len(end) < 20 for end in ends):
            raise SplitError(f"{where}: expected pixels such as 0-4 7, found {word[:30]!r}")
        first, last = int(ends[0]), int(ends[1])
        if not first <= last < pixels:
            raise SplitError(f"{where}: expected pixels of 0 to {pixels - 1}, found {word}")
        yield first, last


def _check_labels(
    path: Path,
    shape: tuple[int, ...],
    fingerprint: str,
    labels: Labels,
    classes: set[int] | None = None,
) -> None:
    """See that a split was made for these labels."""
    if shape != labels.shape:
        raise SplitError(shape_mismatch(f"split {path}", shape, labels.shape))
    if fingerprint != labels_fingerprint(labels):
        present = {int(index) for index in np.unique(labels)} - {0}
        listed = ""
        if classes is not None and classes - present:
            listed = f" (these lack its classes {sorted(classes - present)[:9]})"
        raise SplitError(
            f"split {path} was made for other labels{listed}; use the same scene, label file and "
            "ignored classes, or make a new split"
        )


def _load_npz(path: Path, labels: Labels) -> Split:
    with np.load(path, allow_pickle=False) as archive:
        missing = {"parts", "labels_sha256", "notes"} - set(archive.files)
        if missing:
            raise SplitError(f"split {path}: not a saved split, it lacks {sorted(missing)}")
        parts, fingerprint = archive["parts"], str(archive["labels_sha256"])
        notes = tuple(str(note) for note in archive["notes"])
    _check_labels(path, parts.shape, fingerprint, labels)
    return Split(parts=parts.astype(np.uint8), notes=notes, labels_sha256=fingerprint)
