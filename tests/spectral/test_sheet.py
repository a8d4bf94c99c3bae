"""A sheet shows every scene once, and nothing of the space between them."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from st_ray.spectral.cube import Extent
from st_ray.spectral.scene import SceneSpec, open_scene
from st_ray.spectral.sheet import lay_sheet


@pytest.mark.parametrize("sizes", [[(4, 7)], [(50, 50)] * 444, [(9, 3), (2, 20), (30, 1), (5, 5)]])
def test_scenes_lie_side_by_side_without_meeting(sizes) -> None:
    tops = np.concatenate([[0], np.cumsum([height + 64 for height, _ in sizes])])
    extents = [
        Extent(top=int(top), height=height, width=width)
        for top, (height, width) in zip(tops, sizes, strict=False)
    ]
    mosaic = np.zeros((extents[-1].bottom, max(width for _, width in sizes)), np.int32)
    for number, extent in enumerate(extents, start=1):
        mosaic[extent.rows, : extent.width] = number
    sheet = lay_sheet(extents)
    drawn = sheet.lay(mosaic)
    assert drawn.shape == sheet.shape
    counts = np.bincount(drawn.ravel(), minlength=len(sizes) + 1)[1:]
    np.testing.assert_array_equal(counts, [height * width for height, width in sizes])
    height, width = sheet.shape
    if len(sizes) == 444:
        assert 0.8 < height / width < 1.25


@pytest.mark.parametrize("step", [1, 2, 3, 7])
def test_a_thinned_picture_is_every_so_many_pixels_of_the_whole(tmp_path: Path, step: int) -> None:
    rng = np.random.default_rng(0)
    for name, (height, width) in zip("abc", [(9, 5), (4, 11), (2, 2)], strict=True):
        np.save(tmp_path / f"{name}.npy", rng.normal(size=(height, width, 3)).astype("f4"))
    (tmp_path / "scenes.csv").write_text("image,labels\na.npy,1\nb.npy,2\nc.npy,2\n")
    scene = open_scene(SceneSpec(name=str(tmp_path / "scenes.csv")))
    sheet = lay_sheet(scene.cube.extents)
    whole = sheet.picture(scene.cube, 1)
    assert np.isfinite(whole).all(axis=2).sum() == 45 + 44 + 4
    for (extent, top, left), (row, col) in product(sheet.places, [(0, 0), (-1, -1)]):
        at = range(extent.height)[row], range(extent.width)[col]
        values = scene.cube.read(
            slice(extent.top + at[0], extent.top + at[0] + 1), slice(at[1], at[1] + 1)
        )
        np.testing.assert_array_equal(whole[top + at[0], left + at[1]], values[0, 0])
    np.testing.assert_array_equal(sheet.picture(scene.cube, step), whole[::step, ::step])
