from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from st_ray.errors import SpecError
from st_ray.spectral.tiles import TileSpec, crop, mirror, plan_tiles, read_padded


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 17))
def test_cores_cover_every_pixel_exactly_once(height: int, width: int, side: int) -> None:
    seen = np.zeros((height, width), int)
    for tile in plan_tiles((height, width), TileSpec(side=side)):
        seen[tile.rows, tile.cols] += 1
    assert (seen == 1).all()


@given(st.integers(1, 9), st.integers(0, 12))
def test_mirroring_equals_numpys_reflect_padding(size: int, pad: int) -> None:
    line = np.arange(size)
    expected = np.pad(line, pad, mode="reflect") if size > 1 else np.zeros(1 + 2 * pad, int)
    assert np.array_equal(line[mirror(np.arange(-pad, size + pad), size)], expected)


@pytest.mark.parametrize(("side", "halo"), [(5, 4), (8, 4), (64, 4), (29, 0)])
def test_a_padded_tile_is_a_window_of_the_padded_scene(small_scene, side: int, halo: int) -> None:
    cube = small_scene.cube
    height, width, _ = cube.shape
    whole = cube.read(slice(0, height), slice(0, width))
    reach = ((halo, side + halo), (halo, side + halo), (0, 0))
    padded = np.pad(whole, reach, mode="reflect")
    for tile in plan_tiles(cube.shape, TileSpec(side=side)):
        edge = side + 2 * halo
        expected = padded[tile.row : tile.row + edge, tile.col : tile.col + edge]
        assert np.array_equal(read_padded(cube, tile, side, halo), expected)


def test_a_crop_at_the_border_is_filled_with_zeros() -> None:
    raster = np.arange(1, 13).reshape(3, 4)
    tile = plan_tiles(raster.shape, TileSpec(side=3))[1]
    assert crop(raster, tile, 3).tolist() == [[4, 0, 0], [8, 0, 0], [12, 0, 0]]


def test_a_tile_has_at_least_one_pixel() -> None:
    with pytest.raises(SpecError, match=r"tiles\.side=0"):
        TileSpec(side=0)
