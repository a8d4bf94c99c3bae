"""Patches as views: projected tiles are stacked in one tall array, and a patch is a window of it.

A materialised 11 x 11 x 60 float32 patch takes 29 kB a labelled pixel; the stack takes about
0.6 kB on a densely labelled scene. A smaller patch is the centre of a larger one and fewer
components are the first columns, so every curriculum stage is a slice of one stack.

Shape letters: T tiles, E padded tile edge (side + 2 halo), K components, N samples, S patch side.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from st_ray.errors import SpecError
from st_ray.spectral.tiles import Tile


@dataclass(frozen=True, kw_only=True, slots=True)
class TileStack:
    """Projected tiles of one scene, one below the other.

    Attributes:
        values_REK: float32 (T * E, E, K): tile t holds rows t*E to (t+1)*E.
        halo: Margin of each tile, in pixels; patches up to 2 * halo + 1 fit.
        mapping: The file that holds the values, where it is not memory.
    """

    values_REK: NDArray[np.float32]
    halo: int
    mapping: mmap.mmap | None = None

    @property
    def components(self) -> int:
        """Number of components K."""
        return int(self.values_REK.shape[2])

    def forget(self) -> None:
        """Give back the memory that reading a mapped file has filled; it is read again if needed.

        The system would do so itself, but not before memory is short.
        """
        if self.mapping is not None and hasattr(self.mapping, "madvise"):
            self.mapping.madvise(mmap.MADV_DONTNEED)

    def view(self, patch_size: int, components: int) -> NDArray[np.float32]:
        """All windows as a view (R', E', k, S, S), indexed by the centre's position less the halo.

        Nothing is copied; index it with `Samples.centres_N2` to gather patches.
        """
        trim = self.halo - check_patch(patch_size, self.halo) // 2
        rows, cols, _ = self.values_REK.shape
        inner = self.values_REK[trim : rows - trim, trim : cols - trim, :components]
        return np.lib.stride_tricks.sliding_window_view(inner, (patch_size, patch_size), (0, 1))


@dataclass(frozen=True, kw_only=True, slots=True)
class Samples:
    """Labelled pixels of one part of a split, as positions in a `TileStack`.

    Attributes:
        centres_N2: Row and column of the patch centre in `TileStack.view`, int64.
        targets_N: Class index 0..C-1 (position in the scene's sorted class ids), int64.
    """

    centres_N2: NDArray[np.int64]
    targets_N: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.targets_N)


def extract_patches(
    stack: TileStack, centres_N2: NDArray[np.int64], patch_size: int, components: int | None = None
) -> NDArray[np.float32]:
    """Gather patches (N, k, S, S) around the given centres."""
    windows = stack.view(patch_size, components or stack.components)
    return windows[centres_N2[:, 0], centres_N2[:, 1]]


def check_patch(patch_size: int, halo: int) -> int:
    """The patch size, if it is odd and fits the halo.

    Raises:
        SpecError: It is even, not positive, or larger than 2 * halo + 1.
    """
    check_odd(patch_size)
    if patch_size > 2 * halo + 1:
        raise SpecError(f"patch_size={patch_size} needs a halo of {patch_size // 2}, got {halo}")
    return patch_size


def check_odd(pixels: int, name: str = "patch_size") -> None:
    """See that a patch has a centre pixel.

    Raises:
        SpecError: Its side is even or not positive.
    """
    if pixels < 1 or pixels % 2 == 0:
        raise SpecError(f"{name}={pixels}: expected an odd number of pixels, such as 11")


def select_samples(
    parts_HW: NDArray[np.uint8],
    part: int,
    labels_HW: NDArray[np.int32],
    classes: Sequence[int],
    tiles: Sequence[Tile],
    halo: int,
    side: int,
) -> Samples:
    """The samples of one part of a split, in the scene's row-major order.

    Row-major order of the *scene* makes the samples, and so every seeded shuffle of them,
    independent of how the scene was tiled.

    Args:
        parts_HW: Split raster.
        part: Which part of it.
        labels_HW: Class ids, 0 = unlabelled.
        classes: Sorted class ids; a target is a position in it.
        tiles: The plan the stack was made from, in the stack's order.
        halo: The stack's halo.
        side: Side of a full core.

    Returns:
        Centres for `TileStack.view` and class indices.
    """
    edge = side + 2 * halo
    rows_N, cols_N = np.nonzero(parts_HW == part)
    columns_of_tiles = -(-parts_HW.shape[1] // side)
    order = np.empty(max(tile.index for tile in tiles) + 1, dtype=np.int64)
    order[[tile.index for tile in tiles]] = np.arange(len(tiles))
    tile_N = order[(rows_N // side) * columns_of_tiles + cols_N // side]
    centres_N2 = np.stack([tile_N * edge + rows_N % side, cols_N % side], axis=1)
    targets_N = np.searchsorted(np.asarray(classes), labels_HW[rows_N, cols_N])
    return Samples(centres_N2=centres_N2, targets_N=targets_N.astype(np.int64))
