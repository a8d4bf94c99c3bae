"""Which schedule a search recommends: pure functions of its rows."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean

from st_ray.bench.ledger import Row
from st_ray.search.course import row_schedule, row_score
from st_ray.search.methods import Goal
from st_ray.search.schedule import Schedule

# A cost is predicted from measured paces; more digits than this it does not have.
_EQUAL_COST = 1.01


def answers(rows: Sequence[Row], score: str) -> list[Row]:
    """Rows that can be recommended: trained to the end, no probes, each schedule once."""
    first: dict[Schedule, Row] = {}
    for row in rows:
        whole = row["state"] == "done" and not math.isnan(row_score(row, score))
        if whole and not row["probe"] and row["again"] == 0:
            first.setdefault(row_schedule(row), row)
    return list(first.values())


def front(rows: Sequence[Row], score: str) -> list[Row]:
    """The rows that no other beats in cost and score, the cheapest first."""
    kept: list[Row] = []
    for row in sorted(rows, key=lambda row: (row["cost"], -row_score(row, score))):
        if not kept or row_score(row, score) > row_score(kept[-1], score):
            kept.append(row)
    return kept


def ranked(rows: Sequence[Row], goal: Goal, score: str, budget: float) -> list[Row]:
    """Rows in the order of the goal, the best first; those out of bounds are left out.

    For the goal "front" the bound is the cost of "default".
    """
    if goal.kind == "cost":
        kept = [row for row in rows if row_score(row, score) >= goal.floor]
        return sorted(kept, key=lambda row: (row["cost"], -row_score(row, score)))
    most = _EQUAL_COST * (goal.unit if goal.kind == "front" else budget)
    kept = [row for row in rows if row["cost"] <= most]
    return sorted(kept, key=lambda row: (-row_score(row, score), row["cost"]))


def averaged(rows: Sequence[Row], score: str) -> list[Row]:
    """One row a schedule, with the mean of the score over its trainings as its score.

    The first training, by which it was chosen, does not count where there are others.
    """
    trained: dict[Schedule, list[Row]] = defaultdict(list)
    for row in rows:
        if row["state"] == "done":
            trained[row_schedule(row)].append(row)
    most = max(map(len, trained.values()), default=0)
    return [_average(group, score) for group in trained.values() if len(group) == most]


def _average(group: Sequence[Row], score: str) -> Row:
    held = [row_score(row, score) for row in group if row["again"]] or [row_score(group[0], score)]
    return {**group[0], score: fmean(held), "trainings": len(held)}


def saving(rows: Sequence[Row]) -> dict[str, float]:
    """Predicted seconds that the trials stand for, and that were trained: shared once."""
    stands = sum(float(row.get("compute", 0.0)) for row in rows)
    trained = sum(float(row.get("spent", 0.0)) for row in rows)
    share = 1.0 - trained / stands if stands else 0.0
    return {"stands_for": stands, "trained": trained, "saved_share": share}
