"""A whole search: control, method, finals, confirmation; resumable at every trial."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import Any

from st_ray.bench.ledger import CELLS_FILE, Ledger, Row
from st_ray.compose import installed_versions
from st_ray.engine import open_engine, usable_cores
from st_ray.errors import SpecError, TrainingError
from st_ray.learn.curriculum import save_curriculum
from st_ray.output import RunFolder
from st_ray.search.choose import answers, averaged, front, ranked, saving
from st_ray.search.confirm import compare, confirm
from st_ray.search.constrained import Backward, Forward
from st_ray.search.course import Asked, Chain, Course, Rules, row_score
from st_ray.search.ground import Field, open_field
from st_ray.search.methods import Draw, Goal, Listed, Method, Sampled, grid_draws, random_draws
from st_ray.search.runners import Device, abreast, run_trials
from st_ray.search.schedule import Schedule
from st_ray.search.spec import SearchSpec
from st_ray.search.trial import Trial, clear_trials
from st_ray.search.write import write_search
from st_ray.storage import join

Say = Callable[[str], None]
FOUND_FILE = "found.toml"


def run_search(spec: SearchSpec, say: Say = print, *, verbose: bool = False) -> dict[str, Any]:
    """Search, and write search.json, search.html and found.toml to `spec.out`.

    Called again after it was cut off, it goes on where it was.

    Returns:
        The content of search.json.

    Raises:
        StRayError: Bad input, in one line.
    """
    with RunFolder(spec.out) as folder:
        folder.bring(CELLS_FILE)
        ledger = Ledger(folder.path, folder.keep)
        cluster = spec.base.cluster
        # A trial's process has a thread unless told otherwise, so that trials run side by side.
        cluster = replace(cluster, threads=max(1, cluster.threads))
        with open_engine(cluster, verbose=verbose) as engine:
            settled = replace(spec, base=replace(spec.base, cluster=cluster))
            field = open_field(settled, engine, ledger, folder.place)
            search = _Search(settled, field, ledger, engine.device, say)
            search.run()
        return search.finish(folder)


@dataclass(slots=True)
class _Search:
    spec: SearchSpec
    field: Field
    ledger: Ledger
    device: Device
    say: Say
    rows: list[Row] = dataclass_field(default_factory=list)
    finals: list[Row] = dataclass_field(default_factory=list)
    watching: bool = False
    goal: Goal | None = None
    late: bool = False
    until: float = math.inf

    def run(self) -> None:
        """All trials: "default", those of the method, and the finals.

        Raises:
            TrainingError: "default" could not be trained.
        """
        spec, field = self.spec, self.field
        if spec.max_hours is not None:
            self.until = time.time() + 3600.0 * spec.max_hours
        make_method(spec, field, Goal(kind=spec.goal), 1)  # what is wrong is told before a trial
        longest = max(1.0, spec.budget or 1.0) * field.unit
        run_trials(
            Chain(self._courses()),
            self._trial,
            field.ground,
            cluster=replace(field.base.cluster, device=self.device),
            abreast=self._abreast(),
            longest=longest if spec.early else None,
        )
        if self.goal is None:
            control = self.rows[0] if self.rows else {"error": "the time was over"}
            raise TrainingError(
                f"the curriculum 'default' could not be trained: {control['error']}"
            )

    def _courses(self) -> Iterator[Course]:
        """One after another: what comes next depends on what came of the ones before."""
        spec, field = self.spec, self.field
        yield from self._course(Listed([Draw(schedule=field.control, why="default")]))
        if not self.rows or self.rows[0]["state"] == "failed":
            return
        reached = row_score(self.rows[0], spec.score)
        floor = reached if spec.floor is None else spec.floor
        self.goal = Goal(kind=spec.goal, floor=floor, unit=field.unit)
        self.watching = spec.early
        yield from self._course(make_method(spec, field, self.goal, self._abreast()))
        self.watching = False
        before = self.rows
        yield from self._course(Listed(self._finalists()))
        known = {Schedule.of_table(row["schedule"]) for row in self.rows[len(before) :]}
        known |= {field.control}
        first = [row for row in before if Schedule.of_table(row["schedule"]) in known]
        first = [row for row in first if not row["probe"]]
        self.finals = averaged([*_once(first), *self.rows[len(before) :]], spec.score)

    def _course(self, method: Method) -> Iterator[Course]:
        """A course whose rows are taken in when it is over."""
        spec, field = self.spec, self.field
        rules = Rules(
            facts=field.facts,
            cost=lambda schedule: schedule.cost(field.ground.epoch_cost),
            score=spec.score,
            until=self.until,
            listen=self._tell,
        )
        course = Course(method, self.ledger, rules, len(self.rows))
        yield course
        self.late |= course.late
        self.rows = [*self.rows, *course.rows]

    def _finalists(self) -> list[Draw]:
        """The best again with other seeds, and "default" with them."""
        spec, goal = self.spec, self.goal
        assert goal is not None  # it is set before the method begins
        chosen = ranked(answers(self.rows, spec.score), goal, spec.score, self.budget)
        schedules = [Schedule.of_table(row["schedule"]) for row in chosen[: spec.finalists]]
        return [
            Draw(schedule=schedule, again=again, why=f"finals, training {again + 1}")
            for again in range(1, spec.repeats + 1)
            for schedule in dict.fromkeys([self.field.control, *schedules])
        ]

    def _trial(self, asked: Asked) -> Trial:
        return Trial(
            number=asked.number,
            schedule=asked.draw.schedule,
            seed=self.field.base.seed + asked.draw.again,
            watched=self.watching,
            shared=self.spec.share,
        )

    def _abreast(self) -> int:
        """Trials at a time."""
        return abreast(self.field.base.cluster, self.device, self.spec.concurrency)

    @property
    def budget(self) -> float:
        """Predicted seconds that a recommended schedule may take."""
        return math.inf if self.spec.budget is None else self.spec.budget * self.field.unit

    def _tell(self, row: Row) -> None:
        words = Schedule.of_table(row["schedule"]).words()
        if row["state"] == "failed":
            what = f"failed: {row['error']}"
        else:
            reached = row_score(row, self.spec.score)
            stopped = ", stopped early" if row["state"] == "stopped" else ""
            cost = row["cost"] / self.field.unit
            what = f"validation {self.spec.score.upper()} {reached:.2%}, cost {cost:.2f}{stopped}"
        self.say(f"trial {row['number']:3d}  {words}: {what}")

    def finish(self, folder: RunFolder) -> dict[str, Any]:
        """Choose, confirm, write; what only trials needed is removed."""
        spec, goal, rows = self.spec, self.goal, self.rows
        assert goal is not None
        winner = self._winner()
        found = winner.curriculum("found", self.field.base.full_epochs)
        save_curriculum(found, folder.path / FOUND_FILE)
        compared = None
        if winner != self.field.control and spec.confirm and not self.late:
            seeds = [self.field.base.seed + 1 + at for at in range(spec.confirm)]
            schedules = {"winner": winner, "default": self.field.control}
            jobs = max(1, len(usable_cores()) // max(1, self.field.base.cluster.threads))
            compared = confirm(
                self.field.base,
                schedules,
                self.ledger,
                self.field.facts,
                seeds=seeds,
                jobs=min(jobs, spec.concurrency or jobs),
                say=self.say,
            )
        done = answers(rows, spec.score)
        table = {
            "goal": spec.goal,
            "floor": goal.floor,
            "method": spec.method,
            "score": spec.score,
            "budget": spec.budget,
            "seed": self.field.base.seed,
            "scene": Path(self.field.base.scene.name).stem,
            "split": Path(self.field.base.split.kind).stem,
            "backbone": self.field.base.backbone,
            "full_epochs": self.field.base.full_epochs,
            "unit_seconds": self.field.unit,
            "paces": [[k, side, cost] for (k, side), cost in self.field.ground.paces.items()],
            "configurations_tried": len({str(row["schedule"]) for row in rows}),
            "complete": not self.late,
            "trials": rows,
            "front": [row["number"] for row in front(done, spec.score)],
            "finals": self.finals,
            "winner": winner.table(),
            "winner_cost": winner.cost(self.field.ground.epoch_cost) / self.field.unit,
            "winner_is_default": winner == self.field.control,
            "control": self.field.control.table(),
            "compute": saving(rows),
            "confirmation": None if compared is None else compare(compared),
            "found": join(folder.place, FOUND_FILE),
            "versions": installed_versions(),
        }
        write_search(table, folder.path)
        if not self.late:
            clear_trials(self.field.ground)
        return table

    def _winner(self) -> Schedule:
        """The best of the finals; "default" where none is better than it."""
        spec, goal, control = self.spec, self.goal, self.field.control
        assert goal is not None
        finals = self.finals
        if spec.goal == "cost" and spec.floor is None:
            own = [row for row in finals if Schedule.of_table(row["schedule"]) == control]
            goal = replace(goal, floor=row_score(own[0], spec.score)) if own else goal
        best = ranked(finals, goal, spec.score, self.budget)
        return Schedule.of_table(best[0]["schedule"]) if best else control


def _once(rows: list[Row]) -> list[Row]:
    """The first row of each schedule."""
    first: dict[Schedule, Row] = {}
    for row in rows:
        first.setdefault(Schedule.of_table(row["schedule"]), row)
    return list(first.values())


def make_method(spec: SearchSpec, field: Field, goal: Goal, abreast: int) -> Method:
    """The method by name.

    Raises:
        SpecError: It needs a package that is not installed, or has nothing to choose from.
    """
    space, seed = field.space(spec), field.base.seed
    if spec.method == "forward":
        return Forward(space, steps=spec.stages)
    if spec.method == "backward":
        return Backward(space, goal, epochs=field.control.epochs, stages=spec.stages)
    if spec.method == "random":
        return random_draws(space, spec.trials, seed)
    if spec.method == "grid":
        return grid_draws(space, spec.trials, seed)
    if not space.dimensions:
        raise SpecError("the search space holds a single schedule; give longer ladders")
    return Sampled(space, goal, spec.method, trials=spec.trials, batch=abreast, seed=seed)
