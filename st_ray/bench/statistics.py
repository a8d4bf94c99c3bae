"""Statistics of paired measurements: pure functions of numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

_RESAMPLES = 10_000


def paired_interval(differences: Sequence[float], *, level: float = 0.95) -> tuple[float, float]:
    """Bootstrap interval of the mean of paired differences (percentiles of 10,000 resamples).

    With few pairs it is too narrow: from 3 pairs no resample is more extreme than the most
    extreme pair. Source: Efron & Tibshirani 1993, "An Introduction to the Bootstrap", ch. 13.

    Returns:
        Lower and upper end; NaN without at least two pairs.
    """
    if len(differences) < 2:
        return math.nan, math.nan
    values = np.asarray(differences, dtype=np.float64)
    rng = np.random.default_rng(0)
    means = values[rng.integers(0, len(values), (_RESAMPLES, len(values)))].mean(axis=1)
    tail = 50.0 * (1.0 - level)
    low, high = np.percentile(means, [tail, 100.0 - tail])
    return float(low), float(high)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and greatest; NaN of nothing."""
    if not values:
        return {"median": math.nan, "least": math.nan, "greatest": math.nan}
    return {
        "median": float(np.median(values)),
        "least": float(min(values)),
        "greatest": float(max(values)),
    }


def spread_of_ratios(values: Sequence[float]) -> dict[str, float]:
    """As `spread`, for ratios: between two middle ones lies their geometric mean.

    A ratio of 0 stands for "never", and so does a time of infinity: a median that rests on one
    is the same.
    """
    if not values:
        return spread(values)
    middle = sorted(values)[(len(values) - 1) // 2 : len(values) // 2 + 1]
    return {**spread(values), "median": geometric_mean(middle)}


def geometric_mean(values: Sequence[float]) -> float:
    """Geometric mean; 0 if one of them is 0, NaN of nothing."""
    if not values:
        return math.nan
    if min(values) <= 0:
        return 0.0
    if max(values) == math.inf:
        return math.inf
    return math.exp(sum(math.log(value) for value in values) / len(values))


def first_reach(curve: Sequence[tuple[float, float]], target: float) -> float:
    """Seconds at which a curve of (seconds, validation OA) first meets a target, or infinity."""
    return next((seconds for seconds, accuracy in curve if accuracy >= target), math.inf)
