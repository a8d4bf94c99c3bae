"""Searches that decide one stage after another: forward for a cost, backward for an accuracy.

Sources: "EfficientTrain++: Generalized Curriculum Learning for Efficient Visual Backbone
Training", IEEE TPAMI 2024, doi:10.1109/TPAMI.2024.3401036, for `Forward`; "EfficientTrain:
Exploring Generalized Curriculum Learning for Training Visual Backbones", ICCV 2023,
arXiv 2211.09703, for `Backward`. What grows here is the number of components and the patch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, product

import numpy as np

from st_ray.learn.curriculum import share_out
from st_ray.search.methods import Draw, Goal, Told
from st_ray.search.schedule import Leg, Schedule, joined, within
from st_ray.search.space import Space

# Share of the budget that a candidate is tuned for at full size before it is scored.
_TUNING_SHARE = 0.1


class Forward:
    """Fix the cost, and choose the stages forward in time.

    The budget is cut into equal parts. In each, every candidate that is no smaller than the stage
    before goes on from the weights so far for that part's compute, is then tuned for a short
    while at full size, and scored; the best one stays, without the tuning. The learning rate
    follows the compute. The candidates of a step share what was trained before it.

    Args:
        space: Its budget is the cost.
        steps: Parts of the budget.
    """

    def __init__(self, space: Space, *, steps: int) -> None:
        self.space, self.steps = space, steps
        self._kept: tuple[Leg, ...] = ()
        self._over = False
        self._sizes: list[tuple[int, int]] = []

    @property
    def budget(self) -> float:
        """Predicted seconds."""
        space = self.space
        whole = space.epochs * space.epoch_cost(space.components[-1], space.patch_sizes[-1])
        return whole if space.budget is None else space.budget

    def ask(self) -> list[Draw]:
        """All candidates of the next step; at the end, the schedule they make."""
        if self._over:
            return []
        step = self._step
        if step == self.steps:
            self._over = True
            return [Draw(schedule=self._answer(), why="the stages that were chosen")]
        sizes = [size for size in _sizes(self.space) if self._may_follow(size)]
        # What is so cheap that its part of the budget would exceed T0 is left out.
        most = self.space.epochs // self.steps
        self._sizes = [size for size in sizes if self._leg(size).epochs <= most] or sizes[-1:]
        why = f"step {step + 1} of {self.steps}"
        return [Draw(schedule=self._probe(size), why=why, probe=True) for size in self._sizes]

    def tell(self, told: Sequence[Told]) -> None:
        """Keep the best candidate; the cheaper of equals, for an epoch does not divide."""
        if self._over:
            return
        scores = [(-np.inf if each.failed else each.accuracy, -each.cost) for each in told]
        best = max(range(len(scores)), key=lambda at: scores[at])
        self._kept = (*self._kept, self._leg(self._sizes[best]))

    @property
    def _step(self) -> int:
        return len(self._kept)

    def _may_follow(self, size: tuple[int, int]) -> bool:
        if not self._kept:
            return True
        last = self._kept[-1]
        return size[0] >= last.components and size[1] >= last.patch_size

    def _leg(self, size: tuple[int, int]) -> Leg:
        epoch = self.space.epoch_cost(*size)
        epochs = max(1, round(self.budget / self.steps / epoch))
        return Leg(
            components=size[0],
            patch_size=size[1],
            epochs=epochs,
            batch_size=self.space.batch_size,
        )

    def _probe(self, size: tuple[int, int]) -> Schedule:
        space = self.space
        largest = space.components[-1], space.patch_sizes[-1]
        tuning = max(1, round(_TUNING_SHARE * self.budget / space.epoch_cost(*largest)))
        legs = (*self._kept, self._leg(size))
        # Every step is an equal part of the learning rate's way down, and tuning does the rest.
        marks = [step / self.steps for step in range(len(legs) + 1)]
        if len(legs) < self.steps:
            legs, marks = (*legs, replace(self._leg(largest), epochs=tuning)), [*marks, 1.0]
        return _with_clock(self._schedule(legs), marks)

    def _answer(self) -> Schedule:
        shares = [float(leg.epochs) for leg in self._kept]
        most = self.space.epochs
        legs = within(self._kept, shares, self.budget, most, self.space.epoch_cost)
        return self._schedule(legs)

    def _schedule(self, legs: tuple[Leg, ...]) -> Schedule:
        space = self.space
        return Schedule(
            legs=legs,
            axis=space.axis,
            learning_rate=space.rate,
            whitening=space.whitening,
        )


class Backward:
    """Fix the epochs of the stages, and shrink them from the last but one backwards.

    All stages begin at full size. For the last but one, then the one before it and so on, the
    cheapest size for it and all before it is kept whose score is not below the floor.

    Args:
        space: Its T0 and least share of it do not matter.
        goal: Holds the floor.
        epochs: Of the whole schedule.
        stages: Of equal shares.
    """

    def __init__(self, space: Space, goal: Goal, *, epochs: int, stages: int) -> None:
        self.space, self.goal = space, goal
        self._epochs = share_out(epochs, [1.0] * min(stages, epochs))
        largest = space.components[-1], space.patch_sizes[-1]
        self._sizes = [largest] * len(self._epochs)
        self._at = len(self._sizes) - 1  # stages before it are still to be shrunk together
        self._candidates: list[tuple[int, int]] = []

    def ask(self) -> list[Draw]:
        """All sizes for the stages before the one that was decided last."""
        while self._at > 0:
            k, b = self._sizes[self._at - 1]
            least_k = k if self.space.axis == "groups" else 0
            self._candidates = [
                size
                for size in _sizes(self.space)
                if least_k <= size[0] <= k and size[1] <= b and size != (k, b)
            ]
            if self._candidates:
                why = f"stages 1 to {self._at}"
                ends = tuple(accumulate(self._epochs))[:-1]
                return [
                    Draw(schedule=self._schedule(self._shrunk(size)), why=why, ends=ends)
                    for size in self._candidates
                ]
            self._at -= 1
        return []

    def tell(self, told: Sequence[Told]) -> None:
        """Keep the cheapest that holds the floor; none: nothing smaller will."""
        kept = [
            (each.cost, size)
            for each, size in zip(told, self._candidates, strict=True)
            if not each.failed and each.accuracy >= self.goal.floor
        ]
        if kept:
            self._sizes = self._shrunk(min(kept)[1])
        self._at -= 1

    def _shrunk(self, size: tuple[int, int]) -> list[tuple[int, int]]:
        return [size] * self._at + self._sizes[self._at :]

    def _schedule(self, sizes: Sequence[tuple[int, int]]) -> Schedule:
        space = self.space
        legs = [
            Leg(components=k, patch_size=b, epochs=epochs, batch_size=space.batch_size)
            for (k, b), epochs in zip(sizes, self._epochs, strict=True)
        ]
        return Schedule(
            legs=joined(legs),
            axis=space.axis,
            learning_rate=space.rate,
            whitening=space.whitening,
        )


def _sizes(space: Space) -> list[tuple[int, int]]:
    """Components and patches; groups do not grow, so only the most of them are taken."""
    components = space.components[-1:] if space.axis == "groups" else space.components
    return list(product(components, space.patch_sizes))


def _with_clock(schedule: Schedule, marks: Sequence[float]) -> Schedule:
    """A schedule whose progress goes from mark to mark over the epochs of each leg."""
    ends = np.cumsum([0, *(leg.epochs for leg in schedule.legs)])
    clock = np.interp(np.arange(ends[-1] + 1), ends, marks)
    return replace(schedule, clock=tuple(float(f"{mark:.6g}") for mark in clock))
