"""The cost model: amounts times rates, and what does not fit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from st_ray.forecast import Machines, Rates, Workload, calibrate, forecast
from st_ray.learn.curriculum import PlannedStage

STAGE = PlannedStage(components=60, patch_size=11, epochs=10, batch_size=64, cost=1.0)
WORK = Workload(
    pixels=1e8, bands=200, tiles=1000, samples=6400, scored=640, stages=(STAGE,), parameters=10**6
)
MACHINES = Machines(nodes=1, cores=2, workers=1, memory=24e9, store=8e9)
RATES = Rates(survey=1e-7, moments=2e-7, project=1e-7, train=(1e-3,), score=(3e-4,))


def test_seconds_are_amounts_times_rates() -> None:
    seconds = forecast(WORK, MACHINES, RATES).seconds
    assert seconds["survey"] == pytest.approx(5.0)
    assert seconds["moments"] == pytest.approx(10.0)
    assert seconds["ingest"] == pytest.approx(1000 * 74**2 * 1e-7 / 2)
    assert seconds["training"] == pytest.approx(64.0)
    assert seconds["collectives"] == 0.0


def test_a_slow_disk_is_what_counts() -> None:
    slow = forecast(WORK, replace(MACHINES, disk=1e9), RATES).seconds
    assert slow["survey"] == slow["moments"] == pytest.approx(40.0)


def test_workers_share_the_training_and_exchange_gradients() -> None:
    many = replace(MACHINES, nodes=4, workers=8)
    told = forecast(WORK, many, RATES)
    assert told.seconds["training"] == pytest.approx(8.0)
    assert told.network["gradients"] == pytest.approx(2 * 4e6 * 1000 * 7)
    assert told.network["tiles, replicated"] == pytest.approx(3 * told.stack)
    assert told.node_memory["shard"] == pytest.approx(told.stack / 4)


def test_what_breaks_first_is_told_first() -> None:
    assert forecast(WORK, MACHINES, RATES).breaks == ()
    huge = replace(WORK, pixels=1e10, tiles=20_000)
    breaks = forecast(huge, MACHINES, RATES).breaks
    assert [line.split(":")[0] for line in breaks] == [
        "replicated tiles in a node's object store",
        "a node's shard of the tiles, in memory",
        "the driver's label rasters",
    ]


def test_rates_are_measured_in_seconds_a_unit() -> None:
    asked = []

    def sample(components: int, patch_size: int, trained: bool) -> float:
        asked.append((components, patch_size, trained))
        return 1e-3

    rates = calibrate(
        replace(WORK, bands=20, stages=(replace(STAGE, components=10),)), "fast", sample, 1
    )
    assert asked == [(10, 11, True), (10, 11, False)]
    for rate in (rates.survey, rates.moments, rates.project):
        assert 1e-9 < rate < 1e-4
