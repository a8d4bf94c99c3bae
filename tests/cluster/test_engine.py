"""The same work in this process and on Ray gives the same result."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from st_ray import ClusterSpec, Report, RunSpec, SceneSpec, run_curriculum
from st_ray.engine import LocalEngine, open_engine
from st_ray.errors import SceneError, SpecError, TrainingError
from st_ray.spectral.moments import SpectralMoments, merge_all
from st_ray.spectral.scene import open_scene
from st_ray.spectral.tiles import TileSpec, plan_tiles
from st_ray.spectral.work import MeasureTiles
from tests.cluster.conftest import processes_named

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_session")]


def losses(report: Report) -> list[float]:
    return [row.loss for row in report.history]


@pytest.fixture(scope="module")
def alone(spec: RunSpec, tmp_path_factory) -> Report:
    here = replace(spec.cluster, workers=0)
    return run_curriculum(
        replace(spec, cluster=here, out=str(tmp_path_factory.mktemp("run") / "alone"))
    )


def test_moments_reduced_over_ray_equal_those_of_one_process(spec, scene_files) -> None:
    scene = open_scene(spec.scene)
    tiles = plan_tiles(scene.labels.shape, TileSpec(side=7))
    chosen = (scene.labels > 0).astype(np.uint8)
    results = []
    for engine in (LocalEngine(ClusterSpec(device="cpu", threads=1)), open_engine(spec.cluster)):
        with engine:
            parts = list(engine.map_tiles(MeasureTiles(scene.cube), tiles, 7, chosen))
        results.append(merge_all(SpectralMoments.from_arrays(part) for part in parts))
    one, ray = results
    assert one.count == ray.count == int(chosen.sum())
    np.testing.assert_allclose(ray.mean_B, one.mean_B, rtol=1e-12)
    np.testing.assert_allclose(ray.scatter_BB, one.scatter_BB, rtol=1e-9, atol=1e-3)


def test_two_workers_train_what_this_process_does(spec, alone, tmp_path) -> None:
    report = run_curriculum(replace(spec, out=str(tmp_path / "two")))
    assert report.workers == 2
    assert report.seconds.startup > 0
    np.testing.assert_allclose(losses(report), losses(alone), rtol=5e-3)
    assert report.overall_accuracy == pytest.approx(alone.overall_accuracy, abs=0.02)


def slow_cross_entropy(logits, targets):
    time.sleep(0.1)
    return torch.nn.functional.cross_entropy(logits, targets)


def test_a_killed_worker_costs_nothing_but_time(spec, alone, tmp_path) -> None:
    killed = []

    def kill(event) -> None:
        if event["kind"] == "epoch" and event["row"].epoch == 3 and not killed:
            killed.append(max(processes_named("RayTrainWorker")))
            os.kill(killed[0], signal.SIGKILL)

    report = run_curriculum(
        replace(spec, out=str(tmp_path / "killed"), map=False),
        loss=slow_cross_entropy,
        listen=kill,
    )
    assert killed
    assert len(report.history) == 6
    np.testing.assert_allclose(losses(report), losses(alone), rtol=5e-3)


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


def explode(logits, targets, calls):
    calls.append(1)
    return logits.sum() * float("nan")


def test_a_diverging_loss_on_workers_is_one_line_and_not_retried(spec, tmp_path) -> None:
    with pytest.raises(TrainingError, match="nan in epoch 1") as caught:
        run_curriculum(
            replace(spec, out=str(tmp_path / "nan"), map=False), loss=partial(explode, calls=[])
        )
    assert "\n" not in str(caught.value)
    assert not Path(tmp_path / "nan" / "report.json").exists()


def test_more_workers_than_the_cluster_has_are_refused(spec, tmp_path) -> None:
    many = replace(spec.cluster, workers=999)
    with pytest.raises(SpecError, match="--workers 999 needs 999 CPUs"):
        run_curriculum(
            replace(
                spec, cluster=many, out=str(tmp_path / "many"),
                train=replace(spec.train, batch_size=4000),
            )
        )  # fmt: skip
