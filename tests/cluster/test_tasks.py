"""What travels to Ray's tasks: tiles as rows, with their crops of a raster."""

from __future__ import annotations

import numpy as np
import pytest

from st_ray.cluster.tasks import TileRows, run_block
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
        run_block(batch, work, side=4, kind=raster.dtype.str, merged=False)
    assert [tile for tile, _ in seen] == list(tiles)
    for tile, found in seen:
        assert found.dtype == raster.dtype
        assert np.array_equal(found, crop(raster, tile, 4))
