"""Splits: which labelled pixels train, validate and test.

Shape letters: H W scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from st_ray.errors import SpecError, SplitError
from st_ray.spectral.allot import Shares, allot
from st_ray.spectral.blocks import BlockQuotas, draw_blocks
from st_ray.spectral.masks import FixedMasks, carve, find_mask, read_masks, split_file
from st_ray.spectral.members import Member, check_whole, settle_kind
from st_ray.spectral.parts import (
    PART_NAMES,
    TEST,
    TRAIN,
    UNUSED,
    VALIDATION,
    Setting,
    Split,
    footprint_overlap,
    labels_fingerprint,
    leakage,
    list_small,
)
from st_ray.spectral.patches import check_odd
from st_ray.spectral.published import PUBLISHED, read_published
from st_ray.spectral.splitfile import holds_split, load_split

__all__ = ["Split", "SplitSpec", "footprint_overlap", "leakage", "settle_kind", "split_labels"]

DRAWN = ("auto", "random", "disjoint", "scenes")
NAMED = (*DRAWN, *PUBLISHED)

Labels = NDArray[np.integer]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitSpec:
    """How to split.

    Attributes:
        kind: "random" (stratified), "disjoint" (spatial blocks with a guard band), "scenes" (of
            several scenes, each wholly in one part), "auto" ("scenes" where scenes have one label
            each or a manifest says their parts, else "random"), a published split (see
            `st_ray.spectral.published`), or the path of a mask (.mat, .npy, .npz, .tif, .png) or
            of a saved split (.json; see `st_ray.spectral.splitfile`).
        train_fraction: Share of each class that trains, in 0..1; at least one pixel, or scene.
        validation_fraction: Share of each class that validates, in 0..1; at least one pixel, or
            scene. Of the training part, where a mask or manifest names no validation part.
        guard: Disjoint: other parts are farther than this from training pixels, in pixels; None
            takes the largest patch's radius, so that no test patch holds a training pixel.
        block_size: Disjoint: side of a block in pixels; None takes max(8, 2 * guard).
        test_path: Fixed: a second mask, of the test pixels; None tests on all that is left.
        mask_key: Fixed: variable of the training mask in a file that holds several.
        pixels_per_scene: Scenes: labelled pixels of a scene that train, or validate, at most; None
            takes all. Test scenes are scored in full.
        folder: Published: where its files lie; None: in the cache.
    """

    kind: str = "auto"
    train_fraction: float = 0.1
    validation_fraction: float = 0.05
    guard: int | None = None
    block_size: int | None = None
    test_path: str | None = None
    mask_key: str | None = None
    pixels_per_scene: int | None = None
    folder: str | None = None

    def __post_init__(self) -> None:
        for name in ("train_fraction", "validation_fraction"):
            value = getattr(self, name)
            if not 0 < value < 1:
                raise SplitError(f"split.{name}={value}: expected more than 0 and less than 1")
        together = self.train_fraction + self.validation_fraction
        if together >= 1:
            raise SplitError(
                f"split.train_fraction={self.train_fraction} and split.validation_fraction="
                f"{self.validation_fraction} leave nothing to test on; their sum must be below 1"
            )
        if self.guard is not None and self.guard < 0:
            raise SplitError(f"split.guard={self.guard}: expected 0 pixels or more")
        if self.kind in NAMED and (self.test_path or self.mask_key):
            raise SplitError(
                f"split.test_path and split.mask_key go with a mask file, not with split.kind="
                f"{self.kind}; set it to the training mask's path"
            )
        if self.folder is not None and self.kind not in PUBLISHED:
            raise SplitError(
                f"split.folder goes with a published split ({', '.join(PUBLISHED)}), not with "
                f"{self.kind!r}; leave it out"
            )
        if self.block_size is not None and self.block_size < 1:
            raise SplitError(f"split.block_size={self.block_size}: expected 1 pixel or more")
        if self.pixels_per_scene is not None:
            if self.pixels_per_scene < 1:
                raise SplitError(
                    f"split.pixels_per_scene={self.pixels_per_scene}: expected 1 pixel or more"
                )
            if self.kind not in ("auto", "scenes"):
                raise SplitError(
                    f"split.pixels_per_scene goes with a split by scene, not with {self.kind!r}; "
                    "use --split scenes"
                )


def split_labels(
    labels_HW: Labels,
    spec: SplitSpec,
    seed: int,
    patch_size: int,
    members: Sequence[Member] = (),
) -> Split:
    """Split the labelled pixels.

    Args:
        labels_HW: Class ids, 0 = unlabelled.
        spec: How to split.
        seed: Decides the draw: the same seed gives the same split.
        patch_size: Side of the largest patch of the run, in pixels, odd.
        members: The scenes in it, if it is several: `Scene.members`.

    Raises:
        SpecError: The patch size is not odd and positive, or exceeds the scene.
        SplitError: A class has too few pixels or scenes, a mask does not fit, a part would be
            empty, or scenes with one label each would be in several parts.
    """
    kind = settle_split(spec, patch_size, labels_HW.shape, members)
    if kind not in NAMED and holds_split(path := find_mask(kind, NAMED)):
        split = load_split(path, labels_HW)
    else:
        settled, rng = replace(spec, kind=kind), np.random.default_rng(seed)
        drawn = _draw(labels_HW, settled, rng, patch_size, members)
        split = replace(drawn, seed=seed, rule={**_rule(settled), **drawn.rule})
    if kind not in DRAWN:
        check_whole(split, kind, members)
    for part in (TRAIN, VALIDATION, TEST):
        if not (split.parts == part).any():
            remedy = (
                f"give a scene part={PART_NAMES[part]}"
                if kind == "scenes"
                else "a smaller split.guard or other fractions may help"
            )
            raise SplitError(f"split {kind!r} leaves no {PART_NAMES[part]} pixel; {remedy}")
    return replace(split, extents=tuple(member.extent for member in members))


def settle_split(
    spec: SplitSpec, patch_size: int, shape: tuple[int, ...], members: Sequence[Member]
) -> str:
    """The kind, "auto" settled; raises as `split_labels` does where that needs no pixel."""
    check_odd(patch_size)
    if patch_size > min(shape):
        largest = min(shape) - 1 + min(shape) % 2
        raise SpecError(
            f"patch_size={patch_size} exceeds the scene's {shape[0]} x {shape[1]} pixels; "
            f"set patch_size <= {largest}"
        )
    if (kind := settle_kind(spec.kind, members)) not in NAMED:
        find_mask(kind, NAMED)
        if spec.test_path is not None:
            split_file(spec.test_path)
    return kind


def _scenes(
    labels: Labels, spec: SplitSpec, rng: np.random.Generator, members: Sequence[Member]
) -> Split:
    shares = Shares(
        train=spec.train_fraction,
        validation=spec.validation_fraction,
        pixels=spec.pixels_per_scene,
    )
    parts, notes = allot(labels, members, shares, rng)
    masks = (parts == TRAIN, parts == VALIDATION, parts == TEST)
    return _assemble(labels, *masks, notes)


def _draw(
    labels: Labels,
    spec: SplitSpec,
    rng: np.random.Generator,
    patch_size: int,
    members: Sequence[Member],
) -> Split:
    if spec.kind == "scenes":
        return _scenes(labels, spec, rng, members)
    if spec.kind in DRAWN:
        _check_classes(labels)
    if spec.kind == "random":
        return _random(labels, spec, rng)
    if spec.kind == "disjoint":
        return _disjoint(labels, spec, rng, patch_size)
    if spec.kind in PUBLISHED:
        masks = read_published(spec.kind, spec.folder, labels)
    else:
        masks = read_masks(find_mask(spec.kind, NAMED), spec.test_path, spec.mask_key, labels)
    return _of_masks(labels, masks, spec, rng)


def _check_classes(labels: Labels) -> None:
    classes, totals = np.unique(labels[labels != 0], return_counts=True)
    small = [(int(c), int(n)) for c, n in zip(classes, totals, strict=True) if n < 3]
    if small:
        raise SplitError(
            "every class needs 3 labelled pixels, for training, validation and test: "
            f"{list_small(small)}"
        )


def _share(fraction: float, totals: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.asarray(np.maximum(1, np.rint(fraction * totals)), dtype=np.int64)


def _quotas(totals: NDArray[np.int64], spec: SplitSpec) -> BlockQuotas:
    # At least one pixel each for training and validation, and at least one left to test.
    train = np.minimum(_share(spec.train_fraction, totals), totals - 2)
    validation = np.minimum(_share(spec.validation_fraction, totals), totals - 1 - train)
    return BlockQuotas(train=train, validation=validation)


def _random(labels: Labels, spec: SplitSpec, rng: np.random.Generator) -> Split:
    classes, totals = np.unique(labels[labels != 0], return_counts=True)
    quotas = _quotas(totals, spec)
    parts = np.where(labels != 0, np.uint8(TEST), np.uint8(UNUSED))
    for index, train, validation in zip(classes, quotas.train, quotas.validation, strict=True):
        places = rng.permutation(np.flatnonzero(labels == index))
        parts.flat[places[:train]] = TRAIN
        parts.flat[places[train : train + validation]] = VALIDATION
    return Split(parts=parts, labels_sha256=labels_fingerprint(labels))


def _disjoint(labels: Labels, spec: SplitSpec, rng: np.random.Generator, patch_size: int) -> Split:
    guard = patch_size // 2 if spec.guard is None else spec.guard
    block_size = spec.block_size or max(8, 2 * guard)
    _, totals = np.unique(labels[labels != 0], return_counts=True)
    train, validation, test = draw_blocks(
        labels, _quotas(totals, spec), guard=guard, block_size=block_size, rng=rng
    )
    notes = [f"blocks of {block_size} x {block_size} pixels, guard band of {guard} pixels"]
    if guard < patch_size // 2:
        notes.append(
            f"the guard is narrower than the patch's radius {patch_size // 2}: "
            "test patches hold training pixels"
        )
    drawn = _assemble(labels, train, validation, test, notes)
    return replace(drawn, rule={"guard": guard, "block_size": block_size, "patch_size": patch_size})


def _of_masks(
    labels: Labels, masks: FixedMasks, spec: SplitSpec, rng: np.random.Generator
) -> Split:
    notes = list(masks.notes)
    train, validation = masks.train, masks.validation
    if validation is None:
        validation = carve(train, labels, spec.validation_fraction, rng)
        train = train & ~validation
        notes.append(
            f"the mask names no validation part: {spec.validation_fraction:.0%} of its training "
            "pixels, stratified, validate"
        )
    return _assemble(labels, train, validation, masks.test, notes)


def _assemble(labels: Labels, train: Mask, validation: Mask, test: Mask, notes: list[str]) -> Split:
    parts = np.zeros(labels.shape, dtype=np.uint8)
    for part, mask in ((TEST, test), (VALIDATION, validation), (TRAIN, train)):
        parts[mask] = part
    for part in (VALIDATION, TEST):
        present = set(np.unique(labels[parts == part]))
        missing = [int(i) for i in np.unique(labels[labels != 0]) if i not in present]
        if missing:
            notes.append(f"classes without a {PART_NAMES[part]} pixel: {missing}")
    unused = int(((parts == UNUSED) & (labels != 0)).sum())
    if unused:
        notes.append(f"{unused} labelled pixels are in no part")
    return Split(parts=parts, notes=tuple(notes), labels_sha256=labels_fingerprint(labels))


def _rule(spec: SplitSpec) -> dict[str, Setting]:
    """What decides a split, for its manifest; files by their names, which say more elsewhere."""
    rule: dict[str, Setting] = {
        name: value for name, value in asdict(spec).items() if value is not None
    }
    rule.pop("folder", None)
    for name in ("kind", "test_path"):
        if name in rule and rule[name] not in NAMED:
            rule[name] = Path(str(rule[name])).name
    if spec.kind not in DRAWN:
        rule.pop("train_fraction")
    return rule
