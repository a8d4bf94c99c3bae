"""What is told while a run runs."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from st_ray.events import Progress, seconds_left
from st_ray.learn.checkpoint import EpochRow
from st_ray.learn.curriculum import PlannedStage

# An epoch of the second stage costs a hundred times one of the first, and takes ten times as long.
STAGES = (
    PlannedStage(components=10, patch_size=3, epochs=4, batch_size=64, cost=0.04),
    PlannedStage(components=40, patch_size=11, epochs=3, batch_size=64, cost=3.0),
)


def rows(seconds: list[float], first: int = 1) -> list[EpochRow]:
    return [
        EpochRow(
            epoch=epoch,
            stage=int(epoch > 4),
            loss=1.0,
            learning_rate=0.001,
            validation_loss=1.0,
            validation_accuracy=0.5,
            seconds=spent,
            samples=10,
        )
        for epoch, spent in enumerate(seconds, first)
    ]


def test_the_time_left_counts_dear_epochs_for_what_they_cost() -> None:
    assert seconds_left(STAGES, rows([1.0, 1.0]), 2.0) == pytest.approx(2 * 1 + 3 * 10)


def test_the_time_left_in_the_last_stage_is_its_own_epochs() -> None:
    seen = rows([1.0, 1.0, 1.0, 1.0, 4.0])
    assert seconds_left(STAGES, seen, 8.0) == pytest.approx(2 * 4)
    assert seconds_left(STAGES, [*seen, *rows([4.0, 4.0], 6)], 16.0) == 0


def test_the_time_left_counts_what_passes_beside_training() -> None:
    assert seconds_left(STAGES, rows([1.0, 1.0]), 3.0) == pytest.approx(1.5 * 32)


def test_the_time_left_of_a_resumed_run_knows_only_this_session() -> None:
    assert seconds_left(STAGES, rows([2.0], 4), 2.0) == pytest.approx(3 * 20)


def test_progress_tells_the_time_left_and_starts_anew_with_training(monkeypatch) -> None:
    clock = iter([0.0, 2.0, 100.0, 103.0])
    monkeypatch.setattr("st_ray.events.time.monotonic", lambda: next(clock))
    file = io.StringIO()
    progress = Progress(Console(file=file, width=100))
    progress({"kind": "plan", "stages": STAGES})
    for done, row in ((0, rows([2.0])), (1, rows([3.0], 2))):
        progress({"kind": "started", "epochs": 7, "epoch": done, "time": 0.0})
        progress({"kind": "epoch", "row": row[0]})
    told = file.getvalue()
    assert "epoch 1/7  stage 1" in told
    assert "about 66 s left" in told
    assert "going on after epoch 1" in told
    assert "about 96 s left" in told
