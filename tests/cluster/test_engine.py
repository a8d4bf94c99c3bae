"""The same work in this process and on Ray gives the same result."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch
from ray.experimental import get_local_object_locations

from st_ray import ClusterSpec, Report, RunSpec, SceneSpec, run_curriculum
from st_ray.engine import LocalEngine, open_engine, usable_cores
from st_ray.errors import SceneError, SpecError, TrainingError
from st_ray.forecast import Rates, forecast
from st_ray.keep import keep_patches
from st_ray.learn.objectives import resolve_optimizer
from st_ray.planning import count_scene, machines_like, workload
from st_ray.spectral.scene import open_scene
from st_ray.spectral.tiles import Tile, TileSpec, plan_tiles
from st_ray.spectral.work import Arrays, MeasureTiles, merge_moments, read_moments

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_session")]


def losses(report: Report) -> list[float]:
    return [row.loss for row in report.history]


@pytest.fixture(scope="module")
def alone(spec: RunSpec, tmp_path_factory) -> Report:
    here = replace(spec.cluster, workers=0)
    return run_curriculum(
        replace(spec, cluster=here, out=str(tmp_path_factory.mktemp("run") / "alone"))
    )


@pytest.mark.parametrize("to_driver", [10**6, 4])  # without tasks that only merge, with them
def test_moments_reduced_over_ray_equal_those_of_one_process(spec, monkeypatch, to_driver) -> None:
    monkeypatch.setattr("st_ray.engine.tiles_per_block", lambda side: 2)
    monkeypatch.setattr("st_ray.cluster.engine.tiles_per_block", lambda side: 2)
    monkeypatch.setattr("st_ray.cluster.engine._TO_DRIVER", to_driver)
    monkeypatch.setattr("st_ray.cluster.engine._FAN_IN", 2)
    scene = open_scene(spec.scene)
    tiles = plan_tiles(scene.labels.shape, TileSpec(side=1))
    chosen = (scene.labels > 0).astype(np.uint8)
    results = []
    for engine in (LocalEngine(ClusterSpec(device="cpu", threads=1)), open_engine(spec.cluster)):
        with engine:
            work = MeasureTiles(scene.cube)
            parts = list(engine.map_tiles(work, tiles, 1, chosen, merge=merge_moments))
        results.append(read_moments(parts))
    assert (4 < len(parts) < len(tiles) / 2) if to_driver > 4 else (1 < len(parts) <= 4)
    one, several = results
    assert one.count == several.count == int(chosen.sum())
    np.testing.assert_allclose(several.mean_B, one.mean_B, rtol=1e-12)
    np.testing.assert_allclose(several.scatter_BB, one.scatter_BB, rtol=1e-9, atol=1e-3)


class Echo:
    """A stream of the tiles' own numbers."""

    def open(self) -> Callable[[Iterable[Tile]], Iterator[Arrays]]:
        return self._stream

    def _stream(self, tiles: Iterable[Tile]) -> Iterator[Arrays]:
        for tile in tiles:
            yield {"index": np.array(tile.index)}


@pytest.fixture
def asked(monkeypatch) -> list[int]:
    """Grows with every dataset that is made."""
    made: list[int] = []
    original = ray.data.from_items

    def from_items(*given: Any, **named: Any) -> ray.data.Dataset:
        made.append(1)
        return original(*given, **named)

    monkeypatch.setattr(ray.data, "from_items", from_items)
    return made


@pytest.mark.parametrize(
    ("few", "heavy", "datasets"), [(15, False, 1), (16, True, 1), (16, False, 0)]
)
def test_few_pixels_are_measured_by_the_driver(
    spec, monkeypatch, asked, few, heavy, datasets
) -> None:
    monkeypatch.setattr("st_ray.cluster.engine.FEW_MEASURED", few)
    scene = open_scene(spec.scene)
    tiles = plan_tiles(scene.labels.shape, TileSpec(side=2))[:4]
    ones_HW = np.ones(scene.labels.shape, np.uint8)
    with open_engine(spec.cluster) as engine:
        moments = engine.map_tiles(MeasureTiles(scene.cube), tiles, 2, ones_HW, heavy=heavy)
        assert read_moments(moments).count == 16
        # Of two workers with one each.
        assert torch.get_num_threads() == min(2, len(usable_cores()))
    assert len(asked) == datasets


