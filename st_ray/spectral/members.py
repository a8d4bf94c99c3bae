"""The scenes of a run of several, and how they may be split.

Shape letters: H W mosaic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from st_ray.errors import SplitError
from st_ray.spectral.cube import Extent
from st_ray.spectral.parts import PART_NAMES, UNUSED, Split


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One of several scenes that are trained as one.

    Attributes:
        name: What messages call it.
        extent: Where it lies in the mosaic.
        part: "train", "validation" or "test", where somebody said so; else "".
        whole: Whether one label was given for all its pixels: then it is split as a whole.
    """

    name: str
    extent: Extent
    part: str = ""
    whole: bool = False


def settle_kind(kind: str, members: Sequence[Member]) -> str:
    """The kind of split that "auto" stands for, or the one that was asked for.

    Raises:
        SplitError: Scenes that belong in one part each are to be drawn pixel by pixel, or there
            are no scenes to split by.
    """
    whole = sum(member.whole for member in members)
    told = sum(bool(member.part) for member in members)
    if kind == "auto":
        return "scenes" if whole or told else "random"
    if kind in ("random", "disjoint") and whole:
        raise SplitError(
            f"a {kind} split draws pixels, and {whole} of the {len(members)} scenes have one label "
            "for all their pixels: training and test would share them; use --split scenes"
        )
    if kind in ("random", "disjoint") and told:
        raise SplitError(
            f"a {kind} split would ignore the parts that the manifest gives {told} scenes; use "
            "--split scenes, or leave the parts out of the manifest"
        )
    if kind == "scenes" and len(members) < 2:
        raise SplitError(
            "a split by scene needs several scenes, named by a pattern with *, a manifest, or an "
            "array of patches; use --split random or disjoint for one"
        )
    return kind


def check_whole(split: Split, name: str, members: Sequence[Member]) -> None:
    """See that no scene with one label for all its pixels is in two parts."""
    for member in members:
        crop = split.parts[member.extent.rows, : member.extent.width]
        parts = [PART_NAMES[part] for part in np.unique(crop[crop != UNUSED])]
        if member.whole and len(parts) > 1:
            raise SplitError(
                f"split {name}: scene {member.name}, which has one label for all its pixels, is in "
                f"{' and '.join(parts)}; such scenes are split as a whole: use --split scenes"
            )
