"""The search space: from free numbers to a schedule that is monotone by construction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from st_ray.errors import SpecError
from st_ray.learn.curriculum import Axis, epoch_budget
from st_ray.learn.presets import USUAL_BATCH
from st_ray.search.schedule import EpochCost, Leg, Schedule, joined, within

Value = float | int
Numbers = Mapping[str, Value]


@dataclass(frozen=True, kw_only=True, slots=True)
class Dimension:
    """One free number.

    Attributes:
        low: Least value.
        high: Greatest value.
        log: Whether equal ratios are equally likely, rather than equal steps.
        whole: Whether it is a whole number.
        grid: The values that a grid search takes.
    """

    low: Value
    high: Value
    log: bool = False
    whole: bool = False
    grid: tuple[Value, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Space:
    """What schedules a search may draw.

    Attributes:
        components: Numbers of components (or groups), ascending.
        patch_sizes: Patch sides, pixels, odd, ascending.
        whitenings: Exponents, ascending.
        most_stages: Stages of a schedule at most.
        rate: The learning rate around which others are drawn, up to a factor of `rate_range`.
        rate_range: That factor.
        batch_size: Of the last stage; first stages may have batches 2 or 4 times smaller.
        whitening: The backbone's usual exponent, which methods take that do not search for one.
        epochs: T0, which no schedule exceeds.
        least_beta: The least share of T0.
        axis: What components are; groups do not grow.
        budget: Predicted seconds that a schedule may take; None: any.
        filled: Whether draws have as many epochs as the budget allows, rather than any share of T0.
        epoch_cost: See `EpochCost`.
    """

    components: tuple[int, ...]
    patch_sizes: tuple[int, ...]
    whitenings: tuple[float, ...] = (0.0, 0.25, 0.5)
    most_stages: int = 3
    rate: float
    rate_range: float = 4.0
    batch_size: int = USUAL_BATCH
    whitening: float = 0.5
    epochs: int
    least_beta: float = 0.1
    axis: Axis = "components"
    budget: float | None = None
    filled: bool = True
    epoch_cost: EpochCost = field(repr=False)

    def __post_init__(self) -> None:
        for name in ("components", "patch_sizes", "whitenings"):
            values = getattr(self, name)
            if not values or list(values) != sorted(set(values)):
                raise SpecError(f"search: {name} {list(values)}: expected ascending values")
        if self.most_stages < 1:
            raise SpecError(f"search: {self.most_stages} stages: expected at least 1")
        cheapest = self.epoch_cost(self.components[0], self.patch_sizes[0])
        if self.budget is not None and self.budget < cheapest:
            raise SpecError(
                f"search: a budget of {self.budget:.3g} s is less than the cheapest epoch, "
                f"{cheapest:.3g} s; raise --budget"
            )

    @property
    def dimensions(self) -> dict[str, Dimension]:
        """The free numbers by name; those of stages that a draw does not have are ignored."""
        last_k, last_b = len(self.components) - 1, len(self.patch_sizes) - 1
        half, rate = 1 / (2 * max(1, last_b)), self.rate
        usual = min(
            range(len(self.whitenings)), key=lambda at: abs(self.whitenings[at] - self.whitening)
        )
        found = {
            "stages": _index(1, self.most_stages, (1, 2)),
            "components": _index(0, last_k, tuple({last_k // 2, last_k})),
            "patch": _index(0, last_b, (last_b,)),
            "whitening": _index(0, len(self.whitenings) - 1, (usual,)),
            "rate": Dimension(
                low=rate / self.rate_range, high=rate * self.rate_range, log=True, grid=(rate,)
            ),
            "batch_growth": _index(0, 2, (0,)),
            "beta": Dimension(low=self.least_beta, high=1.0, log=True, grid=(0.3, 0.5)),
        }
        for stage in range(1, self.most_stages):
            first = stage == 1
            found[f"less_components_{stage}"] = Dimension(low=0.0, high=1.0, grid=(0.0,))
            found[f"less_patch_{stage}"] = Dimension(
                low=0.0, high=1.0, grid=(half, 0.5, 1.0) if first else (0.0,)
            )
        for stage in range(1, self.most_stages + 1):
            found[f"share_{stage}"] = Dimension(
                low=0.1, high=1.0, grid=(0.4, 0.8) if stage == 1 else (0.5,)
            )
        if self.budget is not None and self.filled:
            del found["beta"]
        return {name: free for name, free in found.items() if free.low < free.high}

    def schedule(self, numbers: Numbers) -> Schedule:
        """The schedule of free numbers: any numbers within their dimensions give a valid one.

        The last stage is drawn; each one before it has a number of components, and a patch, a
        share smaller than the one after it. Equal neighbours are one stage.
        """
        count = int(numbers.get("stages", self.most_stages))
        at_k = int(numbers.get("components", 0))
        at_b = int(numbers.get("patch", 0))
        seen = [(at_k, at_b)]
        for stage in reversed(range(1, count)):
            if self.axis == "components":
                at_k = _less(at_k, numbers.get(f"less_components_{stage}", 0.0))
            at_b = _less(at_b, numbers.get(f"less_patch_{stage}", 0.0))
            seen.append((at_k, at_b))
        growth = 2 ** int(numbers.get("batch_growth", 0))
        batches = np.geomspace(max(2, self.batch_size // growth), self.batch_size, count)
        legs = [
            Leg(
                components=self.components[k],
                patch_size=self.patch_sizes[b],
                epochs=1,
                batch_size=self.batch_size if stage == count - 1 else round(batches[stage]),
            )
            for stage, (k, b) in enumerate(reversed(seen))
        ]
        shares = [float(numbers.get(f"share_{stage + 1}", 1.0)) for stage in range(count)]
        return Schedule(
            legs=self.settle(legs, shares, numbers.get("beta", 1.0)),
            axis=self.axis,
            learning_rate=float(f"{numbers.get('rate', self.rate):.4g}"),
            whitening=self.whitenings[int(numbers.get("whitening", 0))],
        )

    def settle(self, legs: list[Leg], shares: list[float], beta: float) -> tuple[Leg, ...]:
        """Stages with their epochs: as many as the budget allows, and beta of T0."""
        most = epoch_budget(beta, self.epochs)
        budget = float("inf") if self.budget is None else self.budget
        made = within(legs, shares, budget, most, self.epoch_cost)
        first = made[0]
        if first.epochs * self.epoch_cost(first.components, first.patch_size) <= budget:
            return made
        # One epoch of the smallest stage is too much: draw the cheapest there is.
        cheapest = Leg(
            components=self.components[0],
            patch_size=self.patch_sizes[0],
            epochs=1,
            batch_size=first.batch_size,
        )
        return joined(within([cheapest], [1.0], budget, most, self.epoch_cost))

    def grid(self) -> list[Numbers]:
        """All combinations of the grid's values, those that come to the same once."""
        names = list(self.dimensions)
        found: dict[Schedule, Numbers] = {}
        for values in product(*(self.dimensions[name].grid for name in names)):
            numbers = dict(zip(names, values, strict=True))
            found.setdefault(self.schedule(numbers), numbers)
        return list(found.values())

    def draw(self, rng: np.random.Generator) -> Numbers:
        """Independent random numbers."""
        return {name: _random(free, rng) for name, free in self.dimensions.items()}


def _index(low: int, high: int, grid: tuple[int, ...]) -> Dimension:
    held = tuple(sorted({min(max(value, low), high) for value in grid}))
    return Dimension(low=low, high=high, whole=True, grid=held)


def _less(index: int, share: float) -> int:
    """An index of a ladder, a share smaller: 0 leaves it, 1 goes to the bottom."""
    return round(index * (1.0 - share))


def _random(free: Dimension, rng: np.random.Generator) -> Value:
    if free.whole:
        return int(rng.integers(int(free.low), int(free.high) + 1))
    if free.log:
        return float(np.exp(rng.uniform(np.log(free.low), np.log(free.high))))
    return float(rng.uniform(free.low, free.high))
