"""Ways to choose the next schedules: each asks in batches, and is told what came of them in order.

A method is a pure function of its seed and of what it is told, so a search that was cut off goes
on where it was by telling it again what is known.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from st_ray.errors import SpecError, unknown_name
from st_ray.search.schedule import Schedule
from st_ray.search.space import Dimension, Numbers, Space


@dataclass(frozen=True, kw_only=True, slots=True)
class Draw:
    """A schedule that a method wants to know about.

    Attributes:
        schedule: To train.
        numbers: What it was drawn as; empty where it was built otherwise.
        why: In words, for the report.
        probe: Whether it only decides a step of a method, and is no answer itself.
        again: Which training of the schedule it is: added to the seed.
        ends: Epochs after which others may go on otherwise, beside the ends of its stages.
    """

    schedule: Schedule
    numbers: Numbers = field(default_factory=dict)
    why: str = ""
    probe: bool = False
    again: int = 0
    ends: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What came of a draw.

    Attributes:
        accuracy: Validation score, 0 to 1; NaN if it failed.
        cost: Predicted seconds of the whole schedule.
        stopped: Whether it was stopped early, so that the score is that of a part.
    """

    accuracy: float
    cost: float
    stopped: bool = False

    @property
    def failed(self) -> bool:
        """Whether there is no score."""
        return math.isnan(self.accuracy)


class Method(Protocol):
    """Chooses schedules."""

    def ask(self) -> list[Draw]:
        """The next batch, all of which will be told before the next call; empty: it is over."""

    def tell(self, told: Sequence[Told]) -> None:
        """What came of the last batch, in its order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """What a search is for.

    Attributes:
        kind: "accuracy" (the best within the space's budget), "cost" (the cheapest at or above
            the floor) or "front" (all that no other beats in both).
        floor: Least validation score, 0 to 1, of "cost".
        unit: Predicted seconds that costs are compared in: those of "default".
    """

    kind: str
    floor: float = 0.0
    unit: float = 1.0

    def value(self, told: Told) -> float:
        """One number to minimise; a miss of the floor outweighs any cost."""
        if self.kind == "cost":
            missed = max(0.0, self.floor - told.accuracy)
            return told.cost / self.unit + _PER_POINT * 100.0 * missed
        return -told.accuracy


# Times the cost of "default" that one point below the floor counts for.
_PER_POINT = 2.0


class Listed:
    """Draws that are known beforehand."""

    def __init__(self, draws: Sequence[Draw]) -> None:
        self._draws = list(draws)

    def ask(self) -> list[Draw]:
        """All of them, once."""
        draws, self._draws = self._draws, []
        return draws

    def tell(self, told: Sequence[Told]) -> None:
        """Nothing follows from it."""


def random_draws(space: Space, trials: int, seed: int) -> Listed:
    """Independent draws."""
    rng = np.random.default_rng(seed)
    return _listed(space, [space.draw(rng) for _ in range(trials)])


def grid_draws(space: Space, trials: int, seed: int) -> Listed:
    """The grid, or as many of it as there may be trials, at random."""
    grid = space.grid()
    if len(grid) > trials:
        chosen = np.random.default_rng(seed).choice(len(grid), trials, replace=False)
        grid = [grid[at] for at in sorted(chosen)]
    return _listed(space, grid)


def _listed(space: Space, numbers: Sequence[Numbers]) -> Listed:
    return Listed([Draw(schedule=space.schedule(each), numbers=each) for each in numbers])


class Sampled:
    """A sampler of Optuna's: TPE, its form for two goals, or NSGA-II.

    Args:
        space: Where to draw.
        goal: Two values are told for "front", else one.
        name: "tpe" or "nsga2".
        trials: Draws in all.
        batch: Draws that are under way at a time; of NSGA-II, a generation.
        seed: Of the sampler.
    """

    def __init__(
        self, space: Space, goal: Goal, name: str, *, trials: int, batch: int, seed: int
    ) -> None:
        try:
            import optuna
        except ModuleNotFoundError as error:
            raise SpecError(
                f"--method {name} needs Optuna ({error}); install optuna, or use random"
            ) from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna: Any = optuna
        self.space, self.goal = space, goal
        self._left, self._batch = trials, batch
        self._free = {key: _distribution(free, optuna) for key, free in space.dimensions.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of options that Optuna calls experimental
            sampler = _SAMPLERS[name](optuna, seed, batch)
        directions: Any = ["minimize"] * (2 if goal.kind == "front" else 1)
        self._study = optuna.create_study(directions=directions, sampler=sampler)
        self._asked: list[Any] = []

    def ask(self) -> list[Draw]:
        """As many as may be under way."""
        count = min(self._batch, self._left)
        self._left -= count
        self._asked = [self._study.ask(self._free) for _ in range(count)]
        return [
            Draw(schedule=self.space.schedule(trial.params), numbers=dict(trial.params))
            for trial in self._asked
        ]

    def tell(self, told: Sequence[Told]) -> None:
        """Values, or that it failed."""
        for trial, result in zip(self._asked, told, strict=True):
            if result.failed:
                self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
            elif result.stopped:
                trial.report(self.goal.value(result), step=0)
                self._study.tell(trial, state=self._optuna.trial.TrialState.PRUNED)
            elif self.goal.kind == "front":
                self._study.tell(trial, [-result.accuracy, result.cost / self.goal.unit])
            else:
                self._study.tell(trial, self.goal.value(result))


def _tpe(optuna: Any, seed: int, batch: int) -> Any:
    return optuna.samplers.TPESampler(seed=seed, constant_liar=batch > 1, multivariate=True)


def _nsga2(optuna: Any, seed: int, batch: int) -> Any:
    return optuna.samplers.NSGAIISampler(seed=seed, population_size=max(2, batch))


_SAMPLERS: dict[str, Callable[[Any, int, int], Any]] = {"tpe": _tpe, "nsga2": _nsga2}


def _distribution(free: Dimension, optuna: Any) -> Any:
    if free.whole:
        return optuna.distributions.IntDistribution(int(free.low), int(free.high))
    return optuna.distributions.FloatDistribution(float(free.low), float(free.high), log=free.log)


METHODS: Mapping[str, str] = {
    "random": "independent draws",
    "grid": "all combinations of a few values of each free number",
    "tpe": "Optuna's tree-structured Parzen estimator",
    "nsga2": "Optuna's NSGA-II, generation by generation",
    "forward": "stage by stage forward in time, each for equal compute (EfficientTrain++)",
    "backward": "from the last stage back, the smallest that keeps the accuracy (EfficientTrain)",
}


def check_method(name: str, goal: str) -> None:
    """See that a method exists and can reach the goal.

    Raises:
        SpecError: It does not, or cannot.
    """
    if name not in METHODS:
        raise SpecError(unknown_name("method", name, METHODS))
    serves = {"forward": "accuracy", "backward": "cost"}.get(name, goal)
    if serves != goal:
        raise SpecError(f"--method {name} searches for --goal {serves}, not {goal}")
