"""The cost model: amounts times rates, and what does not fit."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from st_ray.calibration import calibrate
from st_ray.config import RunSpec
from st_ray.errors import SpecError
from st_ray.forecast import Rates, Workload, forecast
from st_ray.learn import pace
from st_ray.learn.backbones import build_backbone
from st_ray.learn.curriculum import PlannedStage
from st_ray.planning import Amounts, count_scene, machines_like, plan_run, workload
from st_ray.spectral.basis import BasisSpec

STAGE = PlannedStage(components=60, patch_size=11, epochs=10, batch_size=64, cost=1.0)
WORK = Workload(
    pixels=1e8,
    bands=200,
    tiles=1000,
    measured=1e7,
    samples=6400,
    scored=640,
    tested=10_000,
    mapped=1e8,
    stages=(STAGE,),
    parameters=10**6,
)
MACHINES = machines_like(nodes=1, cores=2, workers=1, memory=24e9, store=8e9)
RATES = Rates(survey=1e-7, moments=2e-7, project=1e-7, train=(1e-3,), score=(3e-4,))


def test_seconds_are_amounts_times_rates() -> None:
    seconds = forecast(WORK, MACHINES, RATES).seconds
    assert seconds["survey"] == pytest.approx(5.0)
    assert seconds["moments"] == pytest.approx(1.0)
    assert seconds["ingest"] == pytest.approx(1000 * 74**2 * 1e-7 / 2)
    assert seconds["training"] == pytest.approx(64.0)
    assert seconds["collectives"] == 0.0
    assert seconds["scoring"] == pytest.approx((10 * 640 + 10_000) * 3e-4)
    assert seconds["map"] == pytest.approx(1e8 * (3e-4 + 1e-7 * (74 / 64) ** 2) / 2)


def test_whole_tiles_are_scored_at_the_rate_of_a_pixel() -> None:
    dense = replace(RATES, pixel=1e-6)
    seconds = forecast(WORK, MACHINES, dense).seconds
    assert seconds["map"] == pytest.approx(1e8 * (1e-6 + 1e-7 * (74 / 64) ** 2) / 2)
    assert seconds["scoring"] == pytest.approx(10 * 640 * 3e-4 + 10_000 * 3e-4)  # few of a tile
    many = forecast(replace(WORK, tested=1e6), MACHINES, dense).seconds
    assert many["scoring"] == pytest.approx(10 * 640 * 3e-4 + 1000 * 64**2 * 1e-6)


def test_the_rate_of_a_pixel_is_that_of_dense_evaluation(monkeypatch) -> None:
    def timed(step: Callable[[], float]) -> float:
        step()
        return 1.0

    seen = []
    original = pace.dense_logits
    monkeypatch.setattr(pace, "_median", timed)
    monkeypatch.setattr(pace, "dense_logits", lambda *given: seen.append(1) or original(*given))
    sizes = {"components": 8, "patch_size": 9, "classes": 3, "side": 16}
    assert pace.time_pixel(partial(build_backbone, "cnn3d"), **sizes) == 1 / 256
    assert seen == [1]
    assert pace.time_pixel(partial(build_backbone, "vit"), **sizes) is None


def test_a_slow_disk_is_what_counts() -> None:
    slow = forecast(WORK, replace(MACHINES, disk=1e9), RATES).seconds
    assert slow["survey"] == pytest.approx(40.0)
    assert slow["moments"] == pytest.approx(4.0)
    assert slow["ingest"] == pytest.approx(1000 * 74**2 * 400 / 1e9)


def test_workers_share_the_training_and_exchange_gradients() -> None:
    many = replace(MACHINES, nodes=4, workers=8, faster=2.0)
    told = forecast(WORK, many, RATES)
    assert told.seconds["training"] == pytest.approx(4.0)
    assert told.seconds["map"] == pytest.approx(1e8 * 3e-4 / 16)  # tiles are read meanwhile
    assert told.network["gradients"] == pytest.approx(2 * 4e6 * 1000 * 7)
    assert told.network["moments"] == 8 * 200**2 * 48  # 1,526 blocks, 8 CPUs
    assert forecast(replace(WORK, pixels=2e5), many, RATES).network["moments"] == 0  # the driver
    assert told.network["tiles, replicated"] == pytest.approx(3 * told.stack)
    assert told.node_memory["shard"] == pytest.approx(told.stack / 4)


def test_what_breaks_first_is_told_first() -> None:
    fits = forecast(WORK, MACHINES, RATES)
    assert fits.breaks == ()
    assert fits.closest.endswith(" GB at hand")
    assert fits.placement == "replicate"
    many = forecast(replace(WORK, tiles=4000), MACHINES, RATES)
    assert (many.placement, many.breaks) == ("shard", ())  # too many for the object store
    huge = forecast(replace(WORK, pixels=8e9, tiles=20_000), MACHINES, RATES)
    assert [line.split(":")[0] for line in huge.breaks] == [
        "a node's shard of the tiles, in memory",
        "the driver's label rasters and plan of tiles",
    ]
    assert huge.closest == huge.breaks[0]
    elastic = forecast(replace(WORK, tiles=4000, elastic=True), MACHINES, RATES)
    assert "cluster.least_workers" in elastic.breaks[0]
    asked = forecast(replace(WORK, tiles=20_000, placement="replicate"), MACHINES, RATES)
    assert [line.split(":")[0] for line in asked.breaks] == [
        "replicated tiles in a node's object store",
        "the driver's label rasters and tiles, and the store's",
    ]


def test_tiles_that_a_gpu_has_no_room_for() -> None:
    gpus = replace(MACHINES, workers=4, gpu=1e9, store=100e9, memory=300e9)
    size = 1000 * 74**2 * 60 * 4 / 1e9
    told = forecast(WORK, gpus, RATES)
    assert told.breaks == (
        f"replicated tiles in a GPU's memory (shared out: {size / 4:.1f} GB): {size:.1f} GB, "
        "0.8 GB at hand",
    )
    own = forecast(replace(WORK, placement="shard"), gpus, RATES)
    assert own.breaks == ()
    assert own.closest.startswith("a worker's shard of the tiles in its GPU's memory: 0.3 GB, 0.8")
    assert forecast(WORK, replace(gpus, gpu=2e9), RATES).breaks == ()


def test_workers_that_hold_their_own_tiles_project_them() -> None:
    shards = replace(WORK, placement="shard")
    cores = replace(MACHINES, cores=16, workers=4)
    ratio = [forecast(w, cores, RATES).seconds["ingest"] for w in (shards, WORK)]
    assert ratio[0] == pytest.approx(4 * ratio[1])


def test_the_map_is_held_only_where_one_is_drawn() -> None:
    none = forecast(replace(WORK, mapped=0.0), MACHINES, RATES)
    assert forecast(WORK, MACHINES, RATES).driver_memory - none.driver_memory == 4 * WORK.mapped


def test_rates_are_measured_in_seconds_a_unit() -> None:
    asked = []

    def sample(components: int, patch_size: int, trained: bool) -> float:
        asked.append((components, patch_size, trained))
        return 1e-3

    work = replace(WORK, bands=20, stages=(replace(STAGE, components=10),))
    rates = calibrate(work, "fast", sample, lambda components, patch_size: 1e-5, 1)
    assert asked == [(10, 11, True), (10, 11, False)]
    assert rates.pixel == 1e-5
    for rate in (rates.survey, rates.moments, rates.project):
        assert 1e-9 < rate < 1e-4


AMOUNTS = Amounts(pixels=1e6, bands=30, classes=4, labelled=20_000)


def test_a_workload_follows_from_the_spec() -> None:
    spec = RunSpec(backbone="cnn1d", curriculum="full", epochs=7)
    work, _ = workload(spec, AMOUNTS)
    assert [(s.components, s.epochs) for s in work.stages] == [(30, 7)]
    assert (work.samples, work.scored, work.tested) == (2000.0, 1000.0, pytest.approx(17_000.0))
    assert work.tiles == 49  # 200,000 pixels, a tenth labelled, in tiles of 4,096
    assert work.measured == 49 * 4096
    everything, _ = workload(replace(spec, basis=BasisSpec(pixels="all")), AMOUNTS)
    assert everything.measured == 1e6


def test_a_plan_measures_and_forecasts() -> None:
    told = plan_run(RunSpec(backbone="cnn1d", epochs=2), AMOUNTS, MACHINES)
    seconds = told["forecast"]["seconds"]
    assert told["forecast"]["total_seconds"] == pytest.approx(sum(seconds.values()))
    assert all(value > 0 for name, value in seconds.items() if name != "collectives")


def test_numbers_given_win_over_the_scene(spec: RunSpec) -> None:
    own = count_scene(spec)
    assert own.tiles is not None
    larger = count_scene(spec, pixels=1e9)
    assert (larger.pixels, larger.bands, larger.tiles) == (1e9, own.bands, None)


@pytest.mark.parametrize(
    ("amounts", "expected"),
    [
        ({"pixels": 0}, "pixels=0: expected at least 1"),
        ({"bands": 1}, "bands=1: expected at least 2"),
        ({"labelled": 2e6}, "labelled=2e+06: expected at most pixels=1e+06"),
    ],
)
def test_amounts_that_cannot_be(amounts: dict[str, float], expected: str) -> None:
    with pytest.raises(SpecError, match=re.escape(expected)):
        replace(AMOUNTS, **amounts)


def test_machines_are_like_this_one_unless_told() -> None:
    here = machines_like()
    assert here.cores >= 1
    assert here.store == pytest.approx(0.3 * here.memory)
    with pytest.raises(SpecError, match=r"--nodes 0: expected a number above 0"):
        machines_like(nodes=0)
    with pytest.raises(SpecError, match=r"--gpu -3: expected a number above 0"):
        machines_like(gpu=-3e9)


def test_the_command_tells_what_breaks(
    st_ray: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    out = tmp_path / "plan.json"
    status, text, _ = st_ray(
        *("plan", "--pixels", "1e11", "--bands", "20", "--workers", "32", "--memory", "8"),
        *("--backbone", "cnn1d", "--epochs", "2", "--out", str(out)),
    )
    assert status == 0
    assert "the driver's label rasters and plan of tiles: " in text
    assert "a worker's share of a batch: 2 samples" in text
    assert json.loads(out.read_text())["work"]["pixels"] == 1e11


def test_nothing_to_plan_for(st_ray: Callable[..., tuple[int, str, str]]) -> None:
    status, _, text = st_ray("plan", "--pixels", "1e6")
    assert (status, text.count("\n")) == (2, 1)
    assert "name a scene, or give --pixels and --bands" in text
