"""Bands that cannot be used: constant, never measured, or not measured too often.

A survey is taken tile by tile and merged in any order; the verdict is then given once.

Shape letters: H W window of the scene, B bands, m its pixels that lack a band, M those of them that
are labelled.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from st_ray.errors import SceneError
from st_ray.spectral.scene import Scene

_SHOWN = 8  # bands or pixels named in one line


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BandSurvey:
    """What was seen of every band. Mergeable: `merge` is associative and commutative.

    Attributes:
        seen: () int64, pixels with at least one valid value.
        empty: () int64, pixels without any valid value; counted in no band.
        invalid: (B,) int64, of the pixels seen, how many lack the band.
        minimum: (B,) float32, smallest valid value; infinity where there is none.
        maximum: (B,) float32, largest valid value; minus infinity where there is none.
        pixels: (M, 2) int64, row and column of the labelled pixels that lack any band, sorted.
        lacking: (M, ceil(B / 8)) uint8, the bands they lack, one bit each (`numpy.packbits`).
    """

    seen: NDArray[np.int64]
    empty: NDArray[np.int64]
    invalid: NDArray[np.int64]
    minimum: NDArray[np.float32]
    maximum: NDArray[np.float32]
    pixels: NDArray[np.int64]
    lacking: NDArray[np.uint8]

    def merge(self, other: BandSurvey) -> BandSurvey:
        """The survey of both windows together, which must not overlap."""
        pixels = np.concatenate([self.pixels, other.pixels])
        order = np.lexsort((pixels[:, 1], pixels[:, 0]))
        return BandSurvey(
            seen=self.seen + other.seen,
            empty=self.empty + other.empty,
            invalid=self.invalid + other.invalid,
            minimum=np.minimum(self.minimum, other.minimum),
            maximum=np.maximum(self.maximum, other.maximum),
            pixels=pixels[order],
            lacking=np.concatenate([self.lacking, other.lacking])[order],
        )

    def to_bytes(self) -> bytes:
        """The survey as the bytes of an .npz file, without pickle."""
        buffer = io.BytesIO()
        arrays = {item.name: getattr(self, item.name) for item in fields(self)}
        np.savez(buffer, allow_pickle=False, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> BandSurvey:
        """Invert `to_bytes`."""
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return cls(**{item.name: arrays[item.name] for item in fields(cls)})


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BandVerdict:
    """What follows from a survey.

    Attributes:
        bad: Band as numbered in the file, 0-based, to the reason it cannot be used.
        masked: (M, 2) int64, row and column of labelled pixels that lack a band that is kept.
        empty: Pixels without any valid value.
    """

    bad: dict[int, str]
    masked: NDArray[np.int64]
    empty: int


def survey_bands(
    values_HWB: NDArray[np.float32], labels_HW: NDArray[np.integer], origin: tuple[int, int]
) -> BandSurvey:
    """Survey one window, such as a tile's core.

    Args:
        values_HWB: Values as `Cube.read` gives them: NaN where invalid.
        labels_HW: Class ids of the window, 0 = unlabelled.
        origin: Row and column of the window's first pixel in the scene.
    """
    invalid_HWB = np.isnan(values_HWB)
    lacks_any_HW = invalid_HWB.any(axis=2)
    lacking_mB = invalid_HWB[lacks_any_HW]  # of most windows, none
    empty_m = lacking_mB.all(axis=1)
    offending_m = labels_HW[lacks_any_HW] != 0
    flat = values_HWB.reshape(-1, values_HWB.shape[2])
    return BandSurvey(
        seen=np.asarray(lacks_any_HW.size - empty_m.sum(), dtype=np.int64),
        empty=np.asarray(empty_m.sum(), dtype=np.int64),
        invalid=lacking_mB[~empty_m].sum(axis=0, dtype=np.int64),
        minimum=np.fmin.reduce(flat, axis=0, initial=np.float32(np.inf)),
        maximum=np.fmax.reduce(flat, axis=0, initial=np.float32(-np.inf)),
        pixels=np.argwhere(lacks_any_HW)[offending_m] + np.asarray(origin, dtype=np.int64),
        lacking=np.packbits(lacking_mB[offending_m], axis=1),
    )


def judge_bands(
    survey: BandSurvey,
    band_indices: Sequence[int],
    max_invalid: float = 0.05,
    marked: Collection[int] = (),
) -> BandVerdict:
    """Decide which bands cannot be used, and which labelled pixels then still lack a value.

    Args:
        survey: The whole scene's survey, of B bands.
        band_indices: Their numbers in the file: the cube's ``band_indices``.
        max_invalid: Largest share of invalid pixels a band may have, in 0..1.
        marked: Bands that the file itself marks as bad: ``cube.meta.bad_bands``.

    Raises:
        SceneError: No pixel of the scene has a valid value.
    """
    seen = int(survey.seen)
    if seen == 0:
        raise SceneError("no pixel of the scene has a valid value; check scene.nodata")
    bad: dict[int, str] = {}
    usable = np.zeros(len(band_indices), dtype=bool)
    for position, band in enumerate(band_indices):
        invalid = int(survey.invalid[position])
        if band in marked:
            bad[band] = "marked bad in the header"
        elif invalid == seen:
            bad[band] = "NaN or nodata in every pixel"
        elif survey.minimum[position] == survey.maximum[position]:
            bad[band] = f"constant at {survey.minimum[position]:g}"
        elif invalid > max_invalid * seen:
            bad[band] = f"NaN or nodata in {invalid / seen:.1%} of the pixels"
        else:
            usable[position] = True
    lacking = np.unpackbits(survey.lacking, axis=1, count=len(band_indices)).astype(bool)
    masked = survey.pixels[lacking[:, usable].any(axis=1)]
    return BandVerdict(bad=bad, masked=masked, empty=int(survey.empty))


def apply_verdict(
    scene: Scene, verdict: BandVerdict, policy: Literal["drop", "error"]
) -> tuple[Scene, tuple[str, ...]]:
    """Take the bad bands out of a scene, and the invalid pixels out of its labels.

    Args:
        scene: The scene the survey was taken of.
        verdict: What to take out.
        policy: ``SceneSpec.bad_bands``: "drop" takes out and notes; "error" refuses.

    Returns:
        The scene, and notes for the report: one for the bands, one for the pixels, if any.

    Raises:
        SceneError: The policy is "error" and something is invalid, or fewer than
            two classes are left.
    """
    notes = []
    if verdict.bad:
        notes.append(f"{counted(len(verdict.bad), 'unusable band')}: {_bands(verdict.bad)}")
    if len(verdict.masked):
        notes.append(
            f"{counted(len(verdict.masked), 'labelled pixel')} with NaN or nodata in usable bands: "
            f"{_pixels(verdict.masked)}"
        )
    if len(verdict.bad) == len(scene.cube.band_indices):
        raise SceneError(f"scene {scene.name!r} has no usable band: {_bands(verdict.bad)}")
    if not notes:
        return scene, ()
    if policy == "error":
        raise SceneError(
            f"scene {scene.name!r} has {'; and '.join(notes)}; "
            "to leave them out: --set scene.bad_bands=drop"
        )
    labels = scene.labels.copy()
    labels[verdict.masked[:, 0], verdict.masked[:, 1]] = 0
    if not labels.any():
        raise SceneError(f"scene {scene.name!r}: every labelled pixel has NaN or nodata values")
    cube = scene.cube.drop(verdict.bad) if verdict.bad else scene.cube
    kept = np.array(cube.band_indices)
    red, green, blue = (int(kept[np.abs(kept - band).argmin()]) for band in scene.false_colour)
    usable = replace(scene.relabel(labels), cube=cube, false_colour=(red, green, blue))
    lost = sorted(set(scene.classes) - set(usable.classes))
    if lost:
        notes.append(f"classes {lost}, which have no valid pixel")
    if len(usable.classes) < 2 <= len(scene.classes):
        raise SceneError(
            f"scene {scene.name!r} has too few classes left without {'; and '.join(notes)}; "
            "check scene.nodata"
        )
    return usable, tuple(f"left out {note}" for note in notes)


def counted(number: int, noun: str) -> str:
    """A number of things in words: "1 band", "12 bands"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _bands(bad: dict[int, str]) -> str:
    named = [f"{band} ({reason})" for band, reason in list(bad.items())[:_SHOWN]]
    more = len(bad) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")


def _pixels(pixels_M2: NDArray[np.int64]) -> str:
    named = [f"({row}, {col})" for row, col in pixels_M2[:_SHOWN]]
    more = len(pixels_M2) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")
