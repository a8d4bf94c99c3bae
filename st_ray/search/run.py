"""A whole search: control, method, finals, confirmation; resumable at every trial."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import Any

from st_ray.bench.ledger import CELLS_FILE, Ledger, Row, key_of
from st_ray.bench.workers import check_cores
from st_ray.compose import installed_versions
from st_ray.config import RUN_FILE, ClusterSpec, RunSpec, save_spec
from st_ray.engine import open_engine, usable_cores
from st_ray.errors import SpecError, TrainingError
from st_ray.learn.curriculum import save_curriculum
from st_ray.output import RunFolder
from st_ray.search.choose import answers, averaged, front, ranked, saving
from st_ray.search.confirm import compare, confirm
from st_ray.search.constrained import Backward, Forward
from st_ray.search.course import Asked, Chain, Course, Rules, row_schedule, row_score
from st_ray.search.ground import Field, open_field
from st_ray.search.methods import Draw, Goal, Listed, Method, Sampled, grid_draws, random_draws
from st_ray.search.runners import Device, abreast, run_trials
from st_ray.search.schedule import Schedule
from st_ray.search.spec import SearchSpec, most_cost
from st_ray.search.trial import Trial, clear_trials
from st_ray.search.write import write_search
from st_ray.spectral.split import DRAWN, settle_kind
from st_ray.spectral.splitfile import short_name
from st_ray.storage import join

Say = Callable[[str], None]
FOUND_FILE = "found.toml"
# Draws that TPE makes at a time, and a generation of NSGA-II: the same on any machine.
_BATCH, _GENERATION = 4, 8


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
        if spec.confirm:
            check_cores(1, cluster.threads)
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
        make_method(spec, field, Goal(kind=spec.goal))  # what is wrong is told before a trial
        longest = max(1.0, most_cost(spec) or 1.0) * field.unit
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
        yield from self._course(make_method(spec, field, self.goal))
        self.watching = False
        before = self.rows
        yield from self._course(Listed(self._finalists()))
        again = self.rows[len(before) :]
        chosen = {row_schedule(row) for row in again}
        first = [row for row in answers(before, spec.score) if row_schedule(row) in chosen]
        self.finals = averaged([*first, *again], spec.score)

    def _course(self, method: Method) -> Iterator[Course]:
        """A course whose rows are taken in when it is over."""
        spec, field = self.spec, self.field
        rules = Rules(
            facts=key_of([field.facts, self.watching]),
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
        schedules = [row_schedule(row) for row in chosen[: spec.finalists]]
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
            ends=asked.draw.ends,
            watched=self.watching,
            shared=self.spec.share,
        )

    def _abreast(self) -> int:
        """Trials at a time."""
        return abreast(self.field.base.cluster, self.device, self.spec.concurrency)

    @property
    def budget(self) -> float:
        """Predicted seconds that a recommended schedule may take."""
        most = most_cost(self.spec)
        return math.inf if most is None else most * self.field.unit

    def _tell(self, row: Row) -> None:
        words = row_schedule(row).words()
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
        spec, base = self.spec, self.field.base
        winner = self._winner()
        save_curriculum(winner.curriculum("found", base.full_epochs), folder.path / FOUND_FILE)
        save_spec(replayed(base, join(folder.place, FOUND_FILE)), folder.path / RUN_FILE)
        table = self._table(winner, folder.place)
        write_search(table, folder.path)  # what comes now may be interrupted
        if winner != self.field.control and spec.confirm and not self.late:
            # Finals have had the seeds before these.
            seeds = [base.seed + spec.repeats + 1 + at for at in range(spec.confirm)]
            rows = confirm(
                base,
                {"winner": winner, "default": self.field.control},
                self.ledger,
                self.field.facts,
                seeds=seeds,
                jobs=self._jobs(),
                say=self.say,
            )
            table["confirmation"] = compare(rows)
            write_search(table, folder.path)
        if not self.late:
            clear_trials(self.field.ground)
        return table

    def _jobs(self) -> int:
        """Whole runs at a time, on this machine."""
        jobs = len(usable_cores()) // self.field.base.cluster.threads
        return max(1, min(jobs, self.spec.concurrency or jobs))

    def _table(self, winner: Schedule, place: str) -> dict[str, Any]:
        """The content of search.json before the confirmation."""
        spec, field, rows = self.spec, self.field, self.rows
        assert self.goal is not None  # else `run` has raised
        base = field.base
        return {
            "goal": spec.goal,
            "floor": self.goal.floor,
            "method": spec.method,
            "score": spec.score,
            "budget": most_cost(spec),
            "seed": base.seed,
            "scene": Path(base.scene.name).stem,
            "split": short_name(settle_kind(base.split.kind, field.scene.members)),
            "drawn_split": base.split.kind in DRAWN,
            "backbone": base.backbone,
            "full_epochs": base.full_epochs,
            "unit_seconds": field.unit,
            "paces": [[k, side, cost] for (k, side), cost in field.ground.paces.items()],
            "configurations_tried": len({str(row["schedule"]) for row in rows}),
            "complete": not self.late,
            "trials": rows,
            "front": [row["number"] for row in front(answers(rows, spec.score), spec.score)],
            "finals": self.finals,
            "winner": winner.table(),
            "winner_cost": winner.cost(field.ground.epoch_cost) / field.unit,
            "winner_is_default": winner == field.control,
            "control": field.control.table(),
            "compute": saving(rows),
            "confirmation": None,
            "found": join(place, FOUND_FILE),
            "replay": join(place, RUN_FILE),
            "versions": installed_versions(),
        }

    def _winner(self) -> Schedule:
        """The best of the finals; "default" where none is better than it."""
        spec, goal, control = self.spec, self.goal, self.field.control
        assert goal is not None
        finals = self.finals
        if spec.goal == "cost" and spec.floor is None:
            own = [row for row in finals if row_schedule(row) == control]
            goal = replace(goal, floor=row_score(own[0], spec.score)) if own else goal
            self.goal = goal  # as the report says
        held = finals or answers(self.rows, spec.score)
        best = ranked(held, goal, spec.score, self.budget)
        return row_schedule(best[0]) if best else control


def replayed(base: RunSpec, found: str) -> RunSpec:
    """The settings of a run that trains what was found, on what it was searched on."""
    return replace(
        base,
        curriculum=found,
        train=replace(base.train, learning_rate=None),
        basis=replace(base.basis, whitening=None),
        cluster=ClusterSpec(),
        map=True,
        out=None,
    )


def make_method(spec: SearchSpec, field: Field, goal: Goal) -> Method:
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
    batch = _GENERATION if spec.method == "nsga2" else spec.concurrency or _BATCH
    return Sampled(space, goal, spec.method, trials=spec.trials, batch=batch, seed=seed)
