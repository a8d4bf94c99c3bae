"""The benchmark of maps writes its figures and leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

SMALL = ("--bands", 12, "--components", 4, "--patch-size", 3, "--rounds", 1, "--threads", 1)


def test_the_command_writes_the_figures_of_a_map(st_ray, tmp_path: Path) -> None:
    out, folder = tmp_path / "inference.json", tmp_path / "scenes"
    words = ("--gigabytes", 0.00025, "--folder", folder, "--out", out)
    code, told, error = st_ray("bench", "inference", *SMALL, *words)
    assert code == 0, error
    table = json.loads(out.read_text())
    assert sorted(table["dense_speedup"]) == ["cnn3d", "hybridsn", "resnet2d", "ssftt", "ssrn"]
    assert all(ratio > 0 for ratio in table["dense_speedup"].values())
    assert -0.9 < table["machinery_overhead"] < 20
    assert -0.9 < table["machinery_overhead_dense"] < 20
    assert table["pixels"] == 102**2
    assert 0.9 * table["pixels"] < table["valid_pixels"] < table["pixels"]  # but for stripes
    rate = table["pixels"] / table["seconds"] / 1e6
    assert table["megapixels_per_second"] == pytest.approx(rate)
    assert 0 < table["forward_seconds"] < table["seconds"]
    assert -0.1 < table["peak_rss_gigabytes"] < 2
    assert 0.05 < table["base_rss_gigabytes"] < 2
    assert "dense_speedup: cnn3d " in told
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--gigabytes", "1e9"), "has room for"),
        (("--gigabytes", "-1"), "--gigabytes '-1.0': expected positive numbers"),
        (("--backbone", "nope"), "unknown backbone 'nope'; known: cnn1d"),
        (("--patch-size", "4"), "patch_size must be odd"),
        (("--components", "300"), "--components 300: expected 1 to 200"),
        (("--out", "file/x.json"), "cannot write"),
    ],
)
def test_wrong_words_are_one_line(st_ray, tmp_path: Path, words, message) -> None:
    (tmp_path / "file").write_text("")
    code, _, error = st_ray("bench", "inference", *words, "--folder", tmp_path / "scenes")
    assert (code, error.strip().count("\n")) == (2, 0), error
    assert message in error
