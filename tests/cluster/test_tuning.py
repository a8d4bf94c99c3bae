"""Trials on Ray Tune: side by side, stopped early, failing and dying, with workers of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import ray

from st_ray import RunSpec
from st_ray.bench.ledger import Ledger
from st_ray.cluster.tuning import room_for, run_on_tune
from st_ray.config import ClusterSpec
from st_ray.engine import open_engine
from st_ray.errors import SpecError
from st_ray.learn.backbones import build_backbone
from st_ray.search.course import Asked, Course, Rules
from st_ray.search.methods import Draw, Listed
from st_ray.search.run import run_search
from st_ray.search.runners import work_on
from st_ray.search.schedule import Leg, Schedule
from st_ray.search.spec import SearchSpec
from st_ray.search.trial import Ground, Trial, Variant
from st_ray.spectral.patches import TileStack
from tests.small_jobs import BANDS, HALO, job

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]
CLUSTER = ClusterSpec(workers=1, device="cpu", threads=1, max_failures=0)
FIRST = Leg(components=4, patch_size=3, epochs=2, batch_size=16)
LAST = Leg(components=8, patch_size=7, epochs=2, batch_size=16)
GOOD = Schedule(legs=(FIRST, LAST), learning_rate=3e-3, whitening=0.5)
DEADLY = replace(GOOD, legs=(FIRST, replace(LAST, components=5)))
BROKEN = replace(GOOD, legs=(FIRST, replace(LAST, components=6)))


@pytest.fixture(scope="module", autouse=True)
def session() -> Iterator[None]:
    """One Ray for all of them."""
    with open_engine(CLUSTER):
        yield


def builder(**sizes: int):
    """A model, unless 5 components end the process and 6 raise."""
    if sizes["components"] == 5:
        os._exit(1)
    if sizes["components"] == 6:
        raise RuntimeError("no model of six")
    return build_backbone("resnet2d", width=8, **sizes)


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    edge = 12 + 2 * HALO
    values = np.random.default_rng(0).normal(size=(edge, edge, BANDS)).astype(np.float32)
    values[:, :, 0] += np.arange(edge)
    variant = Variant("components", 0, 0.5)
    return Ground(
        jobs={variant: job(tmp_path / "unused", build=builder)},
        stacks={variant: TileStack(values_REK=values, halo=HALO)},
        paces={(k, side): 0.01 * k * side**2 for k in (4, 5, 6, 8) for side in (3, 7)},
        samples=40,
        place=str(tmp_path),
    )


def make(asked: Asked, watched: bool = False) -> Trial:
    return Trial(number=asked.number, schedule=asked.draw.schedule, seed=0, watched=watched)


def tune(some: Course, ground: Ground, cluster: ClusterSpec = CLUSTER, **how) -> None:
    how = {"make": make, "abreast": 1, "longest": None, **how}
    work = partial(work_on, cluster)
    run_on_tune(some, work=work, shared=ground, cluster=cluster, place=ground.place, **how)


def course(ground: Ground, *schedules: Schedule) -> Course:
    draws = [Draw(schedule=schedule) for schedule in schedules]
    rules = Rules(facts="", cost=lambda schedule: schedule.cost(ground.epoch_cost))
    return Course(Listed(draws), Ledger(ground.folder), rules)


def test_trials_that_fail_or_die_end_nothing(ground: Ground) -> None:
    some = course(ground, GOOD, DEADLY, BROKEN, replace(GOOD, learning_rate=1e-3))
    tune(some, ground, abreast=2)
    assert some.over
    states = [row["state"] for row in some.rows]
    assert states == ["done", "failed", "failed", "done"]
    assert some.rows[1]["error"] == "its process died"
    assert "no model of six" in some.rows[2]["error"]
    assert not (ground.folder / "tune").exists()


def test_a_trial_may_have_workers_of_its_own(ground: Ground) -> None:
    some = course(ground, GOOD)
    two = replace(CLUSTER, workers=2)
    tune(some, ground, two, abreast=room_for(two, "cpu"))
    alone = course(replace(ground, place=str(ground.folder / "alone")), GOOD)
    (ground.folder / "alone").mkdir()
    other = replace(ground, place=str(ground.folder / "alone"))
    tune(alone, other)
    assert [row.get("error") for row in (*some.rows, *alone.rows)] == [None, None]
    assert some.rows[0]["oa"] == pytest.approx(alone.rows[0]["oa"], abs=0.1)


def test_trials_that_fall_behind_are_stopped_at_equal_compute(ground: Ground) -> None:
    legs = (replace(LAST, epochs=30),)
    rates = (1e-2, 2e-2, 1e-9, 2e-9)  # good ones first: the others are compared with them
    schedules = [replace(GOOD, legs=legs, learning_rate=rate) for rate in rates]
    some = course(ground, *schedules)
    longest = schedules[0].cost(ground.epoch_cost)
    tune(some, ground, make=partial(make, watched=True), longest=longest)
    states = [row["state"] for row in some.rows]
    assert states[0] == "done"
    assert states[2:] == ["stopped", "stopped"]
    for row in some.rows:
        if row["state"] == "stopped":
            assert longest / 9 <= row["compute"] < longest
            assert 0.0 <= row["accuracy"] <= 1.0


def test_a_whole_search(spec: RunSpec, tmp_path: Path) -> None:
    table = run_search(
        SearchSpec(
            base=replace(spec, cluster=CLUSTER, curriculum="default"),
            trials=4,
            concurrency=2,
            components=(4, 8),
            patch_sizes=(3, 5),
            whitenings=(0.5,),
            finalists=1,
            repeats=1,
            confirm=0,
            out=str(tmp_path / "search"),
        ),
        lambda text: None,
    )
    assert table["complete"]
    assert len(table["trials"]) >= 5
    assert ray.is_initialized()  # it was there before


def test_a_trial_that_no_cluster_has_room_for_is_refused() -> None:
    with pytest.raises(SpecError, match="no room for a trial of 1000"):
        room_for(replace(CLUSTER, workers=1000), "cpu")
