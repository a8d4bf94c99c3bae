"""Intervals cover what they should; ratios and means of edge cases."""

from __future__ import annotations

import math

import numpy as np
import pytest

from st_ray.bench.statistics import (
    first_reach,
    geometric_mean,
    paired_interval,
    spread,
    spread_of_ratios,
)


def test_the_interval_covers_the_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        low, high = paired_interval(list(rng.normal(1.0, 2.0, 30)))
        covered += low <= 1.0 <= high
    assert 0.89 <= covered / 200 <= 0.98


def test_the_interval_agrees_with_scipy() -> None:
    from scipy.stats import bootstrap

    values = np.random.default_rng(1).normal(0.0, 1.0, 12)
    known = bootstrap(
        (values,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    assert paired_interval(list(values)) == pytest.approx((known.low, known.high), abs=0.03)


def test_one_pair_has_no_interval() -> None:
    assert all(math.isnan(end) for end in paired_interval([0.1]))


def test_geometric_mean() -> None:
    assert geometric_mean([2.0, 8.0]) == pytest.approx(4.0)
    assert geometric_mean([2.0, 0.0]) == 0.0
    assert math.isnan(geometric_mean([]))


def test_spread() -> None:
    assert spread([3.0, 1.0, 2.0]) == {"median": 2.0, "least": 1.0, "greatest": 3.0}


def test_a_median_of_ratios_that_rests_on_never_is_never() -> None:
    assert spread_of_ratios([4.0, 0.0])["median"] == 0.0
    assert spread_of_ratios([9.0, 0.0, 4.0])["median"] == pytest.approx(4.0)
    assert spread_of_ratios([9.0, 4.0])["median"] == pytest.approx(6.0)
    assert math.isnan(spread_of_ratios([])["median"])


def test_a_curve_reaches_a_target_at_the_first_epoch_that_meets_it() -> None:
    curve = [(1.0, 0.5), (2.0, 0.9), (3.0, 0.8), (4.0, 0.95)]
    assert first_reach(curve, 0.9) == 2.0
    assert first_reach(curve, 0.96) == math.inf
