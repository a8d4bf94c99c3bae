"""What travels to Ray's tasks: tiles as rows, with their crops of a raster."""

from __future__ import annotations

import numpy as np
import pytest

from st_ray.cluster.tasks import TileRows, require_good, run_task, unpack
from st_ray.errors import SceneError
from st_ray.spectral.tiles import TileSpec, crop, plan_tiles


@pytest.mark.parametrize("kind", [np.uint8, np.int32])
def test_rows_give_the_work_what_it_would_have_here(kind) -> None:
    raster = np.zeros((10, 7), kind)
    raster[5:, 3:] = np.arange(20).reshape(5, 4)
    tiles = plan_tiles(raster.shape, TileSpec(side=4))
    seen = []

    def work(tiles, rasters):
        seen.extend(zip(tiles, rasters, strict=True))
        return {"done": np.array([len(tiles)])}

    rows = list(TileRows(tiles, 4, raster))
    assert [bool(row["raster"]) for row in rows] == [raster[t.rows, t.cols].any() for t in tiles]
    for table in (rows[:4], rows[4:]):
        batch = {name: np.array([row[name] for row in table], object) for name in table[0]}
        run_task(batch, work, side=4, each=2, kind=raster.dtype.str, merge=None)
    assert [tile for tile, _ in seen] == list(tiles)
    for tile, found in seen:
        assert found.dtype == raster.dtype
        assert np.array_equal(found, crop(raster, tile, 4))


def as_batch(tiles) -> dict[str, np.ndarray]:
    rows = list(TileRows(tiles, 4, None))
    return {name: np.array([row[name] for row in rows], object) for name in rows[0]}


def test_a_task_works_through_blocks_of_tiles_and_merges_them() -> None:
    tiles = plan_tiles((20, 4), TileSpec(side=4))
    sizes = []

    def work(tiles, rasters):
        sizes.append(len(rasters))
        return {"rows": np.array([sum(tile.row for tile in tiles)])}

    batch = as_batch(tiles)
    (result,) = unpack(run_task(batch, work, side=4, each=2, kind=None, merge=add_rows))
    assert sizes == [2, 2, 1]
    assert result["rows"].tolist() == [0 + 4 + 8 + 12 + 16]


def test_bad_input_in_one_block_of_a_task_stands_for_the_task() -> None:
    def work(tiles, rasters):
        if tiles[0].row == 8:
            raise SceneError("block 2 cannot be read")
        return {"rows": np.array([1])}

    batch = as_batch(plan_tiles((20, 4), TileSpec(side=4)))
    (result,) = unpack(run_task(batch, work, side=4, each=2, kind=None, merge=add_rows))
    with pytest.raises(SceneError, match="block 2"):
        require_good(result)
    with pytest.raises(SceneError, match="block 2"):
        require_good(run_task(batch, refuse, side=4, each=2, kind=None, merge=None))


def add_rows(parts):
    return {"rows": np.array([sum(int(part["rows"][0]) for part in parts)])}


def refuse(tiles, rasters):
    raise SceneError("block 2 cannot be read")
