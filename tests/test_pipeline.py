"""Whole runs in this process, without Ray, on the small scene."""

from __future__ import annotations

import json
from dataclasses import astuple, replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from st_ray import BasisSpec, SceneSpec, SplitSpec, TileSpec
from st_ray.engine import LocalEngine
from st_ray.errors import SceneError, SpecError, SplitError, TrainingError
from st_ray.learn.bundle import load_bundle
from st_ray.learn.tilemap import PredictTiles
from st_ray.pipeline import run_curriculum
from st_ray.report import Report
from st_ray.spectral.parts import TEST, TRAIN, Split
from st_ray.spectral.scene import open_scene
from st_ray.spectral.splitfile import load_split
from st_ray.spectral.tiles import plan_tiles
from st_ray.steps import check_samples


def test_a_run_learns_and_writes_everything(finished) -> None:
    report, out = finished
    assert report.overall_accuracy > 0.95
    assert report.workers == 0
    assert report.versions["torch"] == torch.__version__
    assert Report.load(out / "report.json").overall_accuracy == report.overall_accuracy
    assert "small" in (out / "report.html").read_text()
    with Image.open(out / "map.png") as picture:
        assert picture.size[0] % 26 == 0
    assert list((out / "tensorboard").glob("events*"))
    for name in ("run.toml", "curriculum.toml", "split.json", "model/model.json"):
        assert (out / name).is_file(), name


def test_the_report_adds_up(finished) -> None:
    report, _ = finished
    assert [stage.components for stage in report.stages] == [1, 3, 12]
    assert [stage.patch_size for stage in report.stages] == [1, 3, 5]
    assert sum(stage.epochs for stage in report.stages) == report.budget.epochs == 6
    assert report.budget.cost == pytest.approx(sum(stage.cost for stage in report.stages))
    assert len(report.history) == 6
    totals = report.split.totals
    assert sum(map(sum, report.confusion)) == totals.test
    assert totals.train + totals.validation + totals.test == sum(
        entry.pixels for entry in report.scene.classes
    )
    assert [entry.id for entry in report.per_class] == [2, 5, 9]
    parts = report.seconds
    assert parts.total >= parts.statistics + parts.ingest + parts.train + parts.evaluate + parts.map
    assert all(value >= 0 for value in astuple(parts))


def test_the_bundle_alone_predicts_the_map(finished, scene_files) -> None:
    report, out = finished
    scene = open_scene(SceneSpec(name=str(scene_files.cube), labels=str(scene_files.labels)))
    maps = []
    for side in (7, 64):  # the map does not depend on the tiles
        model, basis, card = load_bundle(out)
        tiles = plan_tiles(scene.labels.shape, TileSpec(side=side))
        work = PredictTiles(
            cube=scene.cube, model=model, basis=basis, card=card, side=side, device="cpu"
        )
        whole = np.zeros(scene.labels.shape, int)
        for tile, part in zip(tiles, work.open()(tiles), strict=True):
            whole[tile.rows, tile.cols] = part["classes"]
        maps.append(whole)
    assert np.array_equal(*maps)
    assert set(np.unique(maps[0])) == {2, 5, 9}
    test = load_split(out / "split.json", scene.labels).test
    accuracy = (maps[0] == scene.labels)[test].mean()
    assert accuracy == pytest.approx(report.overall_accuracy)


def test_two_runs_of_one_spec_are_equal_and_tiles_do_not_matter(spec, finished, tmp_path) -> None:
    again = run_curriculum(
        replace(spec, out=str(tmp_path / "again"), tiles=TileSpec(side=11), map=False)
    )
    assert again.confusion == finished[0].confusion
    losses = [[row.loss for row in report.history] for report in (again, finished[0])]
    np.testing.assert_allclose(*losses, rtol=1e-4)


