"""Which worker holds which tiles: a shard of all is a replicate, and what cannot be sharded."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from st_ray import ClusterSpec, TileSpec
from st_ray.errors import SpecError
from st_ray.feed import ingest
from st_ray.learn.placement import Sharded
from st_ray.pipeline import run_curriculum
from st_ray.spectral.ingest import StackPlan


@pytest.mark.parametrize("memory", [float("inf"), 0.0])
def test_a_shard_of_all_tiles_is_trained_as_a_replicate(
    spec, finished, tmp_path, monkeypatch, memory
) -> None:
    """In memory, and in a file that is mapped."""
    monkeypatch.setattr("st_ray.engine.free_memory", lambda: memory)
    sharded = replace(spec.cluster, placement="shard")
    tiles = TileSpec(side=7)
    report = run_curriculum(
        replace(spec, cluster=sharded, tiles=tiles, out=str(tmp_path / "shard"))
    )
    # not to the bit: BLAS rounds tiles of another size otherwise on some processors
    losses = [[row.loss for row in run.history] for run in (report, finished[0])]
    np.testing.assert_allclose(*losses, rtol=1e-3)
    assert report.overall_accuracy == pytest.approx(finished[0].overall_accuracy, abs=0.01)


def test_tiles_that_fit_no_memory_are_sharded_unasked(spec, tmp_path, monkeypatch) -> None:
    built = []
    original = StackPlan.build
    monkeypatch.setattr("st_ray.engine.free_memory", lambda: 0.0)
    monkeypatch.setattr(StackPlan, "build", lambda *args: built.append(args[3]) or original(*args))
    run_curriculum(replace(spec, epochs=6, map=False, out=str(tmp_path / "run")))
    assert built == [0.0]


def test_tiles_are_not_sharded_among_workers_that_come_and_go(spec) -> None:
    changing = replace(spec, cluster=ClusterSpec(workers=2, least_workers=1))
    engine: Any = SimpleNamespace(memory=7.0)
    plan: Any = SimpleNamespace(tiles=(1, 2), tile_bytes=4)
    with pytest.raises(SpecError, match=r"too large for every worker.*leave out") as caught:
        ingest(engine, plan, cast(Any, None), changing)
    assert "\n" not in str(caught.value)


def test_shards_are_planned_for_every_step_of_an_epoch(spec, tmp_path, monkeypatch) -> None:
    planned, trained = [], []
    monkeypatch.setattr(
        "st_ray.feed.plan_shards", lambda w, n, steps: planned.append(steps) or (0, len(w))
    )
    original = Sharded.batches
    monkeypatch.setattr(
        Sharded, "batches", lambda *args: trained.append(cut := original(*args)) or cut
    )
    cluster, train = replace(spec.cluster, placement="shard"), replace(spec.train, class_floor=90)
    run_curriculum(
        replace(spec, cluster=cluster, train=train, epochs=6, map=False, out=str(tmp_path / "run"))
    )
    assert planned == [max(map(len, trained))]
