"""The cells kept in the repository are those that today's code would measure."""

from __future__ import annotations

import shutil
from pathlib import Path

CELLS = Path(__file__).parents[2] / "benchmarks" / "results" / "indian_pines" / "cells.jsonl"


def test_a_new_setting_does_not_make_measured_cells_unknown(st_ray, tmp_path: Path) -> None:
    shutil.copy(CELLS, tmp_path)
    words = ("--max-hours", 0, "--backbone", "cnn1d", "--arm", "default", "--seeds", 1)
    code, out, err = st_ray("bench", "training", *words, "--out", tmp_path)
    assert code == 0, err
    assert "cnn1d: T0 = 90 epochs" in out
    assert "times sooner" in out
    assert "The time was over" not in out
