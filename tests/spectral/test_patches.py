from __future__ import annotations

import numpy as np
import pytest

from st_ray.errors import SpecError
from st_ray.spectral.patches import TileStack, extract_patches, select_samples
from st_ray.spectral.tiles import TileSpec, plan_tiles, read_padded

HALO = 3


@pytest.fixture(scope="module", params=[7, 16, 64])
def stacked(request, small_scene):
    """(stack, tiles, side) of the raw bands, cut at several tile sizes."""
    side = request.param
    tiles = plan_tiles(small_scene.labels.shape, TileSpec(side=side))
    values = np.concatenate([read_padded(small_scene.cube, t, side, HALO) for t in tiles])
    return TileStack(values_REK=values, halo=HALO), tiles, side


@pytest.mark.parametrize(("size", "components"), [(1, 3), (3, 12), (7, 5)])
def test_patches_equal_slices_of_the_padded_cube(
    small_scene, stacked, size: int, components: int
) -> None:
    stack, tiles, side = stacked
    parts = (small_scene.labels > 0).astype(np.uint8)
    samples = select_samples(parts, 1, small_scene.labels, small_scene.classes, tiles, HALO, side)
    whole = small_scene.cube.read(slice(None), slice(None))
    radius = size // 2
    padded = np.pad(whole, ((radius, radius), (radius, radius), (0, 0)), mode="reflect")
    rows, cols = np.nonzero(parts)
    expected = np.stack(
        [padded[r : r + size, c : c + size, :components] for r, c in zip(rows, cols, strict=True)]
    ).transpose(0, 3, 1, 2)
    patches = extract_patches(stack, samples.centres_N2, size, components)
    assert np.array_equal(patches, expected)
    ids = np.asarray(small_scene.classes)[samples.targets_N]
    assert np.array_equal(ids, small_scene.labels[rows, cols])


def test_leaving_out_unlabelled_tiles_changes_no_patch(small_scene) -> None:
    side = 5
    labels = small_scene.labels.copy()
    labels[5:15, 5:20] = 0
    tiles = plan_tiles(labels.shape, TileSpec(side=side))
    held = [tile for tile in tiles if labels[tile.rows, tile.cols].any()]
    assert len(held) < len(tiles)
    parts = (labels > 0).astype(np.uint8)
    patches = []
    for some in (tiles, held):
        values = np.concatenate([read_padded(small_scene.cube, t, side, HALO) for t in some])
        samples = select_samples(parts, 1, labels, small_scene.classes, some, HALO, side)
        stack = TileStack(values_REK=values, halo=HALO)
        patches.append(extract_patches(stack, samples.centres_N2, 5))
    assert np.array_equal(*patches)


def test_gathering_is_a_view_until_it_is_indexed(stacked) -> None:
    stack, _, _ = stacked
    assert np.shares_memory(stack.view(5, 4), stack.values_REK)


@pytest.mark.parametrize(("size", "why"), [(4, "odd"), (0, "odd"), (9, "needs a halo of 4")])
def test_a_patch_that_cannot_be_cut_is_refused(stacked, size: int, why: str) -> None:
    with pytest.raises(SpecError, match=why):
        stacked[0].view(size, 2)
