"""Numbers and findings in words, the same on the page and in the terminal."""

from __future__ import annotations

import math

from st_ray.report.sections import SceneScores, SplitSummary

MISSING = "–"
"""Stands for a number that was not measured."""


def percent(share: float | None, digits: int = 2) -> str:
    """A share as a percentage without its sign: 0.98765 is ``98.77``."""
    return _fixed(None if share is None else 100 * share, digits)


def number(value: float | None, digits: int = 4) -> str:
    """A number with fixed decimals."""
    return _fixed(value, digits)


def compact(value: float | None, digits: int = 3) -> str:
    """A number with ``digits`` significant digits: ``0.123``, ``30``, ``2,050``."""
    if value is None or not math.isfinite(value):
        return MISSING
    rounded = f"{value:.{digits}g}"
    return f"{value:,.0f}" if abs(float(rounded)) >= 10**digits else rounded


def duration(seconds: float | None) -> str:
    """A time span: ``0.4 s``, ``12.3 s``, ``4 min 05 s``, ``2 h 07 min``."""
    if seconds is None or not math.isfinite(seconds):
        return MISSING
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    if round(seconds) < 3600:
        return "{} min {:02d} s".format(*divmod(round(seconds), 60))
    return "{} h {:02d} min".format(*divmod(round(seconds / 60), 60))


def size(gigabytes: float) -> str:
    """An amount of data: ``27.4 kB``, ``8.41 MB``, ``5 GB``."""
    for unit, number_of in (("GB", gigabytes), ("MB", 1e3 * gigabytes)):
        if number_of >= 1:
            return f"{compact(number_of)} {unit}"
    return f"{compact(1e6 * gigabytes)} kB"


def saving(cost: float, full_cost: float) -> str:
    """How much cheaper ``cost`` is than ``full_cost``: ``7.8x less``, or the same or more."""
    if not (cost > 0 and full_cost > 0):
        return MISSING
    ratio = full_cost / cost
    if 0.995 <= ratio < 1.005:
        return "the same"
    return f"{compact(ratio)}× less" if ratio > 1 else f"{compact(1 / ratio)}× more"


def whitening(exponent: float) -> str:
    """How far the components' variances are made equal: ``none``, ``partial``, ``full``."""
    extent = "full" if exponent == 0.5 else "partial"
    return f"{extent} (exponent {compact(exponent)})" if exponent else "none"


def shares(split: SplitSummary) -> str:
    """How the pixels were shared out: as asked for where drawn, as counted where a file says."""
    if split.train_fraction is None or split.validation_fraction is None:
        totals = split.totals
        labelled = max(1, totals.train + totals.validation + totals.test + totals.unused)
        parts = ("train", "validation", "test")
        counted = (f"{percent(getattr(totals, part) / labelled, 1)} % {part}" for part in parts)
        return f"{split.kind}: {', '.join(counted)}"
    guard = "" if split.guard is None else f", guard band {split.guard} px"
    return (
        f"{split.kind}, seed {split.seed}: {percent(split.train_fraction, 1)} % train, "
        f"{percent(split.validation_fraction, 1)} % validation{guard}"
    )


def votes(scores: SceneScores) -> str:
    """How many scenes with one label are right, by what most of their pixels are taken for."""
    return (
        f"By scene: {scores.right} of {scores.scored} test scenes are right by the majority of "
        f"their pixels ({percent(scores.accuracy)} %)"
    )


def honesty(split: SplitSummary) -> tuple[bool, str]:
    """What the split means for the score.

    Returns:
        Whether the score is optimistic because training pixels leak into test patches, and one
        or two sentences that say so.
    """
    size = f"{split.patch_size}×{split.patch_size}"
    if not math.isfinite(split.leakage):
        return False, f"There is no test pixel whose {size} patch could be checked for leakage."
    if split.leakage > 0:
        remedy = (
            f"Widen the guard band to at least {split.patch_size // 2} px"
            if split.kind == "disjoint"
            else "Use --split disjoint"
        )
        return True, (
            f"{plain_share(split.leakage)} % of the test patches ({size}) contain a training "
            "pixel: this score is optimistic, because the model has seen the neighbourhoods that "
            f"it is tested on. {remedy} for a score that carries over to unseen ground."
        )
    guard = f" (guard band: {split.guard} px)" if split.guard else ""
    if split.footprint_overlap > 0:
        return False, (
            f"No test patch ({size}) contains a training pixel{guard}, but "
            f"{plain_share(split.footprint_overlap)} % of them overlap a training patch in pixels "
            "that are not labelled for training."
        )
    return False, (
        f"No test patch ({size}) contains a training pixel or overlaps a training patch{guard}: "
        "the score is measured on ground that the model has not seen."
    )


def plain_share(share: float) -> str:
    """A share as a percentage, without its sign, that is never rounded to 0 or 100 unless it is."""
    shown = f"{100 * share:.1f}"
    if shown == "100.0" and share < 1:
        return "more than 99.9"
    if shown == "0.0" and share > 0:
        return "less than 0.1"
    return shown


def _fixed(value: float | None, digits: int) -> str:
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{value:.{digits}f}"
