"""Methods ask for what they should, given what they were told; scores here are formulas."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from st_ray.errors import SpecError
from st_ray.search.constrained import Backward, Forward
from st_ray.search.methods import (
    METHODS,
    Draw,
    Goal,
    Sampled,
    Told,
    check_method,
    grid_draws,
    random_draws,
)
from st_ray.search.schedule import Schedule
from tests.small_space import SPACE as SMALL
from tests.small_space import epoch_cost

SPACE = replace(SMALL, budget=6.0)
GOAL = Goal(kind="accuracy", unit=6.0)


def truth(schedule: Schedule) -> float:
    """A made-up accuracy: 20 components are enough, wide patches at the end help."""
    last = schedule.legs[-1]
    rate = abs(math.log10(schedule.learning_rate) + 3.0)
    epochs = 1.0 - math.exp(-schedule.epochs / 10)
    return 0.5 + 0.2 * epochs + 0.1 * (last.components >= 20) + 0.01 * last.patch_size - 0.1 * rate


def told(draws: list[Draw]) -> list[Told]:
    return [
        Told(accuracy=truth(draw.schedule), cost=draw.schedule.cost(epoch_cost)) for draw in draws
    ]


def run(method, score=told) -> list[Draw]:
    asked = []
    while draws := method.ask():
        asked += draws
        method.tell(score(draws))
    return asked


@pytest.mark.parametrize("name", ["tpe", "nsga2"])
def test_a_sampler_repeats_itself_and_finds_better_than_chance(name: str) -> None:
    def drawn() -> list[Draw]:
        return run(Sampled(SPACE, GOAL, name, trials=60, batch=4, seed=1))

    one, again = drawn(), drawn()
    assert [draw.schedule for draw in one] == [draw.schedule for draw in again]
    assert len(one) == 60
    first = [truth(draw.schedule) for draw in one[:20]]
    last = [truth(draw.schedule) for draw in one[-20:]]
    assert sum(last) > sum(first)


def test_a_sampler_takes_failures_and_two_goals() -> None:
    def half(draws: list[Draw]) -> list[Told]:
        answers = told(draws)
        return [replace(answers[0], accuracy=math.nan), *answers[1:]]

    for kind in ("accuracy", "front"):
        method = Sampled(SPACE, replace(GOAL, kind=kind), "tpe", trials=12, batch=3, seed=0)
        assert len(run(method, half)) == 12


def test_random_and_grid_know_their_draws_beforehand() -> None:
    one, again = (run(random_draws(SPACE, 10, seed=3)) for _ in range(2))
    assert [draw.schedule for draw in one] == [draw.schedule for draw in again]
    assert len(run(grid_draws(SPACE, 5, seed=0))) == 5
    everything = run(grid_draws(SPACE, 10_000, seed=0))
    assert len(everything) == len({draw.schedule for draw in everything}) > 5


def test_the_cost_goal_prefers_the_cheaper_of_those_above_the_floor() -> None:
    goal = Goal(kind="cost", floor=0.9, unit=2.0)
    cheap, dear, poor = (
        Told(accuracy=accuracy, cost=cost) for accuracy, cost in ((0.9, 1), (0.95, 2), (0.8, 0.1))
    )
    assert goal.value(cheap) < goal.value(dear) < goal.value(poor)


def test_forward_keeps_the_best_step_by_step_at_equal_compute() -> None:
    method = Forward(replace(SPACE, epochs=200), steps=3)
    batches = []
    while draws := method.ask():
        batches.append(draws)
        # The candidate is the last stage of a probe that is not tuning: prefer small, then large.
        wanted = {0: (10, 3), 1: (20, 5), 2: (40, 9)}.get(len(batches) - 1)
        right = [wanted and _candidate(draw, len(batches) - 1) == wanted for draw in draws]
        method.tell([Told(accuracy=0.9 if yes else 0.5, cost=1.0) for yes in right])
    *steps, (answer,) = batches
    assert [len(step) for step in steps] == [9, 9, 4]  # never smaller than the stage before
    assert all(draw.probe for step in steps for draw in step)
    assert not answer.probe
    assert [leg.sees[:2] for leg in answer.schedule.legs] == [(10, 3), (20, 5), (40, 9)]
    assert answer.schedule.cost(epoch_cost) <= SPACE.budget
    for draw in steps[0]:
        first = draw.schedule.legs[0]
        epoch = epoch_cost(first.components, first.patch_size)
        assert abs(first.epochs * epoch - 2.0) <= max(epoch / 2, epoch - 2.0) + 1e-9
    # What was trained before a step is the same for all of its candidates.
    before = answer.schedule.legs[0].epochs
    assert len({draw.schedule.trace()[:before] for draw in steps[1]}) == 1
    assert steps[0][0].schedule.clock is not None
    assert steps[0][0].schedule.clock[-1] == 1.0


def _candidate(draw: Draw, step: int) -> tuple[int, int]:
    leg = draw.schedule.legs[step]
    return leg.components, leg.patch_size


def test_backward_shrinks_from_the_last_stage_back_while_the_floor_holds() -> None:
    goal = Goal(kind="cost", floor=0.9)

    def score(draws: list[Draw]) -> list[Told]:
        results = []
        for draw in draws:
            sizes = [leg.sees[:2] for leg in draw.schedule.legs for _ in range(leg.epochs)]
            good = all(k >= 20 and b >= 5 for k, b in sizes[6:])
            cost = draw.schedule.cost(epoch_cost)
            results.append(Told(accuracy=0.95 if good else 0.5, cost=cost))
        return results

    asked = run(Backward(SPACE, goal, epochs=18, stages=3), score)
    assert asked
    assert all(draw.schedule.epochs == 18 for draw in asked)
    kept = [d for d, t in zip(asked, score(asked), strict=True) if t.accuracy >= 0.9]
    cheapest = min(kept, key=lambda draw: draw.schedule.cost(epoch_cost))
    assert [leg.sees[:2] for leg in cheapest.schedule.legs] == [(10, 3), (20, 5), (40, 9)]


def test_a_method_must_exist_and_suit_the_goal() -> None:
    with pytest.raises(SpecError, match="tpe"):
        check_method("annealing", "accuracy")
    with pytest.raises(SpecError, match="--goal cost"):
        check_method("backward", "front")
    for name in METHODS:
        check_method(name, {"backward": "cost"}.get(name, "accuracy"))
