from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from st_ray.errors import SpecError
from st_ray.learn.curriculum import (
    Curriculum,
    Stage,
    load_curriculum,
    plan,
    save_curriculum,
    share_out,
)
from st_ray.learn.presets import PRESETS, find_curriculum, odd

SIZES = {"bands": 200, "patch_size": 11, "full_epochs": 100, "beta": None, "batch_size": 64}


@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=6), st.integers(0, 200))
def test_epochs_add_up_to_the_budget_and_no_stage_goes_without(weights, more: int) -> None:
    total = len(weights) + more
    parts = share_out(total, weights)
    assert sum(parts) == total
    assert min(parts) >= 1


def test_epochs_follow_the_shares() -> None:
    assert share_out(30, [0.4, 0.3, 0.3]) == [12, 9, 9]
    assert share_out(10, [1, 1, 1]) == [4, 3, 3]
    assert share_out(100, [1000, 1, 1]) == [98, 1, 1]


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize(("bands", "patch_size"), [(200, 11), (3, 1), (1, 3), (60, 25)])
def test_every_preset_fits_every_scene(name: str, bands: int, patch_size: int) -> None:
    curriculum = find_curriculum(name, bands, patch_size)
    sizes = {**SIZES, "bands": bands, "patch_size": patch_size}
    stages = plan(curriculum, **sizes)
    assert stages[-1].patch_size == patch_size
    assert all(1 <= stage.components <= bands for stage in stages)
    assert sum(stage.epochs for stage in stages) == round(curriculum.beta * 100)


def test_full_costs_its_epochs_and_paper_ends_at_all_bands() -> None:
    assert sum(stage.cost for stage in plan(find_curriculum("full", 200, 11), **SIZES)) == 100
    paper = plan(find_curriculum("paper", 200, 11), **SIZES)
    assert paper[-1].components == 200
    assert [s.components for s in paper] == sorted({s.components for s in paper})
    assert [s.patch_size for s in paper] == sorted({s.patch_size for s in paper})


def test_cost_counts_patch_area_and_components() -> None:
    stage = Stage(components=50, patch_size=5)
    (planned,) = plan(Curriculum(name="x", stages=(stage,)), **{**SIZES, "beta": 0.1})
    assert planned.epochs == 10
    assert planned.cost == pytest.approx(10 * (5 / 11) ** 2 * 50 / 200)


def test_cost_is_measured_against_the_largest_patch() -> None:
    stages = (Stage(components=None, patch_size=9), Stage(components=None, patch_size=15))
    small, large = plan(Curriculum(name="x", stages=stages), **{**SIZES, "beta": 0.1})
    assert large.cost == large.epochs
    assert small.cost == pytest.approx(small.epochs * (9 / 15) ** 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"beta": 1.5}, r"beta=1.5: expected a share .* in \(0, 1\]"),
        ({"beta": 0.0}, r"beta=0"),
        ({"full_epochs": 0}, r"epochs=0"),
        ({"full_epochs": 4}, r"budget of 1 epochs .* too short for 2 stages; raise --epochs"),
        ({"bands": 40}, r"60 components exceed the scene's 40 usable bands"),
    ],
)
def test_an_impossible_plan_is_refused_in_one_line(change: dict, message: str) -> None:
    curriculum = PRESETS["default"](200, 11)
    with pytest.raises(SpecError, match=message) as caught:
        plan(curriculum, **{**SIZES, **change})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"components": 0, "patch_size": 5},
        {"components": 3, "patch_size": 4},
        {"components": 3, "patch_size": -1},
        {"components": 3, "patch_size": 5, "share": 0.0},
        {"components": 3, "patch_size": 5, "share": float("nan")},
        {"components": 3, "patch_size": 5, "batch_size": 1},
    ],
)
def test_a_wrong_stage_is_refused(wrong: dict) -> None:
    with pytest.raises(SpecError, match="expected"):
        Stage(**wrong)


@pytest.mark.parametrize(
    ("sizes", "depths"), [((7, 5), (3, 3)), ((5, 5), (4, 3)), ((5, 5), (None, 3))]
)
def test_a_curriculum_never_shrinks(sizes, depths) -> None:
    stages = [Stage(components=k, patch_size=s) for s, k in zip(sizes, depths, strict=True)]
    with pytest.raises(SpecError, match="may only grow"):
        Curriculum(name="x", stages=tuple(stages))


def test_raw_bands_are_seen_all() -> None:
    with pytest.raises(SpecError, match="sees all bands"):
        Curriculum(name="x", stages=(Stage(components=3, patch_size=5),), axis="bands")


@pytest.mark.parametrize("name", PRESETS)
def test_a_saved_curriculum_is_read_back_equal(name: str, tmp_path: Path) -> None:
    curriculum = PRESETS[name](200, 11)
    save_curriculum(curriculum, tmp_path / "x.toml")
    assert load_curriculum(tmp_path / "x.toml") == curriculum


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("beta = ", "cannot read"),
        ("colour = 3\n[[stage]]\npatch_size = 3", "colour"),
        ("[[stage]]\npatch = 3", "patch"),
        ("name = 'empty'", "has no stage"),
        ("stage = 3", "not a curriculum"),
        ("[[stage]]\npatch_size = 'big'", "not a curriculum"),
    ],
)
def test_a_wrong_curriculum_file_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(SpecError, match=message):
        load_curriculum(tmp_path / "x.toml")


def test_an_unknown_curriculum_lists_the_known_ones() -> None:
    with pytest.raises(SpecError, match="did you mean 'paper'.*default, full, paper, pca"):
        find_curriculum("papr", 200, 11)
    with pytest.raises(SpecError, match="cannot read curriculum missing.toml"):
        find_curriculum("missing.toml", 200, 11)


def test_odd_sizes_are_the_nearest() -> None:
    assert [odd(size) for size in (0.4, 1, 2, 4.95, 7.7, 10, 11)] == [1, 1, 3, 5, 7, 11, 11]


def test_groups_keep_their_number() -> None:
    coarse, fine = Stage(components=10, patch_size=3), Stage(components=20, patch_size=5)
    with pytest.raises(SpecError, match="same number of groups in every stage"):
        Curriculum(name="mine", stages=(coarse, fine), axis="groups")
    same = replace(fine, components=10)
    assert Curriculum(name="mine", stages=(coarse, same), axis="groups").axis == "groups"


def test_an_unknown_axis_lists_the_known() -> None:
    with pytest.raises(SpecError, match="bands, components, groups"):
        Curriculum(name="mine", stages=(Stage(components=1, patch_size=1),), axis="pixels")
