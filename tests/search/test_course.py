"""A course asks in order, answers what is known, and comes to the same after a kill."""

from __future__ import annotations

import random
import time
from pathlib import Path

from st_ray.bench.ledger import Ledger
from st_ray.search.course import Asked, Course, Rules
from st_ray.search.methods import Draw, Goal, Listed, Sampled
from tests.small_space import SPACE, epoch_cost


def course(folder: Path, trials: int = 12, **rules) -> Course:
    method = Sampled(SPACE, Goal(kind="accuracy"), "tpe", trials=trials, batch=3, seed=5)
    cost = {"cost": lambda schedule: schedule.cost(epoch_cost)}
    return Course(method, Ledger(folder), Rules(facts="one", **cost, **rules))


def row(asked: Asked) -> dict[str, object]:
    accuracy = 0.9 - 0.01 * asked.draw.schedule.legs[-1].patch_size
    return {"state": "done", "oa": accuracy, "compute": 1.0}


def work(some: Course, most: int = 1000, shuffle: random.Random | None = None) -> None:
    """Train what is handed out, three at a time, in whatever order they end."""
    running: list[Asked] = []
    for _ in range(most):
        while (asked := some.next()) is not None:
            running.append(asked)
        if not running:
            return
        done = running.pop(shuffle.randrange(len(running)) if shuffle else 0)
        some.tell(done, row(done))


def test_a_killed_search_comes_to_the_same_trials_in_whatever_order_they_end(
    tmp_path: Path,
) -> None:
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole = course(tmp_path / "whole")
    work(whole)
    killed = course(tmp_path / "killed")
    work(killed, most=7, shuffle=random.Random(1))
    finished = len(Ledger(tmp_path / "killed"))
    assert finished == 7
    resumed = course(tmp_path / "killed")
    asked_again = []
    while (asked := resumed.next()) is not None:
        asked_again.append(asked)
        resumed.tell(asked, row(asked))
    assert len(asked_again) + finished == len({r["key"] for r in whole.rows})
    assert resumed.over
    assert [r["schedule"] for r in resumed.rows] == [r["schedule"] for r in whole.rows]
    assert [r["number"] for r in whole.rows] == list(range(12))


def test_equal_draws_are_trained_once(tmp_path: Path) -> None:
    schedule = SPACE.schedule({"stages": 1})
    draws = [Draw(schedule=schedule), Draw(schedule=schedule), Draw(schedule=schedule, again=1)]
    some = Course(Listed(draws), Ledger(tmp_path), Rules(facts="", cost=lambda schedule: 1.0))
    handed = []
    while (asked := some.next()) is not None:
        handed.append(asked)
        some.tell(asked, row(asked))
    assert [asked.number for asked in handed] == [0, 2]
    assert [r["number"] for r in some.rows] == [0, 1, 2]


def test_nothing_is_handed_out_when_the_time_is_over(tmp_path: Path) -> None:
    some = course(tmp_path, until=time.time() - 1)
    assert some.next() is None
    assert some.late
    assert some.over


def test_a_failed_and_a_stopped_trial_are_rows_like_others(tmp_path: Path) -> None:
    seen: list[dict[str, object]] = []
    some = course(tmp_path, trials=3, listen=seen.append)
    first, second, third = (some.next() for _ in range(3))
    assert some.next() is None
    assert not some.over
    some.tell(third, {"state": "failed", "error": "diverged"})
    some.tell(second, {"accuracy": 0.4, "compute": 0.2})
    some.tell(first, row(first))
    assert [r["state"] for r in some.rows] == ["done", "stopped", "failed"]
    assert len(seen) == 3
    assert some.over


def test_what_died_is_tried_again_by_the_next_search(tmp_path: Path) -> None:
    draws = [Draw(schedule=SPACE.schedule({"stages": 1}))]
    rules = Rules(facts="", cost=lambda schedule: 1.0)
    for attempt in range(2):
        some = Course(Listed(draws), Ledger(tmp_path), rules)
        asked = some.next()
        assert asked is not None, attempt
        some.tell(asked, {"state": "failed", "error": "its process died", "transient": True})
        assert some.over
        assert len(some.rows) == 1