def test_patches_kept_by_ray_tasks_are_those_of_this_process(spec, asked, tmp_path) -> None:
    cards = []
    for workers in (2, 0):
        here = replace(spec, cluster=replace(spec.cluster, workers=workers))
        cards.append(keep_patches(here, str(tmp_path / str(workers))))
    assert cards[0] == cards[1]
    assert cards[0].rows > 0
    assert asked


@pytest.mark.parametrize(
    ("few", "alone", "device", "datasets"),
    [(16, True, "cpu", 0), (15, True, "cpu", 1), (16, False, "cpu", 1), (16, True, "cuda", 1)],
)
def test_few_pixels_are_classified_by_a_driver_that_is_alone_on_its_machine(
    spec, monkeypatch, asked, few, alone, device, datasets
) -> None:
    monkeypatch.setattr("st_ray.cluster.engine.FEW_CLASSIFIED", few)
    monkeypatch.setattr("st_ray.cluster.engine._results", lambda dataset: iter(()))  # no GPU here
    tiles = plan_tiles((4, 4), TileSpec(side=2))
    with open_engine(spec.cluster) as engine:
        assert not engine._alone  # Ray was there before
        engine._alone, engine.device = alone, device
        streamed = list(engine.stream_tiles(Echo(), tiles))
    assert [int(part["index"]) for part in streamed] == ([] if datasets else [0, 1, 2, 3])
    assert len(asked) == datasets


@pytest.fixture(scope="module")
def stored() -> list[int]:
    """Bytes that Ray keeps for each array that went to the workers of `two`."""
    return []


@pytest.fixture(scope="module")
def two(spec: RunSpec, stored: list[int], tmp_path_factory) -> Report:
    def put(value: object) -> ray.ObjectRef:
        kept = original(value)
        if isinstance(value, np.ndarray):
            stored.append(get_local_object_locations([kept])[kept]["object_size"])
        return kept

    original = ray.put
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("st_ray.cluster.trainer.ray.put", put)
        return run_curriculum(replace(spec, out=str(tmp_path_factory.mktemp("run") / "two")))


def test_two_workers_train_what_this_process_does(alone, two) -> None:
    assert two.workers == 2
    assert two.seconds.startup > 0
    np.testing.assert_allclose(losses(two), losses(alone), rtol=5e-3)
    assert two.overall_accuracy == pytest.approx(alone.overall_accuracy, abs=0.02)


def test_the_object_store_holds_what_is_forecast(spec, two, stored) -> None:
    work, _ = workload(spec, count_scene(spec))
    per_stage = (0.0,) * len(work.stages)
    rates = Rates(survey=0.0, moments=0.0, project=0.0, train=per_stage, score=per_stage)
    told = forecast(work, machines_like(nodes=1, cores=2, workers=2), rates)
    assert two.workers == 2
    (held,) = stored
    assert held == pytest.approx(told.node_store["replicate"], rel=0.01)


def test_shards_on_two_workers_learn_as_a_replicate(spec, alone, tmp_path) -> None:
    shards = replace(spec.cluster, placement="shard")
    two = run_curriculum(
        replace(spec, cluster=shards, tiles=TileSpec(side=7), map=False, out=str(tmp_path / "two"))
    )
    assert two.workers == 2
    assert two.overall_accuracy == pytest.approx(alone.overall_accuracy, abs=0.03)
    assert losses(two)[-1] == pytest.approx(losses(alone)[-1], rel=0.15)


