"""`st-ray bench training` as a user types it."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from st_ray.bench import meter
from st_ray.bench.arms import ARMS
from st_ray.bench.command import _arms, seeds_of
from st_ray.bench.ledger import Ledger


@pytest.fixture
def quick(scene_files) -> list[object]:
    """Options of a benchmark of seconds."""
    return [
        *("bench", "training", "--scene", scene_files.cube, "--seeds", 1, "--full-epochs", 10),
        *("--lr", 3e-3, "--labels", scene_files.labels),
        *("--set", "patch_size=5", "--set", "tiles.side=16", "--set", "train.batch_size=16"),
    ]  # fmt: skip


def test_a_benchmark_ends_in_its_results(st_ray, quick, tmp_path: Path) -> None:
    code, out, err = st_ray(*quick, "--out", tmp_path / "out")
    assert code == 0, err
    assert "default against full" in out
    table = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert list(table["backbones"]) == ["resnet2d"]
    assert (tmp_path / "out" / "bench.html").stat().st_size > 10_000
    assert "| resnet2d | default |" in (tmp_path / "out" / "bench.md").read_text()
    code, out, _ = st_ray(*quick, "--out", tmp_path / "out", "--max-hours", 0)
    assert code == 0
    assert "The time was over" not in out


def test_all_arms_hold_the_baseline_once_or_not_at_all() -> None:
    assert _arms(["all"], full=True) == tuple(ARMS)
    assert _arms(["full"], full=True) == ("full",)
    assert _arms(["all"], full=False) == tuple(ARMS)[1:]


def test_out_of_time_says_how_to_go_on(st_ray, quick, tmp_path: Path) -> None:
    code, out, _ = st_ray(*quick, "--out", tmp_path / "out", "--max-hours", 0)
    assert code == 0
    assert "repeat the command to go on" in out


def test_ctrl_c_keeps_what_was_measured(
    st_ray, quick, tmp_path: Path, monkeypatch, usual_ctrl_c
) -> None:
    original = meter._line

    def press(row: dict) -> str:
        signal.raise_signal(signal.SIGINT)
        return original(row)

    monkeypatch.setattr(meter, "_line", press)
    code, out, err = st_ray(*quick, "--out", tmp_path / "out")
    assert (code, err) == (130, "st-ray: interrupted\n")
    assert "repeat the command to go on" in out
    assert [row["arm"] for row in Ledger(tmp_path / "out").rows() if row["kind"] == "run"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--arm", "defualt"], "did you mean 'default'"),
        (["--backbone", "resnet"], "did you mean 'resnet2d'"),
        (["--scene", "indian_pine"], "did you mean 'indian_pines'"),
        (["--seeds", "many"], "--seeds 'many': expected a number of seeds"),
        (["--seeds", "0"], "no seeds given"),
        (["--seeds", "1,1"], "name one twice"),
        (["--jobs", 64], "would disturb each other"),
        (["--threads", 0], "--threads 0: expected at least 1"),
        (["--full-epochs", 0], "--full-epochs 0: expected at least 1"),
        (["--full-epochs", "vit=90"], "vit=…: no such --backbone is asked for"),
        (["--full-epochs", "resnet2d=--5"], "expected epochs, or a backbone and its epochs"),
        (["--full-epochs", "=5"], "expected epochs, or a backbone and its epochs"),
        (["--full-epochs", "5", "--full-epochs", "6"], "'6': another was given before"),
        (["--full-epochs", "resnet2d=many"], "expected epochs, or a backbone and its epochs"),
        (["--lr", -1], "train.learning_rate=-1.0"),
        (["--set", "patch_size=4"], "patch_size=4"),
        (["--set", "patchsize=5"], "did you mean 'patch_size'"),
        (["--split", "nowhere.mat"], "nowhere.mat"),
        (["--split", "a.mat", "--split", "b/a.split.json"], "splits ['a', 'a'] have one name"),
        (["--set", "seed=3"], "--set seed: a benchmark decides it itself; see --seeds"),
        (["--set", "split.train_fraction=0.85"], "leave nothing to test on"),
        (["--set", "train.loss=nowhere:loss"], "nowhere"),
        (["--arm", "b_growth", "--full-epochs", 1], "too short for 2 stages"),
        (["--arm", "full", "--no-full"], "--arm full --no-full: expected one of the two"),
        (
            ["--arm", "ssftt_script", "--no-full"],
            "another backbone or split than resnet2d on random",
        ),
        (["--backbone", "nowhere:build"], "nowhere"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(st_ray, words, message, tmp_path) -> None:
    code, _, err = st_ray("bench", "training", *words, "--out", tmp_path / "out")
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "seeds"), [("3", (0, 1, 2)), ("1", (0,)), ("10,12", (10, 12)), ("10,", (10,))]
)
def test_seeds_are_a_number_or_a_list(text: str, seeds: tuple[int, ...]) -> None:
    assert seeds_of(text) == seeds


def test_the_group_lists_its_benchmarks(st_ray) -> None:
    code, out, _ = st_ray("bench", "--help")
    assert code == 0
    assert "training" in out
    assert st_ray("bench") == (2, out, "")  # nothing was asked for
