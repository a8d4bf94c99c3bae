"""Whatever is drawn is a valid schedule within its budget."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from st_ray.errors import SpecError
from st_ray.learn.curriculum import plan
from st_ray.search.schedule import Leg, Schedule, joined, within
from st_ray.search.space import Space
from tests.small_space import SPACE, epoch_cost

BUDGETS = st.one_of(st.none(), st.floats(0.05, 20.0))


@st.composite
def drawn(draw: st.DrawFn) -> tuple[Space, Schedule]:
    """A space and any schedule in it, the corners included."""
    space = replace(SPACE, budget=draw(BUDGETS), most_stages=draw(st.integers(1, 4)))
    numbers = {
        name: draw(
            st.integers(int(free.low), int(free.high))
            if free.whole
            else st.floats(float(free.low), float(free.high))
        )
        for name, free in space.dimensions.items()
    }
    return space, space.schedule(numbers)


@given(drawn())
@settings(max_examples=300, deadline=None)
def test_every_draw_is_a_curriculum_within_its_budget(pair: tuple[Space, Schedule]) -> None:
    space, schedule = pair
    assert 1 <= schedule.epochs <= space.epochs
    if space.budget is not None:
        assert schedule.cost(epoch_cost) <= space.budget * (1 + 1e-9)
    curriculum = schedule.curriculum("found", space.epochs)  # refuses one that shrinks
    stages = plan(
        curriculum,
        bands=200,
        patch_size=9,
        full_epochs=space.epochs,
        beta=None,
        batch_size=64,
    )
    assert [(s.components, s.patch_size, s.epochs, s.batch_size) for s in stages] == [
        (leg.components, leg.patch_size, leg.epochs, leg.batch_size) for leg in schedule.legs
    ]
    sees = [leg.sees for leg in schedule.legs]
    assert all(one != other for one, other in pairwise(sees))
    assert schedule == Schedule.of_table(schedule.table())


def test_a_budget_is_used_as_far_as_whole_epochs_allow() -> None:
    space = replace(SPACE, budget=3.0)
    rng = np.random.default_rng(0)
    for _ in range(50):
        schedule = space.schedule(space.draw(rng))
        most = max(epoch_cost(leg.components, leg.patch_size) for leg in schedule.legs)
        left = 3.0 - schedule.cost(epoch_cost)
        # One epoch more goes to some stage, by largest remainder.
        assert left < most * len(schedule.legs) or schedule.epochs == space.epochs


def test_groups_do_not_grow() -> None:
    space = replace(SPACE, axis="groups")
    rng = np.random.default_rng(0)
    for _ in range(30):
        schedule = space.schedule(space.draw(rng))
        assert len({leg.components for leg in schedule.legs}) == 1


def test_a_grid_holds_each_schedule_once() -> None:
    schedules = [SPACE.schedule(numbers) for numbers in SPACE.grid()]
    assert len(schedules) == len(set(schedules)) > 10


def test_a_budget_below_the_cheapest_epoch_is_refused() -> None:
    with pytest.raises(SpecError, match="less than the cheapest epoch"):
        replace(SPACE, budget=0.01)


def test_stages_that_do_not_fit_are_left_out_from_the_end() -> None:
    legs = [Leg(components=10, patch_size=size, epochs=1, batch_size=8) for size in (3, 5, 9)]
    costs = [epoch_cost(10, size) for size in (3, 5, 9)]
    made = within(legs, [1.0, 1.0, 1.0], sum(costs[:2]) + 1e-9, 40, epoch_cost)
    assert [leg.patch_size for leg in made] == [3, 5]


def test_equal_neighbours_become_one_stage() -> None:
    leg = Leg(components=10, patch_size=3, epochs=2, batch_size=8)
    other = replace(leg, patch_size=5)
    assert joined([leg, leg, other]) == (replace(leg, epochs=4), other)


def test_equal_beginnings_have_equal_traces() -> None:
    leg = Leg(components=10, patch_size=3, epochs=3, batch_size=8)
    ends = (replace(leg, patch_size=5, epochs=2), replace(leg, components=20, epochs=2))
    one, other = (Schedule(legs=(leg, end), learning_rate=1e-3, whitening=0.5) for end in ends)
    assert one.trace()[:3] == other.trace()[:3]
    assert one.trace()[3] != other.trace()[3]
    longer = replace(one, legs=(leg, replace(ends[0], epochs=3)))
    assert one.trace()[0] != longer.trace()[0]  # its learning rate falls more slowly
