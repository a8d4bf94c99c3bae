"""Maps of whole scenes by a bundle alone, in this process."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from st_ray import predict_map
from st_ray.errors import OutputError, SceneError, SpecError
from st_ray.events import Progress
from st_ray.inference.run import predict_maps
from st_ray.learn.bundle import load_bundle
from st_ray.spectral.scene import SceneSpec
from st_ray.storage import exists, names, pull, push
from tests.inference.conftest import SIX, stop_after_six
from tests.rasters import write_envi


def test_a_map_equals_one_pass_over_all_patches_whatever_the_tiles(asked, in_memory) -> None:
    for side in (7, 64):
        (result,) = predict_maps(replace(asked, side=side, overwrite=True))
        class_map = np.load(result.place)
        assert class_map.dtype == np.uint8
        assert np.array_equal(class_map, in_memory)
    assert set(np.unique(class_map)) == {2, 5, 9}
    assert result.pixels == result.valid_pixels == result.predicted_pixels == 30 * 26
    assert 0 < result.forward_seconds < result.seconds
    assert result.megapixels_per_second == pytest.approx(30 * 26e-6 / result.seconds)


def test_shares_and_confidence_belong_to_the_map(asked) -> None:
    (result,) = predict_maps(replace(asked, probability=True, confidence=True))
    here = Path(result.place)
    assert result.files == ("map.npy", "map_confidence.npy", "map_probability.npy", "map.npy.json")
    assert {path.name for path in here.parent.iterdir()} == set(result.files)
    class_map, confidence, shares = (np.load(here.with_name(n)) for n in result.files[:3])
    assert shares.shape == (30, 26, 3)
    assert confidence.dtype == shares.dtype == np.float32
    np.testing.assert_allclose(shares.sum(2), 1, atol=1e-5)
    assert np.array_equal(np.array([2, 5, 9])[shares.argmax(2)], class_map)
    assert np.array_equal(shares.max(2), confidence)


def test_what_was_not_measured_has_no_class_and_all_else_has_one(
    asked, scene_files, in_memory, tmp_path
) -> None:
    values = scene_files.values.astype(np.float32)
    values[3, 4, 0] = np.nan
    values[20:23] = -1.0
    values[:, 21:] = np.inf
    np.save(tmp_path / "holed.npy", values)
    scene = SceneSpec(name=str(tmp_path / "holed.npy"), nodata=-1.0)
    (result,) = predict_maps(replace(asked, scene=scene, confidence=True))
    class_map = np.load(result.place)
    valid = (values != -1.0).all(2) & np.isfinite(values).all(2)
    assert np.array_equal(class_map > 0, valid)
    assert result.valid_pixels == valid.sum()
    assert np.array_equal(np.isfinite(np.load(tmp_path / "map_confidence.npy")), valid)
    far = np.ones_like(valid)  # from every hole by more than a patch reaches
    far[1:6, 2:7], far[18:25], far[:, 19:] = False, False, False
    assert np.array_equal(class_map[far], in_memory[far])


def test_a_scene_of_nothing_gives_an_empty_map_that_says_so(asked, scene_files, tmp_path) -> None:
    np.save(tmp_path / "empty.npy", np.full(scene_files.values.shape, 7, np.uint16))
    scene = SceneSpec(name=str(tmp_path / "empty.npy"), nodata=7)
    (result,) = predict_maps(replace(asked, scene=scene))
    assert not np.load(result.place).any()
    assert result.valid_pixels == 0
    assert "the map is empty; see scene.nodata" in result.notes[-1]


def test_one_pixel_is_a_scene(asked, scene_files, tmp_path) -> None:
    np.save(tmp_path / "small.npy", scene_files.values[5:7, 5:7])
    (result,) = predict_maps(replace(asked, scene=SceneSpec(name=str(tmp_path / "small.npy"))))
    assert np.load(result.place).shape == (2, 2)
    assert result.valid_pixels == 4


@pytest.mark.parametrize("torn", [False, True])
def test_a_map_that_was_cut_off_goes_on_to_an_equal_file(
    asked, torn, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("st_ray.inference.draft._SETTLE_S", 0.0)
    asked = replace(asked, probability=True)
    with pytest.raises(KeyboardInterrupt):
        predict_maps(asked, listen=stop_after_six)
    assert [path.name for path in tmp_path.iterdir()] == ["map.npy.part"]
    journal = tmp_path / "map.npy.part" / "journal"
    assert len(journal.read_text().split()) == 1 + 6
    if torn:  # in the middle of a line, as by a crash of the machine
        journal.write_bytes(journal.read_bytes() + b"11 12 1")
    told = []
    (result,) = predict_maps(asked, listen=told.append)
    assert next(event for event in told if event["kind"] == "mapped")["before"] == SIX
    assert result.predicted_pixels == 30 * 26 - SIX
    assert result.pixels == result.valid_pixels == 30 * 26
    predict_maps(replace(asked, out=str(tmp_path / "whole.npy")))
    for name in ("{}.npy", "{}_probability.npy"):
        one, other = (tmp_path / name.format(stem) for stem in ("map", "whole"))
        assert one.read_bytes() == other.read_bytes()
    assert not (tmp_path / "map.npy.part").exists()


def test_the_same_command_again_finds_the_map_and_another_is_refused(asked, scene_files) -> None:
    (result,) = predict_maps(asked)
    stamp = Path(result.place).stat().st_mtime_ns
    assert predict_maps(asked) == (result,)
    assert Path(result.place).stat().st_mtime_ns == stamp
    other = replace(asked, probability=True)
    with pytest.raises(OutputError, match=r"map\.npy is there already.*--overwrite"):
        predict_maps(other)
    (again,) = predict_maps(replace(other, overwrite=True))
    assert "map_probability.npy" in again.files
    Path(f"{result.place}.json").unlink()  # a file of the user's own
    with pytest.raises(OutputError, match="is there already"):
        predict_maps(other)


def test_the_unfinished_map_of_another_scene_is_not_gone_on_with(
    asked, scene_files, tmp_path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        predict_maps(asked, listen=stop_after_six)
    np.save(tmp_path / "other.npy", scene_files.values[::-1])
    other = replace(asked, scene=SceneSpec(name=str(tmp_path / "other.npy")))
    with pytest.raises(OutputError, match="unfinished map of another .*--overwrite"):
        predict_maps(other)
    (result,) = predict_maps(replace(other, overwrite=True))
    assert result.predicted_pixels == 30 * 26


def test_overwriting_leaves_alone_what_another_process_is_writing(asked, tmp_path: Path) -> None:
    told = r"another process is writing to .*map\.npy\.part"

    def meanwhile(event: dict) -> None:
        if event["kind"] == "mapped" and event["pixels"] == SIX:
            with pytest.raises(OutputError, match=told):
                predict_maps(replace(asked, overwrite=True))

    (result,) = predict_maps(asked, listen=meanwhile)
    predict_maps(replace(asked, out=str(tmp_path / "whole.npy")))
    assert Path(result.place).read_bytes() == (tmp_path / "whole.npy").read_bytes()


def test_a_scene_whose_data_were_written_anew_is_another_though_its_header_is_not(
    asked, scene_files, tmp_path: Path
) -> None:
    header = write_envi(tmp_path / "scene.hdr", scene_files.values)
    taken = replace(asked, scene=SceneSpec(name=str(header)))
    predict_maps(taken)
    data = next(path for path in tmp_path.glob("scene.*") if path.suffix != ".hdr")
    os.utime(data, ns=(0, 0))
    with pytest.raises(OutputError, match=r"map\.npy is there already"):
        predict_maps(taken)


def test_the_model_is_loaded_once_and_tiles_are_read_in_windows(asked, monkeypatch) -> None:
    loaded, read = [], []
    monkeypatch.setattr(
        "st_ray.inference.task.load_bundle",
        lambda *given: loaded.append(given) or load_bundle(*given),
    )
    from st_ray.spectral.cube import FileCube

    whole = FileCube.read
    monkeypatch.setattr(
        FileCube,
        "read",
        lambda cube, rows, cols: read.append((rows, cols)) or whole(cube, rows, cols),
    )
    predict_maps(asked)
    assert len(loaded) == 1
    assert len(read) == 20
    assert max(rows.stop - rows.start for rows, _ in read) <= 7 + 2 * 2


def test_every_scene_of_a_pattern_gets_its_own_map(asked, scene_files, in_memory, tmp_path) -> None:
    (tmp_path / "scenes").mkdir()
    np.save(tmp_path / "scenes" / "a.npy", scene_files.values)
    np.save(tmp_path / "scenes" / "b.npy", scene_files.values[:20, :9])
    many = replace(
        asked,
        scene=SceneSpec(name=str(tmp_path / "scenes" / "*.npy")),
        out=str(tmp_path / "*_map.npy"),
    )
    results = predict_maps(many)
    assert [Path(result.place).name for result in results] == ["a_map.npy", "b_map.npy"]
    assert np.array_equal(np.load(tmp_path / "a_map.npy"), in_memory)
    assert np.load(tmp_path / "b_map.npy").shape == (20, 9)
    with pytest.raises(OutputError, match=r"expected a \* in both"):
        predict_maps(replace(many, out=str(tmp_path / "one.npy")))


def test_maps_of_a_pattern_are_named_after_its_scenes(
    asked, scene_files, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "day1").mkdir()
    np.save(tmp_path / "day1" / "flight_7.npy", scene_files.values[:9, :9])
    for pattern, expected in (("day1/flight_*.npy", "flight_7"), ("day*/flight_7.npy", "1")):
        (result,) = predict_maps(replace(asked, scene=SceneSpec(name=pattern), out=None))
        assert Path(result.place).stem == f"{expected}_map"


def test_a_map_goes_to_a_store_and_one_cut_off_is_gone_on_with(
    asked, s3, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("ST_RAY_CACHE", str(tmp_path / "cache"))
    there = replace(asked, out=s3("maps/map.npy"), model=s3("maps/run"))
    push(Path(asked.model) / "model", s3("maps/run/model"))
    with pytest.raises(KeyboardInterrupt):
        predict_maps(there, listen=stop_after_six)
    assert not exists(s3("maps/map.npy"))
    (result,) = predict_maps(there)
    assert result.predicted_pixels == 30 * 26 - SIX
    assert names(s3("maps")) == ("map.npy", "map.npy.json", "run")
    pull(s3("maps/map.npy"), tmp_path / "copy.npy")
    predict_maps(asked)
    assert (tmp_path / "copy.npy").read_bytes() == (tmp_path / "map.npy").read_bytes()
    assert predict_maps(there) == (result,)
    assert not list((tmp_path / "cache" / "maps").iterdir())


def test_from_python_one_call_is_enough(asked, in_memory, tmp_path) -> None:
    result = predict_map(asked.model, asked.scene.name, tmp_path / "map.npy")
    assert np.array_equal(np.load(result.place), in_memory)
    with pytest.raises(SpecError, match="expected one scene"):
        predict_map(asked.model, "*.npy", tmp_path / "*.npy")


def test_the_command_tells_rate_and_place(st_ray, asked, in_memory, tmp_path) -> None:
    words = ("predict", asked.model, asked.scene.name, "--workers", 0, "--device", "cpu")
    code, out, err = st_ray(*words, "--out", "map.png", "--set", "tiles.side=16")
    assert code == 0, err
    assert "100.0%" in out
    assert "780 pixels, 780 of them valid" in out
    assert f"Map: {tmp_path / 'map.png'}" in out
    code, _, err = st_ray(*words, "--out", "map.npy", "--set", "split.guard=3")
    assert (code, err.count("\n")) == (2, 1)
    assert "--set split.guard: expected a setting of scene, tiles or cluster" in err


def test_progress_is_told_every_few_seconds_in_megapixels() -> None:
    file = io.StringIO()
    progress = Progress(Console(file=file, width=100))
    facts = {"kind": "mapped", "before": 1_000_000, "total": 4_000_000}
    for pixels, seconds in ((0, 0.0), (500_000, 1.0), (1_000_000, 2.5), (3_000_000, 6.0)):
        progress({**facts, "pixels": pixels, "seconds": seconds})
    lines = file.getvalue().splitlines()
    assert lines[0].strip() == "going on after 25.0%"
    assert len(lines) == 3
    assert "50.0%  2 of 4 megapixels  0.4 megapixels/s  about 5 s left" in lines[1]
    assert "100.0%" in lines[2]


def test_brackets_in_a_path_are_printed_as_they_are(st_ray, finished, scene_files) -> None:
    words = ("--out", "[/old].npy", "--workers", 0, "--device", "cpu")
    code, out, err = st_ray("predict", finished[1], scene_files.cube, *words)
    assert code == 0, err
    assert "[/old].npy" in out


def test_a_manifest_is_no_scene_to_map(asked) -> None:
    listed = replace(asked, scene=SceneSpec(name="scenes.csv"), overwrite=True)
    with pytest.raises(SceneError, match=r"lists scenes to train on; .* --out 'maps/\*\.tif'"):
        predict_maps(listed)
