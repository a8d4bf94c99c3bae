"""The benchmark measures each cell once, in fair order, and never loses what it has."""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest

from st_ray import StRayError
from st_ray.bench import training
from st_ray.bench.cells import BenchSpec
from st_ray.bench.ledger import Ledger
from st_ray.bench.meter import Meter
from st_ray.bench.training import run_bench
from st_ray.bench.workers import OutOfTimeError


def rows(out: Path, kind: str = "run") -> list[dict]:
    return [row for row in Ledger(out).rows() if row["kind"] == kind]


def test_all_arms_of_a_seed_are_measured_together_full_first(measured) -> None:
    _, out = measured
    assert [(row["seed"], row["arm"]) for row in rows(out)] == [
        (0, "full"),
        (0, "default"),
        (0, "k30_time"),
        (1, "full"),
        (1, "k30_time"),
        (1, "default"),
    ]


def test_the_others_target_is_the_final_validation_accuracy_of_full(measured) -> None:
    _, out = measured
    finals = {r["seed"]: r["validation"]["oa"] for r in rows(out) if r["arm"] == "full"}
    for row in rows(out):
        if row["reach"]:
            assert row["reach"]["target"] == finals[row["seed"]]
            assert row["reach"]["test"]["oa"] > 0


def test_the_headline_is_in_bench_json(measured) -> None:
    table, out = measured
    written = json.loads((out / "bench.json").read_text())
    assert set(written["backbones"]["resnet2d"]) >= {
        "speedup",
        "oa_difference",
        "oa_interval",
        "aa_difference",
        "seeds",
    }
    assert written["backbones"]["resnet2d"]["seeds"] == 2
    assert written["geomean_speedup"] == table["geomean_speedup"]
    assert written["headline"]["split"] == "random"
    assert [(row["full_epochs"], row["origin"]) for row in written["searched"]] == [(10, "given")]


def test_differences_are_paired_by_seed(measured) -> None:
    table, out = measured
    oa = {(row["arm"], row["seed"]): row["test"]["oa"] for row in rows(out)}
    expected = sum(oa["default", seed] - oa["full", seed] for seed in (0, 1)) / 2
    assert table["backbones"]["resnet2d"]["oa_difference"] == pytest.approx(expected)


def test_an_equal_time_arm_takes_about_the_predicted_time(measured) -> None:
    """By the pace measured, not by the clock of this noisy run."""
    _, out = measured
    pace = {(row["components"], row["patch_size"]): row["seconds"] for row in rows(out, "pace")}
    stages = {row["arm"]: row["stages"] for row in rows(out)}
    cost = {
        arm: sum(e * pace[k, side] for k, side, e in stages[arm]) for arm in ("default", "k30_time")
    }
    one_epoch = pace[tuple(stages["k30_time"][0][:2])]
    assert (
        abs(cost["default"] - cost["k30_time"]) <= max(one_epoch, cost["k30_time"]) / 2 + one_epoch
    )


def test_a_second_call_measures_nothing_and_gives_the_same(measured, bench_spec: BenchSpec) -> None:
    table, out = measured
    before = (out / "cells.jsonl").read_text()
    said: list[str] = []
    again, done = run_bench(replace(bench_spec, max_hours=0.0), say=said.append)
    assert done
    assert not [line for line in said if line.startswith(("run", "tune"))]
    assert (out / "cells.jsonl").read_text() == before
    assert again["backbones"] == table["backbones"]


def test_one_more_seed_measures_only_that_seed(measured, bench_spec: BenchSpec, tmp_path) -> None:
    _, out = measured
    (tmp_path / "cells.jsonl").write_text((out / "cells.jsonl").read_text())
    said: list[str] = []
    wider = replace(bench_spec, seeds=(0, 1, 2), out=str(tmp_path))
    table, _ = run_bench(wider, say=said.append)
    new = [line for line in said if line.startswith("run")]
    assert len(new) == 3
    assert all("seed 2" in line for line in new)
    assert table["backbones"]["resnet2d"]["seeds"] == 3


