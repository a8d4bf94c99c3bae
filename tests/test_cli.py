from __future__ import annotations

import json
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest
from typer.main import get_command

from st_ray.cli import app, train
from st_ray.events import Event, Progress


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
    assert "epoch 7/7" in out
    assert "validation OA" in out
    assert f"{100 * report['overall_accuracy']:.2f}" in out
    assert "\x1b" not in out
    assert [
        line for line in out.splitlines() if len(line) > 100 and "report.html" not in line
    ] == []


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
    assert_one_line(st_ray(*quick, *words), message)


def assert_one_line(done: tuple[int, str, str], message: str) -> None:
    code, _, err = done
    assert code == 2, err
    assert message in err
    assert err.startswith("st-ray: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "--epochs", "abc"], "'--epochs'"),
        (["train", "--epochs"], "'--epochs' requires an argument"),
        (["train", "--bogus"], "no such option: --bogus"),
        (["train", "a", "b"], "unexpected extra argument"),
        (["trian"], "no such command 'trian'"),
    ],
)
def test_wrong_usage_is_one_line_and_names_the_help(st_ray, words, message) -> None:
    done = st_ray(*words)
    assert_one_line(done, message)
    assert done[2].endswith(" --help)\n")


def test_without_arguments_there_is_help(st_ray) -> None:
    code, out, err = st_ray()
    assert code == 2
    assert "Usage: " in out
    assert all(name in out for name in ("train", "scenes", "--version"))
    assert err == ""


def test_unusable_bands_stop_a_run_that_is_told_to_stop(
    st_ray, quick, scene_files, tmp_path
) -> None:
    cube = scene_files.values.astype(np.float32)
    cube[:, :, 3] = np.nan
    np.save(tmp_path / "holed.npy", cube)
    words = [*quick, "--out", tmp_path / "out", "--set", "scene.bad_bands=error"]
    words[1] = tmp_path / "holed.npy"
    assert_one_line(st_ray(*words), "1 unusable band: 3 (")
    assert not (tmp_path / "out").exists()


def test_a_curriculum_file_with_more_components_than_bands_is_refused(
    st_ray, quick, tmp_path
) -> None:
    (tmp_path / "wide.toml").write_text("[[stage]]\ncomponents = 13\npatch_size = 5\n")
    done = st_ray(*quick, "--curriculum", tmp_path / "wide.toml", "--out", tmp_path / "out")
    assert_one_line(done, "13 components exceed the scene's 12 usable bands")
    assert not (tmp_path / "out").exists()


def test_a_factory_here_that_returns_the_wrong_shape_is_named(
    st_ray, quick, tmp_path, monkeypatch
) -> None:
    (tmp_path / "wrong_shape.py").write_text(
        "from torch import nn\n\n\n"
        "def build(*, components, patch_size, classes, width):\n"
        "    flat = components * patch_size**2\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(flat, classes + 1))\n"
    )
    monkeypatch.delitem(sys.modules, "wrong_shape", raising=False)
    done = st_ray(*quick, "--backbone", "wrong_shape:build", "--out", tmp_path / "out")
    assert_one_line(done, "wrong_shape:build")
    assert "3)" in done[2]
    assert not (tmp_path / "out").exists()


def test_an_output_directory_that_cannot_be_made_is_named(st_ray, quick, tmp_path) -> None:
    (tmp_path / "file").write_text("mine")
    done = st_ray(*quick, "--out", tmp_path / "file" / "out")
    assert_one_line(done, f"cannot write to {tmp_path / 'file' / 'out'}")
    assert "--out" in done[2]


def test_a_mask_splits_report_says_what_the_file_did(st_ray, quick, scene_files, tmp_path) -> None:
    rows = np.indices(scene_files.truth.shape)[0]
    np.save(tmp_path / "mask.npy", (scene_files.truth != 0) & (rows % 2 == 0))
    words = [*quick, "--split", tmp_path / "mask.npy", "--seed", 4, "--out", tmp_path / "out"]
    code, out, err = st_ray(*words)
    assert code == 0, err
    split = json.loads((tmp_path / "out" / "report.json").read_text())["split"]
    assert [split[key] for key in ("seed", "train_fraction", "validation_fraction")] == [None] * 3
    labelled = sum(split["totals"].values())
    shares = [f"{100 * split['totals'][part] / labelled:.1f} % {part}"
              for part in ("train", "validation", "test")]  # fmt: skip
    assert 45 < float(shares[0].split()[0]) < 50
    said = f"mask.npy: {', '.join(shares)}"
    assert said in (tmp_path / "out" / "report.html").read_text()
    assert "".join(said.split()) in "".join(out.split())
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def interrupt_at(monkeypatch, usual_ctrl_c):
    """Have Ctrl-C pressed when an event is told: ``interrupt_at("epoch")``."""

    def arrange(kind: str) -> None:
        def press(self: Progress, event: Event) -> None:
            if event["kind"] == kind:
                signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr(Progress, "__call__", press)

    return arrange


def test_an_interrupted_run_says_how_to_go_on(st_ray, quick, interrupt_at, tmp_path) -> None:
    interrupt_at("epoch")
    code, _, err = st_ray(*quick)
    folder = next((tmp_path / "runs").iterdir())
    assert code == 130
    assert err == f"st-ray: interrupted; go on with --resume --out runs/{folder.name}\n"


def test_a_run_interrupted_before_it_trains_leaves_nothing(
    st_ray, quick, interrupt_at, tmp_path
) -> None:
    interrupt_at("phase")
    code, _, err = st_ray(*quick, "--out", tmp_path / "out")
    assert (code, err) == (130, "st-ray: interrupted before training began\n")
    assert not (tmp_path / "out").exists()


def test_an_interrupted_list_ends_in_one_line(st_ray, monkeypatch, usual_ctrl_c) -> None:
    def press(*unused: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("st_ray.lists.table", press)
    code, out, err = st_ray("curricula")
    assert (code, out, err) == (130, "", "st-ray: interrupted\n")


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


TRAIN = {name: hint for name, hint in get_type_hints(train).items() if name != "return"}
PARAMS = {param.name: param for param in get_command(app).commands["train"].params}
UNITS = {
    "train_fraction": "0 to 1",
    "patch_size": "pixels",
    "epochs": "epochs",
    "beta": "(0, 1]",
    "lr": "rate",
    "batch_size": "samples",
    "seed": "0 or more",
    "workers": "processes",
}


@pytest.mark.parametrize("name", TRAIN)
def test_every_option_of_train_has_help_a_default_and_a_unit(name: str) -> None:
    param = PARAMS[name]
    assert param.help.endswith(".")
    assert getattr(param, "is_flag", False) or isinstance(param.show_default, str)
    assert param.show_default
    assert UNITS.get(name, "") in param.help
    assert (name in UNITS) == (TRAIN[name] in (int | None, float | None))


def test_importing_the_package_and_the_command_loads_neither_torch_nor_ray() -> None:
    code = "import sys, st_ray, st_ray.cli; print({'torch', 'ray'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "set()"


def test_help_waits_for_no_rich_and_fits_a_line_a_command() -> None:
    """Drawn by rich it takes half as long again, of half a second."""
    code = (
        "import sys; from st_ray.cli import app; app(['--help'], standalone_mode=False)\n"
        "print({'torch', 'ray', 'rich', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    *text, loaded = done.stdout.splitlines()
    commands = text[text.index("Commands:") + 1 :]
    assert len(commands) == len(get_command(app).commands)
    assert not [line for line in commands if line.endswith("...")]
    assert loaded == "set()"
