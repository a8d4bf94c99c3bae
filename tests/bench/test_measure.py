"""A cell's numbers are those of the run itself, and its clock leaves out what a run does not do."""

from __future__ import annotations

import time

import numpy as np
import pytest

from st_ray import RunSpec
from st_ray.bench import measure as module
from st_ray.bench.measure import measure, time_sample
from st_ray.learn import fit as fit_module
from st_ray.learn.presets import find_curriculum
from st_ray.recipe import fill_in


def curriculum_of(spec: RunSpec):
    return find_curriculum(spec.curriculum, 12, spec.patch_size)


@pytest.fixture(scope="module")
def row(spec: RunSpec) -> dict:
    return measure(fill_in(spec), curriculum_of(spec), target=0.5, test=True)


def test_a_cell_has_the_scores_of_the_run_it_measures(row: dict, finished) -> None:
    report, _ = finished
    assert row["test"]["oa"] == pytest.approx(report.overall_accuracy, abs=1e-6)
    assert row["test"]["aa"] == pytest.approx(report.average_accuracy, abs=1e-6)
    assert row["test"]["kappa"] == pytest.approx(report.kappa, abs=1e-6)
    assert [accuracy for _, accuracy in row["curve"]] == pytest.approx(
        [epoch.validation_accuracy for epoch in report.history], abs=1e-6
    )
    assert row["stages"] == [[s.components, s.patch_size, s.epochs] for s in report.stages]


def test_its_parts_add_up_to_its_seconds(row: dict) -> None:
    assert sum(row["parts"].values()) == pytest.approx(row["seconds"], abs=1e-3)
    assert all(seconds >= 0 for seconds in row["parts"].values())
    assert row["curve"][-1][0] == row["seconds"]


def test_the_target_is_met_at_the_first_epoch_that_meets_it(row: dict) -> None:
    epoch = next(i for i, (_, accuracy) in enumerate(row["curve"], start=1) if accuracy >= 0.5)
    assert row["reach"]["epoch"] == epoch < len(row["curve"])
    assert row["reach"]["seconds"] == row["curve"][epoch - 1][0]


def test_the_test_scores_at_the_target_are_those_of_the_weights_at_that_epoch(
    spec: RunSpec, row: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stop the same training at that epoch: its end is the target."""
    epoch = row["reach"]["epoch"]
    whole = fit_module.Job.epochs.fget

    def stop(job, *args, **kwargs):
        factor = whole(job)
        monkeypatch.setattr(fit_module.Job, "epochs", property(lambda self: epoch))
        monkeypatch.setattr(
            fit_module,
            "schedule",
            lambda progress, *rest: original(progress * epoch / factor, *rest),
        )
        real_fit(job, *args, **kwargs)

    original, real_fit = fit_module.schedule, module.fit
    monkeypatch.setattr(module, "fit", stop)
    stopped = measure(fill_in(spec), curriculum_of(spec), target=0.5, test=True)
    assert len(stopped["curve"]) == epoch
    assert stopped["test"] == row["reach"]["test"]


def test_scoring_does_not_count(spec: RunSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every validation half a second longer: the cell's cost stays what it was."""
    original = fit_module.evaluate

    def slow(*args, **kwargs):
        time.sleep(0.5)
        return original(*args, **kwargs)

    monkeypatch.setattr(fit_module, "evaluate", slow)
    begun = time.perf_counter()
    row = measure(fill_in(spec), curriculum_of(spec), target=None, test=True)
    slept = 0.5 * len(row["curve"])
    assert time.perf_counter() - begun > slept
    assert row["seconds"] < time.perf_counter() - begun - slept


def test_a_search_scores_the_validation_part_and_no_test_pixel(
    spec: RunSpec, row: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    original = fit_module.evaluate

    def watch(model, source, *rest):
        seen.append(len(source))
        return original(model, source, *rest)

    monkeypatch.setattr(fit_module, "evaluate", watch)
    tuned = measure(fill_in(spec), curriculum_of(spec), target=None, test=False)
    assert tuned["test"] is None
    assert tuned["curve"] is None
    assert tuned["validation"] == row["validation"]
    validation = max(seen)
    assert sorted(set(seen)) == [0, validation]
    assert validation < 60


def test_a_wider_patch_takes_longer() -> None:
    usual = {"backbone": "resnet2d", "options": {}, "classes": 3, "batch_size": 16}
    usual |= {"threads": 1, "device": "cpu"}
    small = time_sample(components=4, patch_size=3, **usual)
    large = time_sample(components=64, patch_size=15, **usual)
    assert 0 < small < large
    assert np.isfinite(large)
