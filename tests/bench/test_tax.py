"""What is read out of the events of watched runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from st_ray.bench import tax
from st_ray.bench.children import Watched, watch_run
from st_ray.bench.tax import epoch_periods, startup_parts
from st_ray.config import ClusterSpec, RunSpec
from st_ray.errors import SpecError, TrainingError
from st_ray.spectral.scene import SceneSpec


def event(kind: str, time: float, name: str | None = None, stage: int | None = None) -> dict:
    return {"kind": kind, "name": name, "time": time, "stage": stage, "seconds": None}


EVENTS = [
    event("imported", 12.0),
    event("phase", 13.0, "startup"),
    event("phase", 20.0, "statistics"),
    event("phase", 21.0, "ingest"),
    event("phase", 22.0, "train"),
    event("worker", 30.0),
    event("started", 31.0),
    event("epoch", 35.0, stage=0),
    event("epoch", 37.0, stage=0),
    event("epoch", 42.0, stage=1),
    event("epoch", 45.0, stage=1),
    event("ended", 48.0),
]


def test_a_period_is_between_the_ends_of_two_epochs_of_a_stage() -> None:
    assert epoch_periods(EVENTS) == [2.0, 3.0]


def test_a_stage_of_one_epoch_cannot_be_timed() -> None:
    with pytest.raises(SpecError, match="no stage has two epochs"):
        epoch_periods([event("epoch", 1.0, stage=0), event("epoch", 2.0, stage=1)])


def test_the_start_is_told_by_its_parts() -> None:
    parts = startup_parts(Watched(asked=10.0, events=EVENTS, peak_bytes=0))
    assert parts == {
        "imports": 2.0,
        "scene and checks": 1.0,
        "engine": 7.0,
        "statistics": 1.0,
        "ingest": 1.0,
        "worker group": 8.0,
        "data and model to the workers": 1.0,
        "after the last epoch": 3.0,
    }


def test_a_watched_run_tells_events_and_memory(spec: RunSpec) -> None:
    run = watch_run(spec, timeout=120)
    assert [e["kind"] for e in run.events].count("epoch") == 6
    assert run.asked < run.times()["imported"] < run.times()["started"] < run.times()["ended"]
    assert 1e8 < run.peak_bytes < 4e9


def test_a_watched_run_that_fails_is_one_line() -> None:
    wrong = RunSpec(scene=SceneSpec(name="nowhere.npy"), cluster=ClusterSpec(workers=0))
    with pytest.raises(TrainingError, match=r"^a run failed: (?!st_ray).*nowhere.npy"):
        watch_run(wrong, timeout=120)


def test_ratios_are_of_the_same_round(monkeypatch, spec: RunSpec) -> None:
    def watched(asked: RunSpec, timeout: float) -> Watched:
        period = {0: 2.0, 1: 2.2, 2: 1.1}[asked.cluster.workers]
        assert asked.cluster.threads == 1
        epochs = [event("epoch", 31.0 + period * epoch, stage=0) for epoch in range(4)]
        return Watched(asked=10.0, events=[*EVENTS[:7], *epochs, EVENTS[-1]], peak_bytes=0)

    monkeypatch.setattr(tax, "watch_run", watched)
    monkeypatch.setattr(tax, "_help", lambda: 0.25)
    told: list[str] = []
    table = tax.bench_tax(replace(spec, seed=3), rounds=2, say=told.append)
    assert table["steady_state_overhead"] == pytest.approx(0.1)
    assert table["two_worker_speedup"] == pytest.approx(2.0)
    assert table["two_process_ceiling"] == pytest.approx(2.0)
    assert table["help_seconds"] == 0.25
    assert table["startup_seconds"]["engine"] == 7.0
    assert table["settings"]["seed"] == 3
    assert len(told) == 8
