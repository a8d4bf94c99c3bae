"""Several scenes as one: each keeps its pixels, its borders and its labels."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from st_ray.errors import SceneError, SpecError
from st_ray.spectral.cube import FileCube
from st_ray.spectral.mosaic import match_files
from st_ray.spectral.scene import SceneSpec, open_scene
from st_ray.spectral.tiles import TileSpec, plan_tiles, read_padded

SIDE, HALO = 16, 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scenes of different sizes, with labels beside them."""
    path = tmp_path_factory.mktemp("scenes")
    rng = np.random.default_rng(0)
    for name, height, width in (("a", 20, 33), ("b", 41, 17), ("c", 16, 16)):
        np.save(path / f"{name}_cube.npy", rng.normal(size=(height, width, 6)).astype("f4"))
        np.save(path / f"{name}_gt.npy", rng.integers(0, 4, (height, width)))
    return path


@pytest.fixture(scope="module")
def mosaic(folder: Path):
    spec = SceneSpec(name=str(folder / "*_cube.npy"), labels=str(folder / "*_gt.npy"))
    return open_scene(spec, SIDE)


def scenes(folder: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(np.load(folder / f"{n}_cube.npy"), np.load(folder / f"{n}_gt.npy")) for n in "abc"]


def test_every_scene_lies_in_its_extent(mosaic, folder: Path) -> None:
    whole = mosaic.cube.read(slice(None), slice(None))
    seen = np.zeros(whole.shape[:2], bool)
    for extent, (cube, labels) in zip(mosaic.cube.extents, scenes(folder), strict=True):
        assert np.array_equal(whole[extent.rows, : extent.width], cube)
        assert np.array_equal(mosaic.labels[extent.rows, : extent.width], labels)
        seen[extent.rows, : extent.width] = True
    assert np.isnan(whole[~seen]).all()
    assert not mosaic.labels[~seen].any()
    gaps = [b.top - a.bottom for a, b in pairwise(mosaic.cube.extents)]
    assert min(gaps) >= 64


@pytest.mark.parametrize(
    ("rows", "cols"), [((3, 9), (2, 30)), ((90, 160), (0, 20)), ((0, 1), (32, 33))]
)
def test_a_window_is_that_of_the_whole(mosaic, rows, cols) -> None:
    whole = mosaic.cube.read(slice(None), slice(None))
    window = mosaic.cube.read(slice(*rows), slice(*cols))
    assert np.array_equal(window, whole[slice(*rows), slice(*cols)], equal_nan=True)


def test_tiles_hold_pixels_of_one_scene_mirrored_at_its_own_border(mosaic, folder: Path) -> None:
    tiles = plan_tiles(mosaic.labels.shape, TileSpec(side=SIDE), mosaic.cube.extents)
    alone = [cube for cube, _ in scenes(folder)]
    covered = np.zeros(mosaic.labels.shape, int)
    for tile in tiles:
        covered[tile.rows, tile.cols] += 1
        number = sum(extent.top <= tile.row for extent in mosaic.cube.extents) - 1
        extent, cube = mosaic.cube.extents[number], alone[number]
        own = replace(tile, row=tile.row - extent.top)
        single = FileCube(path=mosaic.cube.parts[number].path, key="", file_shape=cube.shape)
        expected = read_padded(single, own, SIDE, HALO)
        assert np.array_equal(read_padded(mosaic.cube, tile, SIDE, HALO), expected)
        assert np.isfinite(expected).all()
    for extent in mosaic.cube.extents:
        assert (covered[extent.rows, : extent.width] == 1).all()
    assert covered.sum() == sum(cube.shape[0] * cube.shape[1] for cube in alone)
    assert len({tile.index for tile in tiles}) == len(tiles)


def test_bands_are_dropped_in_all_scenes(mosaic) -> None:
    less = mosaic.cube.drop([1, 4])
    assert less.shape[2] == 4
    everything = slice(None)
    kept = mosaic.cube.read(everything, everything)[..., [0, 2, 3, 5]]
    assert np.array_equal(less.read(everything, everything), kept, equal_nan=True)


def test_scenes_of_other_bands_are_refused(folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x_cube.npy", np.ones((4, 4, 6), "f4"))
    np.save(tmp_path / "y_cube.npy", np.ones((4, 4, 5), "f4"))
    for name in "xy":
        np.save(tmp_path / f"{name}_gt.npy", np.ones((4, 4), int))
    spec = SceneSpec(name=str(tmp_path / "*_cube.npy"), labels=str(tmp_path / "*_gt.npy"))
    with pytest.raises(SceneError, match=r"y_cube.npy has 5 bands, .*x_cube.npy has 6"):
        open_scene(spec)


def test_a_pattern_is_filled_alike_in_scenes_and_labels(folder: Path, tmp_path: Path) -> None:
    pairs = match_files(str(folder / "*_cube.npy"), str(folder / "*_gt.npy"))
    assert [Path(a).name + Path(b).name for a, b in pairs] == [
        f"{name}_cube.npy{name}_gt.npy" for name in "abc"
    ]
    assert match_files("one.npy", None) == [("one.npy", None)]
    with pytest.raises(SceneError, match=r"no file matches"):
        match_files(str(tmp_path / "*.npy"), None)
    with pytest.raises(SceneError, match=r"a_cube.npy has no labels: .*a_other.npy"):
        match_files(str(folder / "*_cube.npy"), str(folder / "*_other.npy"))
    with pytest.raises(SceneError, match=r"expected one \* in each"):
        match_files(str(folder / "*_cube.npy"), str(folder / "a_gt.npy"))


def test_tiles_of_another_side_than_the_layout_are_refused(mosaic) -> None:
    with pytest.raises(SpecError, match=r"tiles.side=7"):
        plan_tiles(mosaic.labels.shape, TileSpec(side=7), mosaic.cube.extents)
