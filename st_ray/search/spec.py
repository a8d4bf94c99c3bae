"""What a search is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from st_ray.config import RunSpec
from st_ray.errors import SpecError, unknown_name
from st_ray.search.methods import check_method

GOALS = {
    "accuracy": "the best validation score within a budget",
    "cost": "the cheapest that keeps a validation score",
    "front": "all that no other beats in both",
}
SCORES = ("oa", "aa", "kappa")


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchSpec:
    """A search for a schedule.

    Attributes:
        base: Settings of all trials; its split holds the validation part that decides.
        goal: A name of `GOALS`.
        method: A name of `st_ray.search.methods.METHODS`.
        budget: Most that a schedule may cost, times the cost of "default"; None: as much for the
            goal "accuracy", anything for the others.
        floor: Least validation score of the goal "cost", 0 to 1; None: that of "default".
        score: What counts: "oa", "aa" or "kappa".
        trials: Draws of random, grid, tpe and nsga2 at most; the other methods have steps.
        concurrency: Trials at a time; None: as many as the cores allow. TPE draws so many at a
            time (4 if None), so another number draws others.
        early: Whether trials that fall behind at equal compute are stopped (ASHA).
        share: Whether equal beginnings are trained once.
        components: Ladder of components (or groups), ascending; empty: the usual one.
        patch_sizes: Ladder of patch sides, likewise.
        whitenings: Ladder of exponents, likewise.
        stages: Stages of a schedule at most; of "backward", all; of "forward", steps.
        finalists: Schedules that are trained again before one is chosen.
        repeats: Times that they are trained again, with other seeds.
        confirm: Fresh seeds on which the winner is compared with "default" on test pixels.
        max_hours: No trial is begun after that; None: no limit.
        out: Directory, on storage that every node reaches.
    """

    base: RunSpec = field(default_factory=RunSpec)
    goal: str = "accuracy"
    method: str = "tpe"
    budget: float | None = None
    floor: float | None = None
    score: str = "oa"
    trials: int = 24
    concurrency: int | None = None
    early: bool = False
    share: bool = True
    components: tuple[int, ...] = ()
    patch_sizes: tuple[int, ...] = ()
    whitenings: tuple[float, ...] = ()
    stages: int = 3
    finalists: int = 3
    repeats: int = 2
    confirm: int = 5
    max_hours: float | None = None
    out: str = "runs/search"

    def __post_init__(self) -> None:
        if self.goal not in GOALS:
            raise SpecError(unknown_name("goal", self.goal, GOALS))
        if self.score not in SCORES:
            raise SpecError(unknown_name("score", self.score, SCORES))
        check_method(self.method, self.goal)
        for name in ("trials", "stages", "finalists"):
            _require(name, getattr(self, name), 1)
        for name in ("repeats", "confirm"):
            _require(name, getattr(self, name), 0)
        if self.concurrency is not None:
            _require("concurrency", self.concurrency, 1)
        if self.budget is not None and not 0.0 < self.budget < float("inf"):
            raise SpecError(f"--budget {self.budget:g}: expected a positive number, such as 0.5")
        if self.floor is not None and not 0.0 < self.floor <= 1.0:
            raise SpecError(f"--floor {self.floor:g}: expected a share in (0, 1], such as 0.98")
        if self.floor is not None and self.goal != "cost":
            raise SpecError(f"--floor belongs to --goal cost, not to {self.goal}")
        if self.early and (self.goal != "accuracy" or self.base.cluster.workers == 0):
            raise SpecError("--early is for --goal accuracy on Ray Tune: leave it out")
        if self.early and self.method in ("forward", "backward"):
            raise SpecError(
                f"--method {self.method} scores what it has trained to the end: no --early"
            )
        replace(self.base, curriculum="default")  # checks it


def most_cost(spec: SearchSpec) -> float | None:
    """Times the cost of "default"; None: anything."""
    return 1.0 if spec.budget is None and spec.goal == "accuracy" else spec.budget


def _require(name: str, value: int, least: int) -> None:
    if value < least:
        raise SpecError(f"--{name} {value}: expected at least {least}")
