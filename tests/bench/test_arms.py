"""Every arm can be fitted to any scene, and is what its line says."""

from __future__ import annotations

import pytest

from st_ray import RunSpec, StRayError, TrainSpec
from st_ray.bench.arms import ARMS, Ground, budget, find_arms, predicted_seconds
from st_ray.bench.cells import BenchSpec, Place, facts_of, run_spec
from st_ray.learn.backbones import backbones
from st_ray.learn.curriculum import plan
from st_ray.learn.presets import USUAL_BATCH, USUAL_SHAPE


def ground(**changes) -> Ground:
    """Cost in proportion to the values in a patch."""
    usual = {
        "bands": 200,
        "patch_size": 11,
        "full_epochs": 60,
        "shape": USUAL_SHAPE,
        "pace": lambda k, side: k * side**2,
    }
    return Ground(**(usual | changes))


def stages(name: str, at: Ground):
    fitted = ARMS[name].fit(at)
    return plan(
        fitted.curriculum,
        bands=at.bands,
        patch_size=at.patch_size,
        full_epochs=fitted.epochs,
        beta=fitted.beta,
        batch_size=64,
    )


@pytest.mark.parametrize("name", ARMS)
@pytest.mark.parametrize("bands", [12, 45, 200])
def test_an_arm_can_be_planned_on_few_bands_and_many(name: str, bands: int) -> None:
    planned = stages(name, ground(bands=bands))
    assert all(stage.components <= bands for stage in planned)
    assert sum(stage.epochs for stage in planned) >= 1


def test_full_is_all_bands_and_the_full_patch_for_t0() -> None:
    fitted = ARMS["full"].fit(ground())
    assert fitted.curriculum.axis == "bands"
    (stage,) = stages("full", ground())
    assert (stage.components, stage.patch_size, stage.epochs) == (200, 11, 60)


def test_full_recipe_sees_what_full_sees_and_trains_as_default() -> None:
    assert stages("full_recipe", ground()) == stages("full", ground())
    bench = BenchSpec(base=RunSpec())
    place = Place(scene="indian_pines", split="random", backbone="ssftt", seed=0)
    runs = {
        name: run_spec(bench, place, name, ARMS[name].fit(ground()), 1e-3)
        for name in ("full", "full_recipe", "default")
    }
    assert runs["full_recipe"].train == runs["default"].train
    assert runs["full_recipe"].epochs == runs["full"].epochs
    assert runs["full_recipe"].train != runs["full"].train


@pytest.mark.parametrize("name", ["full_short", "white_short", "k60_short", "b_growth", "k_growth"])
def test_short_arms_have_the_epochs_of_default(name: str) -> None:
    assert sum(stage.epochs for stage in stages(name, ground())) == budget(ground())


@pytest.mark.parametrize("name", ["k30_time", "k60_time"])
def test_equal_time_arms_take_the_time_of_default(name: str) -> None:
    at = ground()
    (stage,) = stages(name, at)
    one = at.pace(stage.components, stage.patch_size)
    assert abs(stage.epochs * one - predicted_seconds(at)) <= one / 2


def test_default_has_an_epoch_a_stage_however_short_t0_is() -> None:
    assert [stage.epochs for stage in stages("default", ground(full_epochs=3))] == [1, 1]


def test_growing_arms_grow_one_axis_each() -> None:
    sizes = [stage.patch_size for stage in stages("b_growth", ground())]
    assert sizes == sorted(set(sizes))
    assert {stage.components for stage in stages("b_growth", ground())} == {60}
    depths = [stage.components for stage in stages("k_growth", ground())]
    assert depths == sorted(set(depths))
    assert {stage.patch_size for stage in stages("k_growth", ground())} == {11}


@pytest.mark.parametrize("asked", [None, 16])
def test_plain_arms_take_the_usual_batch_and_others_the_backbones(asked: int | None) -> None:
    bench = BenchSpec(base=RunSpec(train=TrainSpec(batch_size=asked)))
    place = Place(scene="indian_pines", split="random", backbone="spectralformer", seed=0)
    own = backbones()["spectralformer"].batch_size
    for name, expected in (("full", USUAL_BATCH), ("k30_time", own), ("default", own)):
        run = run_spec(bench, place, name, ARMS[name].fit(ground()), 1e-3)
        assert run.train.batch_size == (asked or expected)


@pytest.mark.parametrize("asked", [None, True, False])
def test_plain_arms_do_not_mirror_and_others_as_the_backbone(asked: bool | None) -> None:
    bench = BenchSpec(base=RunSpec(train=TrainSpec(flips=asked)))
    place = Place(scene="indian_pines", split="random", backbone="ssftt", seed=0)
    assert backbones()["ssftt"].flips
    for name, expected in (("full", False), ("k30_time", asked is not False)):
        run = run_spec(bench, place, name, ARMS[name].fit(ground()), 1e-3)
        assert run.train.flips is expected


def test_a_row_calls_files_by_their_short_names() -> None:
    place = Place(scene="a/cube.mat", split="b/mine.split.json", backbone="vit", seed=0)
    facts = facts_of(place, "full", 1e-3)
    assert (facts["scene"], facts["split"]) == ("cube", "mine")


def test_full_is_always_there_and_first() -> None:
    assert [arm.name for arm in find_arms(("default",))] == ["full", "default"]


def test_an_unknown_arm_lists_the_known() -> None:
    with pytest.raises(StRayError, match=r"unknown arm 'defualt'; did you mean 'default'\? known:"):
        find_arms(("defualt",))
