"""The course of a search: what is asked, what is known, and what is still to be trained.

The course numbers the draws, answers those that its ledger knows, and tells the method whole
batches in their order. So a search that was killed asks for the same trials again, gets those
that were finished from the ledger, and goes on; whatever ran at the same time in whatever order.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from st_ray.bench.ledger import Ledger, Row, key_of
from st_ray.search.methods import Draw, Method, Told
from st_ray.search.schedule import Schedule


@dataclass(frozen=True, slots=True)
class Asked:
    """A draw with its number.

    Attributes:
        number: From 0.
        draw: What the method asked for.
        key: In the ledger.
    """

    number: int
    draw: Draw
    key: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """What a course needs to know apart from its method.

    Attributes:
        facts: What decides a trial apart from its schedule; plain.
        cost: Predicted seconds of a schedule.
        score: Which of a row's scores counts: "oa", "aa" or "kappa".
        until: Unix time after which nothing more is handed out.
        listen: Told of every row, known or new.
    """

    facts: str
    cost: Callable[[Schedule], float]
    score: str = "oa"
    until: float = math.inf
    listen: Callable[[Row], object] = dict


class Course:
    """Hands out draws and takes in what came of them.

    Args:
        method: Chooses schedules.
        ledger: Holds what is known.
        rules: The rest.
        start: Number of the first draw.

    Attributes:
        late: Whether draws were left because the time was over.
    """

    def __init__(self, method: Method, ledger: Ledger, rules: Rules, start: int = 0) -> None:
        self.late = False
        self._method, self._ledger, self._rules = method, ledger, rules
        self._count = start
        self._waiting: deque[Asked] = deque()
        self._batch: list[Asked] = []
        self._rows: dict[int, Row] = {}
        self._tried: set[str] = set()
        self._over = False
        self._ask()

    @property
    def rows(self) -> list[Row]:
        """Of all trials so far, in the order of asking."""
        return [self._rows[number] for number in sorted(self._rows)]

    @property
    def over(self) -> bool:
        """Whether nothing more will be handed out."""
        return self.late or (self._over and not self._waiting)

    def next(self) -> Asked | None:
        """A draw to be trained; None while others must be told first, or for good: see `over`."""
        if time.time() > self._rules.until and not self.over:
            self.late = True
        return self._waiting.popleft() if self._waiting and not self.late else None

    def tell(self, asked: Asked, row: Row) -> None:
        """What came of a draw; a row without "state" is of one that was stopped early."""
        row = {
            "kind": "trial",
            "why": asked.draw.why,
            "probe": asked.draw.probe,
            "again": asked.draw.again,
            "schedule": asked.draw.schedule.table(),
            "cost": self._rules.cost(asked.draw.schedule),
            "state": "stopped",
            **row,
        }
        self._ledger.add(asked.key, row)
        self._tried.add(asked.key)
        self._settle()
        self._ask()

    def _ask(self) -> None:
        """Go on to the next batch that holds something unknown."""
        while not self._over and all(asked.number in self._rows for asked in self._batch):
            if self._batch:
                self._method.tell([self._told(self._rows[each.number]) for each in self._batch])
            self._batch = [self._number(draw) for draw in self._method.ask()]
            self._over = not self._batch
            self._settle()
            first = {asked.key: asked for asked in reversed(self._batch)}  # of equal draws
            unknown = [asked for asked in self._batch if asked.number not in self._rows]
            self._waiting.extend(asked for asked in unknown if first[asked.key] is asked)

    def _number(self, draw: Draw) -> Asked:
        key = key_of([self._rules.facts, draw.schedule.table(), draw.again])
        self._count += 1
        return Asked(self._count - 1, draw, key)

    def _settle(self) -> None:
        """Answer the draws of the batch that are known by now."""
        for asked in self._batch:
            known = self._ledger.get(asked.key)
            if known is None or asked.number in self._rows:
                continue
            if known.get("transient") and asked.key not in self._tried:
                continue  # its process died in an earlier search: another try
            row = {**known, "number": asked.number, "why": asked.draw.why}
            self._rows[asked.number] = row
            self._rules.listen(row)

    def _told(self, row: Row) -> Told:
        accuracy = row_score(row, self._rules.score)
        return Told(accuracy=accuracy, cost=row["cost"], stopped=row["state"] == "stopped")


class Chain:
    """Courses one after another, as one course.

    Args:
        courses: The next is made when all draws of the one before have been told.
    """

    def __init__(self, courses: Iterator[Course]) -> None:
        self._courses = courses
        self._now: Course | None = None
        self._running: dict[int, Course] = {}
        self._advance()

    @property
    def over(self) -> bool:
        """Whether nothing more will be handed out."""
        return self._now is None

    def next(self) -> Asked | None:
        """A draw to be trained; None while others must be told first, or for good: see `over`."""
        while self._now is not None:
            asked = self._now.next()
            if asked is not None:
                self._running[asked.number] = self._now
                return asked
            if self._running or not self._now.over:
                return None
            self._advance()
        return None

    def tell(self, asked: Asked, row: Row) -> None:
        """What came of a draw."""
        self._running.pop(asked.number).tell(asked, row)

    def _advance(self) -> None:
        """Go on to the next course that has something to hand out."""
        self._now = next(self._courses, None)
        while self._now is not None and self._now.over:
            self._now = next(self._courses, None)


def row_schedule(row: Row) -> Schedule:
    """What was trained."""
    return Schedule.of_table(row["schedule"])


def row_score(row: Row, score: str) -> float:
    """What a row's schedule reached; NaN if it failed."""
    if row["state"] == "failed":
        return math.nan
    reached = row.get(score, row.get("accuracy"))  # stopped early: of its last epoch
    return math.nan if reached is None else float(reached)