@pytest.mark.parametrize("arm", ["full", "default"])
def test_a_narrower_call_still_tells_all_that_is_known(
    measured, bench_spec: BenchSpec, tmp_path: Path, arm: str
) -> None:
    table, out = measured
    cells = (out / "cells.jsonl").read_text()
    assert '"split":"random"' in cells
    cells = cells.replace('"split":"random"', '"split":"called so before"')
    (tmp_path / "cells.jsonl").write_text(cells)
    narrow = replace(bench_spec, seeds=(0,), arms=(arm,), max_hours=0.0, out=str(tmp_path))
    again, done = run_bench(narrow, say=lambda text: None)
    assert done
    assert again["backbones"] == table["backbones"]
    assert {group["split"] for group in again["groups"]} == {"random"}


def test_arms_are_compared_without_the_baseline(
    measured, bench_spec: BenchSpec, tmp_path: Path
) -> None:
    """A seed more of both arms, of which no speedup is known."""
    table, out = measured
    (tmp_path / "cells.jsonl").write_text((out / "cells.jsonl").read_text())
    said: list[str] = []
    spec = replace(bench_spec, seeds=(2,), arms=("default", "k30_time"), out=str(tmp_path))
    wider, done = run_bench(spec, say=said.append)
    assert done
    assert len([line for line in said if line.startswith("run")]) == 2
    full, default, control = wider["groups"][0]["arms"]
    assert (full["seeds"], default["seeds"], control["seeds"]) == ([0, 1], [0, 1, 2], [0, 1, 2])
    assert wider["backbones"] == table["backbones"]
    new = {row["arm"]: row for row in rows(tmp_path) if row["seed"] == 2}
    leads = [
        *(before["test"]["oa"] - after["test"]["oa"] for before, after in pairs(out)),
        new["default"]["test"]["oa"] - new["k30_time"]["test"]["oa"],
    ]
    assert control["default_oa_difference"] == pytest.approx(sum(leads) / 3)


def test_what_was_measured_without_the_baseline_is_paired_with_it_later(
    bench_spec: BenchSpec, tmp_path: Path
) -> None:
    alone = replace(bench_spec, seeds=(0,), arms=("default",), out=str(tmp_path))
    table, _ = run_bench(alone, say=lambda text: None)
    assert table["backbones"] == {}
    (arm,) = table["groups"][0]["arms"]
    assert (arm["seeds"], arm["tried"]) == ([0], 0)
    assert "Speedup at equal accuracy" not in (tmp_path / "bench.html").read_text()
    said: list[str] = []
    table, done = run_bench(replace(alone, arms=("full", "default")), say=said.append)
    assert done
    assert [line.split()[4] for line in said if line.startswith("run")] == ["full"]
    assert table["backbones"]["resnet2d"]["seeds"] == 1


def test_an_arm_with_a_patch_of_its_own_is_refused_beside_a_guard_band(
    bench_spec: BenchSpec, st_ray, scene_files, tmp_path: Path
) -> None:
    path = tmp_path / "blocks.split.json"
    words = ("--labels", scene_files.labels, "--patch-size", 5, "--out", path)
    code, _, error = st_ray("split", scene_files.cube, "--split", "disjoint", *words)
    assert code == 0, error
    spec = replace(bench_spec, backbones=("ssftt",), splits=(str(path),), out=str(tmp_path / "o"))
    with pytest.raises(StRayError, match="guard band of 2 pixels is not made for the patch of"):
        run_bench(replace(spec, arms=("default", "ssftt_script")))


def pairs(out: Path) -> list[tuple[dict, dict]]:
    """The rows of default and of its control, by seed."""
    by_arm = {
        name: sorted((r for r in rows(out) if r["arm"] == name), key=lambda r: r["seed"])
        for name in ("default", "k30_time")
    }
    return list(zip(*by_arm.values(), strict=True))


def test_without_the_baseline_no_search_trains_it(bench_spec, tmp_path, monkeypatch) -> None:
    asked = []

    def score(self, worker, place, arm, plan, rate, target, kind="tune", *, known=False):
        if known:
            raise OutOfTimeError
        asked.append(arm)
        return {"kind": kind, "validation": {"oa": 0.8, "aa": 0.8}, "arm": arm}

    monkeypatch.setattr(Meter, "measure", score)
    spec = replace(bench_spec, rate=None, arms=("default",), out=str(tmp_path))
    bench = training._Bench(spec, Ledger(tmp_path), print)
    for task in bench.searches():
        task(None)
    assert set(asked) == {"default"}