class KillOnce:
    """The optimizer of the other runs, and one worker dies unless the marker is there."""

    def __init__(self, marker: Path, decay: float) -> None:
        self._marker, self._decay, self._steps = marker, decay, 0

    def __call__(self, parameters, rate: float) -> torch.optim.Optimizer:
        optimizer = resolve_optimizer("muon", self._decay)(parameters, rate)
        optimizer.register_step_pre_hook(self._step)
        return optimizer

    def _step(self, *unused: object) -> None:
        self._steps += 1
        last = torch.distributed.is_initialized() and torch.distributed.get_rank() == 1
        if last and self._steps == 14 and not self._marker.exists():
            self._marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_costs_nothing_but_time(spec, two, tmp_path, s3) -> None:
    started = []
    killed = run_curriculum(
        replace(spec, out=s3("killed"), map=False),
        optimizer=KillOnce(tmp_path / "marker", spec.train.weight_decay),
        listen=lambda event: started.append(event) if event["kind"] == "started" else None,
    )
    assert (tmp_path / "marker").exists()
    assert [event["epoch"] > 0 for event in started] == [False, True]
    assert losses(killed) == losses(two)
    assert killed.confusion == two.confusion


def test_bad_input_inside_a_ray_task_is_one_line(spec, scene_files, tmp_path) -> None:
    cube = scene_files.values.astype(np.float32)
    cube[:, :, 2] = np.nan
    np.save(tmp_path / "cube.npy", cube)
    scene = SceneSpec(
        name=str(tmp_path / "cube.npy"), labels=str(scene_files.labels), bad_bands="error"
    )
    with pytest.raises(SceneError, match=r"bad_bands=drop") as caught:
        run_curriculum(replace(spec, scene=scene, out=str(tmp_path / "out")))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_an_error_of_ours_inside_a_task_comes_out_as_itself(spec) -> None:
    scene = open_scene(spec.scene)
    gone = replace(scene.cube, path="/nowhere/cube.npy")
    tiles = plan_tiles(scene.labels.shape, TileSpec(side=16))
    with open_engine(spec.cluster) as engine, pytest.raises(SceneError, match="/nowhere") as caught:
        list(engine.map_tiles(MeasureTiles(gone), tiles, 16, scene.labels))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("greed", [{"workers": 99}, {"threads": 99}])
def test_more_than_the_cluster_has_is_refused_before_ray_waits_for_it(
    spec, greed, tmp_path
) -> None:
    greedy = replace(
        spec,
        cluster=replace(spec.cluster, **greed),
        train=replace(spec.train, batch_size=400),
        out=str(tmp_path / "out"),
    )
    with pytest.raises(SpecError, match=r"exceed the Ray cluster's \d+ CPUs"):
        run_curriculum(greedy)
    assert not (tmp_path / "out").exists()


def test_ctrl_c_ends_training_and_leaves_no_handler_behind(spec, usual_ctrl_c, tmp_path) -> None:
    def press(event) -> None:
        if event["kind"] == "epoch" and event["row"].epoch == 1:
            os.kill(os.getpid(), signal.SIGINT)

    long = replace(spec, epochs=2000, out=str(tmp_path / "out"))
    with pytest.raises(KeyboardInterrupt):
        run_curriculum(long, listen=press)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert not (tmp_path / "out" / "report.json").exists()


class BreakLate(torch.nn.CrossEntropyLoss):
    """Cross entropy that fails, and would again, after some steps."""

    def __init__(self, value: float | None) -> None:
        super().__init__()
        self.value, self._calls = value, 0

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        self._calls += 1
        if self._calls > 5:
            if self.value is None:
                raise KeyError("the user's own")
            return logits.sum() * self.value
        return super().forward(logits, targets)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, 'training failed: KeyError: "the user\'s own"'),
        (float("nan"), "the loss became nan in epoch 2"),
    ],
)
def test_what_would_fail_again_is_one_line_and_not_retried(spec, value, message, tmp_path) -> None:
    started = []
    one = replace(spec.cluster, workers=1)
    with pytest.raises(TrainingError, match=message) as caught:
        run_curriculum(
            replace(spec, cluster=one, out=str(tmp_path / "out"), map=False),
            loss=BreakLate(value),
            listen=lambda event: started.append(event) if event["kind"] == "started" else None,
        )
    assert len(started) == 1
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "report.json").exists()
