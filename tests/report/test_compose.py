"""The command that repeats a run."""

from __future__ import annotations

import shlex
from pathlib import Path

from st_ray.compose import repeat_command
from st_ray.config import RunSpec, save_spec

FOLDER = Path("/data/my runs/first")


def test_the_command_names_the_folders_own_curriculum_file() -> None:
    assert shlex.split(repeat_command(RunSpec(), FOLDER)) == [
        *("st-ray", "train", "--config", "/data/my runs/first/run.toml"),
        *("--out", "/data/my runs/first-again"),
    ]  # fmt: skip
    words = shlex.split(repeat_command(RunSpec(curriculum="/elsewhere/mine.toml"), FOLDER))
    assert words[-2:] == ["--curriculum", "/data/my runs/first/curriculum.toml"]


def test_a_run_with_brought_parts_is_repeated_in_python(tmp_path, monkeypatch) -> None:
    folder = tmp_path / "it's mine"
    folder.mkdir()
    spec = RunSpec(curriculum="/elsewhere/mine.toml", seed=3, out=str(folder))
    save_spec(spec, folder / "run.toml")
    command = repeat_command(spec, folder, ("backbone", "loss"))
    assert "\n" not in command
    assert command.endswith("# with your own backbone and loss")
    called = {}
    monkeypatch.setattr(
        "st_ray.pipeline.run_curriculum", lambda spec, **parts: called.update(parts, spec=spec)
    )
    exec(command, {})
    assert called.keys() == {"spec", "backbone", "loss"}
    assert called["spec"].seed == 3
    assert called["spec"].out == f"{folder}-again"
    assert called["spec"].curriculum == str(folder / "curriculum.toml")