def test_out_of_time_begins_nothing_and_says_so(bench_spec: BenchSpec, tmp_path: Path) -> None:
    late = replace(bench_spec, out=str(tmp_path), max_hours=0.0)
    table, done = run_bench(late, say=lambda text: None)
    assert not done
    assert table["backbones"] == {}
    assert (tmp_path / "bench.html").exists()
    assert not (tmp_path / "cells.jsonl").exists()


def test_a_cell_that_fails_is_a_row_and_the_others_go_on(
    bench_spec: BenchSpec, tmp_path: Path
) -> None:
    """The first loss of so high a rate is not finite."""
    wild = replace(bench_spec, out=str(tmp_path), seeds=(0,), rate=1e30, arms=("full", "default"))
    table, done = run_bench(wild, say=lambda text: None)
    assert done
    assert {row["arm"] for row in table["failed"]} == {"full", "default"}
    assert all("lower --lr" in row["error"] for row in table["failed"])
    assert "lower --lr" in (tmp_path / "bench.html").read_text()


def test_a_worker_that_dies_ends_in_one_line_and_loses_nothing(
    bench_spec: BenchSpec, tmp_path: Path
) -> None:
    killed = replace(bench_spec, out=str(tmp_path), seeds=(0,), arms=("full", "default"))

    def kill(text: str) -> None:
        if "full" in text and text.startswith("run"):
            for child in multiprocessing.active_children():
                child.kill()
                child.join(10)

    with pytest.raises(StRayError, match="measuring process died"):
        run_bench(killed, say=kill)
    assert [row["arm"] for row in rows(tmp_path)] == ["full"]
    _, done = run_bench(killed, say=lambda text: None)
    assert done
    assert [row["arm"] for row in rows(tmp_path)] == ["full", "default"]


def test_searched_lengths_and_rates_are_told(bench_spec, tmp_path, monkeypatch) -> None:
    """With a stand-in for the measurement: what the searches ask for is what is told."""
    asked = []

    def score(self, worker, place, arm, plan, rate, target, kind="tune", *, known=False):
        assert not known
        asked.append((arm, plan.epochs, rate, place.seed, kind))
        better = {("full", 3e-3): 0.9, ("default", 3e-4): 0.9}.get((arm, rate), 0.8)
        return {"kind": kind, "validation": {"oa": better, "aa": better}, "arm": arm}

    monkeypatch.setattr(Meter, "measure", score)
    spec = replace(bench_spec, full_epochs=None, rate=None, seeds=(0,), out=str(tmp_path))
    bench = training._Bench(replace(spec, arms=("full", "default")), Ledger(tmp_path), print)
    for task in bench.searches():
        task(None)
    (settled,) = bench.settled.values()
    assert (settled.epochs, settled.origin) == (6, "searched")  # 30, 17, 10 are as good as 90
    assert settled.rates == {"full": 3e-3, "default": 3e-4}
    assert {seed for *_, seed, _ in asked} == {spec.tuning_seed}
    assert {kind for *_, kind in asked} == {"tune"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": ()}, "no seeds given"),
        ({"seeds": (1, 1)}, "name one twice"),
        ({"seeds": (1000,)}, "is one of the seeds"),
        ({"backbones": ("resnet",)}, "did you mean 'resnet2d'"),
        ({"arms": ()}, "no arms given"),
        ({"arms": ("ful",)}, "unknown arm 'ful'; did you mean 'full'"),
        ({"threads": 0}, "--threads 0: expected at least 1"),
        ({"full_epochs": 0}, "--full-epochs 0: expected at least 1"),
    ],
)
def test_a_wrong_benchmark_is_named(bench_spec: BenchSpec, change: dict, message: str) -> None:
    with pytest.raises(StRayError, match=message):
        replace(bench_spec, **change)


def test_more_threads_than_cores_are_refused(bench_spec: BenchSpec, tmp_path: Path) -> None:
    with pytest.raises(StRayError, match="would disturb each other"):
        run_bench(replace(bench_spec, jobs=64, threads=64, out=str(tmp_path)))
