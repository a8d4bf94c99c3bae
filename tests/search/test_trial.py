"""Trials begin where another has been, and come to what they would have come to alone."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from st_ray.errors import TrainingError
from st_ray.learn.fit import fit
from st_ray.learn.outcome import Outcome
from st_ray.learn.peers import Peers
from st_ray.search.schedule import Leg, Schedule
from st_ray.search.trial import Ground, Trial, Variant, run_trial
from st_ray.spectral.patches import TileStack
from tests.small_jobs import BANDS, HALO, job

FIRST = Leg(components=4, patch_size=3, epochs=2, batch_size=16)
LAST = Leg(components=8, patch_size=7, epochs=2, batch_size=16)
SCHEDULE = Schedule(legs=(FIRST, LAST), learning_rate=3e-3, whitening=0.5)
OTHER = replace(SCHEDULE, legs=(FIRST, replace(LAST, patch_size=5)))


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    rng = np.random.default_rng(0)
    edge = 12 + 2 * HALO
    values = rng.normal(size=(edge, edge, BANDS)).astype(np.float32)
    values[:, :, 0] += np.arange(edge)
    stack = TileStack(values_REK=values, halo=HALO)
    variant = Variant("components", 0, 0.5)
    paces = {(k, side): 0.01 * k * side**2 for k in (4, 8) for side in (3, 5, 7)}
    return Ground(
        jobs={variant: job(tmp_path / "unused")},
        stacks={variant: stack},
        paces=paces,
        samples=40,
        place=str(tmp_path),
    )


def train(some, stack, listen) -> None:
    fit(some, stack, peers=Peers(), device=torch.device("cpu"), listen=listen)


def trial(schedule: Schedule = SCHEDULE, **changes) -> Trial:
    return Trial(**{"number": 0, "schedule": schedule, "seed": 0, **changes})


def outcome(ground: Ground, some: Trial) -> tuple[Outcome, list[dict]]:
    reports: list[dict] = []
    folders = set(ground.folder.glob("trials/*"))
    run_trial(some, ground, train, reports.append)
    (new,) = set(ground.folder.glob("trials/*")) - folders
    return Outcome.load(new), reports


def test_an_equal_beginning_is_trained_once_and_changes_nothing(
    ground: Ground, tmp_path: Path
) -> None:
    _, (first,) = outcome(ground, trial())
    shared, (second,) = outcome(ground, trial(OTHER))
    alone, (third,) = outcome(replace(ground, place=str(tmp_path / "alone")), trial(OTHER))
    assert first["spent"] == first["compute"]
    before = FIRST.epochs * ground.epoch_cost(4, 3)
    assert second["spent"] == pytest.approx(second["compute"] - before)
    assert third["spent"] == third["compute"] == second["compute"]
    assert [row.loss for row in shared.history] == [row.loss for row in alone.history]
    assert np.array_equal(shared.test.counts_CC, alone.test.counts_CC)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"schedule": replace(OTHER, learning_rate=1e-3)},
        {"schedule": replace(OTHER, clock=(0.0, 0.1, 0.2, 0.6, 1.0))},
        {"shared": False},
    ],
)
def test_another_beginning_is_not_taken_for_the_same(ground: Ground, change: dict) -> None:
    outcome(ground, trial())
    _, (row,) = outcome(ground, replace(trial(OTHER), **change))
    assert row["spent"] == row["compute"]


def test_the_validation_part_is_scored_and_no_test_pixel(ground: Ground) -> None:
    result, (row,) = outcome(ground, trial())
    validation = next(iter(ground.jobs.values())).validation_samples
    assert result.test.counts_CC.sum() == len(validation.targets_N)
    assert row["oa"] == result.test.overall_accuracy
    assert row["state"] == "done"


def test_a_watched_trial_reports_every_epoch_at_its_compute(ground: Ground) -> None:
    _, rows = outcome(ground, trial(watched=True))
    assert [row["epochs"] for row in rows] == [1, 2, 3, 4]
    assert [row["compute"] for row in rows] == sorted(row["compute"] for row in rows)
    assert all(0.0 <= row["accuracy"] <= 1.0 for row in rows)
    assert "state" not in rows[0]


def test_a_trial_that_was_cut_off_goes_on(ground: Ground) -> None:
    whole, _ = outcome(replace(ground, place=str(ground.folder / "whole")), trial())

    def killed(some, stack, listen) -> None:
        def cut(event) -> None:
            listen(event)
            if event["kind"] == "epoch" and event["row"].epoch == 3:
                raise KeyboardInterrupt

        fit(some, stack, peers=Peers(), device=torch.device("cpu"), listen=cut)

    with pytest.raises(KeyboardInterrupt):
        run_trial(trial(), ground, killed, lambda row: None)
    seen: list[int] = []

    def counted(some, stack, listen) -> None:
        def count(event) -> None:
            seen.extend([event["row"].epoch] if event["kind"] == "epoch" else [])
            listen(event)

        fit(some, stack, peers=Peers(), device=torch.device("cpu"), listen=count)

    rows: list[dict] = []
    run_trial(trial(), ground, counted, rows.append)
    assert rows[0]["spent"] == rows[0]["compute"]  # all its own, though in two goes
    assert seen == [4]
    (folder,) = (ground.folder / "trials").iterdir()
    assert [r.loss for r in Outcome.load(folder).history] == [r.loss for r in whole.history]


def test_a_trial_that_fails_says_why(ground: Ground) -> None:
    def broken(some, stack, listen) -> None:
        raise TrainingError("the loss became nan")

    rows: list[dict] = []
    run_trial(trial(), ground, broken, rows.append)
    assert rows[0]["state"] == "failed"
    assert "the loss became nan" in rows[0]["error"]


def test_those_that_wait_for_a_beginning_train_it_once_and_do_not_wait_for_each_other(
    ground: Ground,
) -> None:
    order: list[str] = []
    first = threading.Event()

    def slow(name: str):
        def run(some, stack, listen) -> None:
            order.append(f"{name} begins")
            if name == "one":
                first.set()
            train(some, stack, listen)
            order.append(f"{name} ends")
            if name != "one":  # neither may keep the other out while it trains its own stages
                assert both.wait(timeout=60)

        return run

    short = replace(LAST, epochs=1)
    own = replace(short, patch_size=5, batch_size=8)  # which no other schedule goes on with
    longer = replace(SCHEDULE, legs=(FIRST, own, short))
    schedules = {"one": SCHEDULE, "two": OTHER, "three": longer}
    rows: dict[str, dict] = {}
    both = threading.Event()

    def work(name: str) -> None:
        run_trial(trial(schedules[name]), ground, slow(name), lambda row: rows.update({name: row}))

    threads = [threading.Thread(target=work, args=(name,)) for name in schedules]
    threads[0].start()
    assert first.wait(timeout=60)
    for thread in threads[1:]:
        thread.start()
    deadline = time.monotonic() + 60
    while not {"two ends", "three ends"} <= set(order) and time.monotonic() < deadline:
        time.sleep(0.01)
    both.set()
    for thread in threads:
        thread.join(timeout=60)
    assert {"two ends", "three ends"} <= set(order)
    for name in ("two", "three"):
        before = FIRST.epochs * ground.epoch_cost(4, 3)
        assert rows[name]["spent"] == pytest.approx(rows[name]["compute"] - before)