def test_several_scenes_are_trained_as_one(spec, scene_files, tmp_path) -> None:
    for name in ("one", "two"):
        np.save(tmp_path / f"{name}.npy", scene_files.values[:, : 26 if name == "one" else 20])
        np.save(tmp_path / f"{name}_gt.npy", scene_files.truth[:, : 26 if name == "one" else 20])
    scene = SceneSpec(name=str(tmp_path / "*.npy"), labels=str(tmp_path / "*_gt.npy"))
    with pytest.raises(SceneError, match="has no labels"):  # the labels match the pattern too
        run_curriculum(replace(spec, scene=scene, out=str(tmp_path / "wrong")))
    scene = SceneSpec(name=str(tmp_path / "cubes" / "*.npy"), labels=scene.labels)
    (tmp_path / "cubes").mkdir()
    for name in ("one", "two"):
        (tmp_path / f"{name}.npy").rename(tmp_path / "cubes" / f"{name}.npy")
    report = run_curriculum(replace(spec, scene=scene, out=str(tmp_path / "out")))
    assert report.overall_accuracy > 0.9
    labelled = (scene_files.truth > 0).sum() + (scene_files.truth[:, :20] > 0).sum()
    assert sum(entry.pixels for entry in report.scene.classes) == labelled


def test_a_saved_split_repeats_a_run(spec, finished, tmp_path) -> None:
    _, out = finished
    report = run_curriculum(
        replace(
            spec,
            out=str(tmp_path / "fixed"),
            split=SplitSpec(kind=str(out / "split.json")),
            map=False,
        )
    )
    assert report.confusion == finished[0].confusion


