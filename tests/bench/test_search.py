"""The searches: few trials, no rate out of range, and no baseline longer than it needs to be."""

from __future__ import annotations

import math

import pytest

from st_ray import StRayError
from st_ray.bench.search import RATES, Found, choose_rate, shortest_length


@pytest.mark.parametrize("best", RATES)
def test_the_rate_of_the_best_score_is_found_where_there_is_one_hill(best: float) -> None:
    tried: list[float] = []

    def score(rate: float) -> float:
        tried.append(rate)
        return -abs(math.log(rate / best))

    assert choose_rate(score) == best
    assert len(tried) == len(set(tried)) <= len(RATES)


def test_a_tie_keeps_the_rate_that_was_tried_first() -> None:
    assert choose_rate(lambda rate: 0.5, start=1e-3) == 1e-3


def test_a_diverged_training_does_not_win() -> None:
    assert choose_rate(lambda rate: -math.inf if rate > 2e-3 else rate) == 1e-3


def learning(speed: float):
    """A validation OA that approaches 0.99 with the epochs, at any rate."""
    return lambda length, rate: 0.99 - 0.5 * math.exp(-length / speed)


@pytest.mark.parametrize("speed", [1.0, 4.0, 9.0, 20.0])
def test_the_length_is_the_shortest_within_03_points_of_three_times_as_long(speed: float) -> None:
    score = learning(speed)
    found = shortest_length(score)
    length = found.epochs
    assert found.capped == (3 * length > 270)
    assert score(length, 0) >= score(3 * length, 0) - 0.003
    shorter = round(length / 3)
    assert score(shorter, 0) < score(3 * shorter, 0) - 0.003


def test_a_training_that_never_ends_to_improve_gets_the_longest_length() -> None:
    asked: list[int] = []

    def score(length: int, rate: float) -> float:
        asked.append(length)
        return length / 1000

    assert shortest_length(score, longest=90) == Found(90, 1e-3, capped=True)
    assert max(asked) == 90
    asked.clear()
    assert shortest_length(score, first=10, longest=30) == Found(30, 1e-3, capped=True)
    assert set(asked) == {10, 17, 30}


def test_lengths_are_compared_at_the_best_rate() -> None:
    def score(length: int, rate: float) -> float:
        return learning(9.0)(length, rate) - 0.01 * abs(math.log(rate / 3e-3))

    assert shortest_length(score).rate == 3e-3


def test_a_rate_is_chosen_at_every_length() -> None:
    def score(length: int, rate: float) -> float:
        best = 3e-3 if length == 30 else 1e-3
        return learning(9.0)(length, rate) - 0.01 * abs(math.log(rate / best))

    found = shortest_length(score)
    assert found.epochs != 30
    assert found.rate == 1e-3


def test_a_rate_that_suits_short_trainings_makes_no_baseline_seem_slow() -> None:
    """At 3e-3, best for 30 epochs, 90 would seem far from 270; at its own rate it is not."""

    def score(length: int, rate: float) -> float:
        lost = {3e-3: 0.02 if length == 90 else 0.0, 1e-3: 0.1 if length == 30 else 0.0}
        return learning(15.0)(length, rate) - lost.get(rate, 0.2)

    assert shortest_length(score) == Found(90, 1e-3, capped=False)


def test_a_baseline_that_always_fails_is_told() -> None:
    with pytest.raises(StRayError, match="failed at every learning rate"):
        shortest_length(lambda length, rate: -math.inf)
