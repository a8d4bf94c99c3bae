"""Patches that were kept are trained as those that were not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from st_ray import TileSpec, run_curriculum
from st_ray.errors import OutputError, SceneError, SpecError
from st_ray.keep import keep_patches
from st_ray.spectral.export import component_groups, read_card, read_patches


@pytest.fixture(scope="module")
def kept(spec, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("kept") / "patches"
    card = keep_patches(spec, str(folder))
    assert card.groups == ((0, 1), (1, 3), (3, 12))
    return folder


def test_training_on_kept_patches_is_training_on_tiles(spec, finished, kept, tmp_path) -> None:
    report = run_curriculum(replace(spec, patches=str(kept), out=str(tmp_path / "run")))
    assert [row.loss for row in report.history] == [row.loss for row in finished[0].history]
    assert report.confusion == finished[0].confusion


def test_files_hold_every_labelled_pixel_once(kept, scene_files) -> None:
    table = pa.concat_tables([pq.read_table(file) for file in kept.glob("*.parquet")])
    assert len(table) == (scene_files.truth > 0).sum()
    places = set(zip(table["row"].to_pylist(), table["col"].to_pylist(), strict=True))
    assert places == set(zip(*map(np.ndarray.tolist, np.nonzero(scene_files.truth)), strict=True))
    ids = np.asarray(scene_files.classes)[table["target"].to_numpy()]
    assert np.array_equal(ids, scene_files.truth[table["row"], table["col"]])
    kind = table.schema.field("components_003_012").type
    assert (kind.shape, str(kind.value_type)) == ([5, 5, 9], "float")


def test_an_early_stage_reads_fewer_columns(kept, monkeypatch) -> None:
    asked = []
    original = pq.read_table
    monkeypatch.setattr(
        pq, "read_table", lambda *a, **k: asked.append(k["columns"]) or original(*a, **k)
    )
    card = read_card(str(kept))
    small, _ = read_patches(str(kept), card, components=2, patch_size=3)
    assert asked[-1] == ["components_000_001", "components_001_003"]
    assert not any("components_003_012" in columns for columns in asked)
    whole, _ = read_patches(str(kept), card, components=12, patch_size=5)
    inner = whole.values_REK.reshape(-1, 5, 5, 12)[:, 1:4, 1:4, :2]
    assert np.array_equal(small.values_REK.reshape(-1, 3, 3, 2), inner)


def test_columns_end_where_stages_do() -> None:
    assert component_groups([10, 60, 60, 30]) == ((0, 10), (10, 30), (30, 60))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "another split"),
        ({"patch_size": 9}, "holds 12 components of 5x5 pixels, the curriculum asks for 12 of 9x9"),
    ],
)
def test_patches_of_other_settings_are_refused(spec, kept, tmp_path, change, message) -> None:
    with pytest.raises(SceneError, match=message):
        run_curriculum(replace(spec, patches=str(kept), out=str(tmp_path / "run"), **change))


def test_an_unfinished_folder_is_no_folder_of_patches(spec, tmp_path) -> None:
    with pytest.raises(SceneError, match="holds no patches"):
        run_curriculum(replace(spec, patches=str(tmp_path), out=str(tmp_path / "run")))
    with pytest.raises(OutputError, match="cannot open"):
        keep_patches(spec, "nowhere://x")
    with pytest.raises(SceneError, match="holds no patches"):
        read_card(str(tmp_path / "typo"))
    assert not (tmp_path / "typo").exists()


def test_what_was_kept_before_is_replaced(spec, tmp_path) -> None:
    folder = tmp_path / "kept"
    for side in (7, 16):
        card = keep_patches(replace(spec, tiles=TileSpec(side=side)), str(folder))
    assert len(list(folder.glob("*.parquet"))) == 1  # a block of the larger tiles
    samples = read_patches(str(folder), card, components=3, patch_size=5)[1]
    assert sum(map(len, samples.values())) == card.rows
    next(folder.glob("*.parquet")).unlink()
    with pytest.raises(SceneError, match="cannot read|holds 0 patches"):
        read_patches(str(folder), card, components=3, patch_size=5)


def test_files_of_ones_own_are_neither_removed_nor_read(spec, tmp_path) -> None:
    mine = tmp_path / "kept" / "mine.parquet"
    mine.parent.mkdir()
    pq.write_table(pa.table({"row": [1]}), mine)
    card = keep_patches(spec, str(tmp_path / "kept"))
    assert mine.exists()
    samples = read_patches(str(tmp_path / "kept"), card, components=3, patch_size=5)[1]
    assert sum(map(len, samples.values())) == card.rows


def test_a_tiles_patches_are_written_some_at_a_time(spec, kept, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("st_ray.spectral.export._BYTES", 7 * 4 * 12 * 5 * 5)
    again = tmp_path / "kept"
    keep_patches(spec, str(again))
    few, many = (
        [pq.ParquetFile(file) for file in sorted(folder.glob("*.parquet"))]
        for folder in (again, kept)
    )
    assert sum(f.num_row_groups for f in few) > sum(f.num_row_groups for f in many)
    assert [f.read() for f in few] == [f.read() for f in many]
    card = read_card(str(again))
    stacks = [
        read_patches(str(folder), card, components=5, patch_size=3)[0].values_REK
        for folder in (again, kept)
    ]
    assert np.array_equal(*stacks)


def test_patches_larger_than_memory_are_refused_in_one_line(
    spec, kept, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("st_ray.feed.free_memory", lambda: 1000.0)
    with pytest.raises(SpecError, match=r"12 components of 5x5, where 1e-06 GB are free") as caught:
        run_curriculum(replace(spec, patches=str(kept), out=str(tmp_path / "run")))
    assert "\n" not in str(caught.value)


def test_groups_of_another_size_are_other_patches(spec, tmp_path) -> None:
    folder, file = str(tmp_path / "kept"), tmp_path / "groups.toml"
    text = 'name = "g"\nbeta = 1.0\naxis = "groups"\n[[stage]]\ncomponents = {}\npatch_size = 5\n'
    file.write_text(text.format(6))
    keep_patches(replace(spec, curriculum=str(file)), folder)
    file.write_text(text.format(3))
    fewer = replace(spec, curriculum=str(file), patches=folder, out=str(tmp_path / "run"))
    with pytest.raises(SceneError, match="another rank"):
        run_curriculum(fewer)


def test_the_command_keeps_and_says_how_to_go_on(st_ray, scene_files, tmp_path) -> None:
    scene = (scene_files.cube, "--labels", scene_files.labels, "--workers", 0)
    small = ("--set", "patch_size=5", "--set", "train.batch_size=16")
    code, out, error = st_ray("prepare", *scene, *small, "--out", tmp_path / "kept")
    assert code == 0, error
    assert "--set patches=" in out.replace("\n", " ")
    assert json.loads((tmp_path / "kept" / "patches.json").read_text())["patch_size"] == 5
    run = ("--epochs", 20, "--set", f"patches={tmp_path / 'kept'}", "--out", tmp_path / "run")
    code, _, error = st_ray("train", *scene, *small, *run)
    assert code == 0, error