def test_a_users_own_parts_are_called(spec, tmp_path) -> None:
    class Mine(nn.Module):
        def __init__(self, components: int, classes: int) -> None:
            super().__init__()
            self.head = nn.Linear(components, classes)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x[:, :, x.shape[2] // 2, x.shape[3] // 2])

    report = run_curriculum(
        replace(spec, out=str(tmp_path / "mine"), backbone="mine", curriculum="pca"),
        backbone=lambda *, components, patch_size, classes: Mine(components, classes),
        loss=nn.CrossEntropyLoss(label_smoothing=0.1),
        optimizer=lambda parameters, rate: torch.optim.SGD(parameters, lr=100 * rate),
    )
    assert report.backbone == "mine"
    assert report.parameters == 12 * 3 + 3
    assert report.overall_accuracy > 0.8
    model, _, card = load_bundle(
        tmp_path / "mine" / "model",
        lambda *, components, patch_size, classes: Mine(components, classes),
    )
    assert card.classes == (2, 5, 9)
    assert model(torch.zeros(1, 12, 5, 5)).shape == (1, 3)


@pytest.mark.parametrize("pixels", ["train", "all"])
def test_the_basis_sees_the_pixels_it_is_told_to(spec, small_scene, pixels, tmp_path) -> None:
    run_curriculum(
        replace(
            spec,
            out=str(tmp_path / "run"),
            basis=BasisSpec(pixels=pixels),
            epochs=6,
            map=False,
        )
    )
    _, basis, _ = load_bundle(tmp_path / "run" / "model")
    train = load_split(tmp_path / "run" / "split.json", small_scene.labels).train
    cube = np.load(spec.scene.name)
    chosen = cube[train] if pixels == "train" else cube.reshape(-1, 12)
    np.testing.assert_allclose(basis.mean_B, chosen.mean(0), rtol=1e-9)
    assert basis.count == len(chosen)


def test_bad_bands_and_pixels_are_named_and_never_become_nan(spec, scene_files, tmp_path) -> None:
    cube = scene_files.values.astype(np.float32)
    cube[:, :, 3] = np.nan
    cube[:, :, 7] = 5.0
    cube[4, 4, 0] = np.nan  # a labelled pixel that lacks a good band
    cube[20:22] = np.nan  # a stripe without any value
    np.save(tmp_path / "holed.npy", cube)
    holed = replace(
        spec,
        scene=SceneSpec(name=str(tmp_path / "holed.npy"), labels=str(scene_files.labels)),
        curriculum="default",  # its number of components follows the bands that are left
        epochs=40,
        out=str(tmp_path / "run"),
    )
    report = run_curriculum(holed)
    assert {stage.components for stage in report.stages} == {10}
    assert [entry.band for entry in report.scene.bands_dropped] == [3, 7]
    assert report.scene.shape == (30, 26, 10)
    assert any("(4, 4)" in line for line in report.warnings)
    assert all(np.isfinite(row.loss) for row in report.history)
    assert report.overall_accuracy > 0.9
    with Image.open(tmp_path / "run" / "map.png") as image:
        picture = np.asarray(image.convert("RGB"))
    zoom = picture.shape[0] // 30
    stripe = picture[20 * zoom : 22 * zoom].reshape(-1, 3)
    assert len(np.unique(stripe, axis=0)) == 1
    strict = replace(holed, scene=replace(holed.scene, bad_bands="error"), out=str(tmp_path / "no"))
    with pytest.raises(SceneError, match=r"3 .*7 .*scene\.bad_bands=drop"):
        run_curriculum(strict)
    assert not (tmp_path / "no").exists()


def wrong_shape(*, components: int, patch_size: int, classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(components * patch_size**2, classes + 1))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"backbone": "resnet"}, SpecError, "did you mean 'resnet2d'"),
        ({"backbone": "tests.test_pipeline:nothing"}, SpecError, "nothing"),
        (
            {"backbone": f"{__name__}:wrong_shape", "backbone_options": {}},
            TrainingError,
            "expected",
        ),
        ({"patch_size": 31}, SpecError, "31"),
        ({"curriculum": "papr"}, SpecError, "did you mean 'paper'"),
        ({"epochs": 2}, SpecError, "too short for 3 stages"),
        ({"split": SplitSpec(kind="nowhere.mat")}, SplitError, "nowhere.mat"),
        ({"scene": SceneSpec(name="nowhere.mat")}, SceneError, "nowhere.mat"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(spec, change, error, message, tmp_path) -> None:
    out = tmp_path / "out"
    with pytest.raises(error, match=message) as caught:
        run_curriculum(replace(spec, **{"out": str(out), **change}))
    assert "\n" not in str(caught.value)
    assert not out.exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split": SplitSpec(kind="nowhere.mat")}, r"no such split file: nowhere\.mat"),
        (
            {"split": SplitSpec(kind=__file__, test_path="nowhere.mat")},
            r"no such split file: nowhere\.mat",
        ),
        ({"split": SplitSpec(kind="scenes")}, r"needs several scenes"),
        ({"patch_size": 99}, r"patch_size=99 exceeds"),
    ],
)
def test_what_needs_no_engine_is_refused_before_one_starts(
    spec, settings, message, tmp_path, monkeypatch
) -> None:
    def start(engine: LocalEngine) -> None:
        raise AssertionError(f"{engine} was started")

    monkeypatch.setattr(LocalEngine, "__enter__", start)
    with pytest.raises((SpecError, SplitError), match=message):
        run_curriculum(replace(spec, out=str(tmp_path / "out"), **settings))


def test_labels_of_one_class_are_refused(spec, scene_files, tmp_path) -> None:
    np.save(tmp_path / "one.npy", np.minimum(scene_files.truth, 1))
    scene = replace(spec.scene, labels=str(tmp_path / "one.npy"))
    with pytest.raises(SceneError, match="1 class; a classifier needs 2"):
        run_curriculum(replace(spec, scene=scene, out=str(tmp_path / "out")))


def test_every_worker_needs_training_pixels() -> None:
    parts = np.full((4, 4), TEST, dtype=np.uint8)
    parts[0, :3] = TRAIN
    split = Split(parts=parts)
    check_samples(split, 1)
    with pytest.raises(SplitError, match="3 training pixels are too few for 2 workers"):
        check_samples(split, 2)


def test_report_json_is_plain_json(finished) -> None:
    table = json.loads((finished[1] / "report.json").read_text())
    wanted = {
        "scene", "split", "backbone", "parameters", "curriculum", "seed", "workers",
        "overall_accuracy", "average_accuracy", "kappa", "per_class", "seconds", "stages",
        "versions",
    }  # fmt: skip
    assert wanted <= table.keys()
    assert table["split"]["leakage"] > 0.8
