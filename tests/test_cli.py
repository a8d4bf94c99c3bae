from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from st_ray.cli import main


@pytest.fixture
def st_ray(monkeypatch, capsys):
    """Run a command line; gives (exit code, standard output, standard error)."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["st-ray", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def quick(scene_files) -> list[object]:
    """Options of a run of a second."""
    return [
        *("train", scene_files.cube, "--labels", scene_files.labels, "--workers", 0),
        *("--patch-size", 5, "--epochs", 20, "--device", "cpu", "--set", "cluster.threads=1"),
        *("--set", "backbone_options.width=8", "--batch-size", 16),
    ]  # fmt: skip


def test_train_prints_progress_and_scores(st_ray, quick, tmp_path: Path) -> None:
    code, out, err = st_ray(*quick, "--out", tmp_path / "out")
    assert code == 0, err
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert "epoch 6/6" in out
    assert "validation OA" in out
    assert f"{100 * report['overall_accuracy']:.2f}" in out
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 100 or "report.html" in out


def test_the_reports_command_repeats_the_run(st_ray, quick, tmp_path: Path) -> None:
    st_ray(*quick, "--out", tmp_path / "out")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    _, *words = report["command"].split()
    code, _, err = st_ray(*words)
    assert code == 0, err
    again = json.loads((Path(words[-1]) / "report.json").read_text())
    assert again["confusion"] == report["confusion"]


def test_a_resumed_run_needs_no_other_option(st_ray, quick, tmp_path: Path) -> None:
    st_ray(*quick, "--out", tmp_path / "out")
    code, out, _ = st_ray("train", "--resume", "--out", tmp_path / "out")
    assert code == 0
    assert "OA" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--beta", 1.5], "beta=1.5"),
        (["--patch-size", 4], "patch_size=4"),
        (["--patch-size", 31], "31"),
        (["--backbone", "resnet"], "did you mean 'resnet2d'"),
        (["--curriculum", "papr"], "did you mean 'paper'"),
        (["--labels", "nowhere.npy"], "nowhere.npy"),
        (["--set", "scene.cube_key=cubes"], "cube"),
        (["--set", "split.gard=3"], "did you mean 'split.guard'"),
        (["--split", "nowhere.mat"], "nowhere.mat"),
        (["--train-fraction", 1.2], "fraction"),
        (["--config", "nowhere.toml"], "nowhere.toml"),
        (["--resume"], "--resume needs --out"),
    ],
)
def test_bad_input_is_one_line_and_a_failing_exit(st_ray, quick, words, message) -> None:
    code, _, err = st_ray(*quick, *words)
    assert code == 2
    assert message in err
    assert err.startswith("st-ray: ")
    assert err.count("\n") == 1


def test_an_unknown_scene_lists_the_known(st_ray) -> None:
    code, _, err = st_ray("train", "indian_pine")
    assert code == 2
    assert "did you mean 'indian_pines'" in err
    assert "salinas_a" in err


def test_a_class_with_one_pixel_is_named_with_the_remedy(
    st_ray, quick, scene_files, tmp_path
) -> None:
    labels = scene_files.truth.copy()
    labels[0, 13] = 4
    np.save(tmp_path / "gt.npy", labels)
    words = [*quick, "--out", tmp_path / "out"]
    code, _, err = st_ray(*words, "--labels", tmp_path / "gt.npy")
    assert code == 2
    assert "4" in err
    assert "scene.ignore_classes=[4]" in err
    assert not (tmp_path / "out").exists()
    code, _, err = st_ray(
        *words, "--labels", tmp_path / "gt.npy", "--set", "scene.ignore_classes=[4]"
    )
    assert code == 0, err


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("scenes", ["indian_pines", "salinas_a"]),
        ("backbones", ["ssftt", "spectralformer", "cnn3d"]),
        ("curricula", ["default", "paper", "60@11x11"]),
        ("--version", [version("st_ray")]),
    ],
)
def test_lists_show_what_there_is(st_ray, command, shown) -> None:
    code, out, _ = st_ray(command)
    assert code == 0
    assert all(name in out for name in shown)


def test_every_option_of_train_has_help_and_shows_its_default(st_ray) -> None:
    code, out, _ = st_ray("train", "--help")
    assert code == 0
    for option in ("--labels", "--backbone", "--curriculum", "--split", "--train-fraction",
                   "--epochs", "--beta", "--workers", "--seed", "--lr", "--batch-size",
                   "--device", "--out", "--resume", "--config", "--set"):  # fmt: skip
        assert option in out


def test_importing_the_package_and_the_command_loads_neither_torch_nor_ray() -> None:
    code = "import sys, st_ray, st_ray.cli; print({'torch', 'ray'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "set()"
