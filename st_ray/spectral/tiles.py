"""Tiles: the unit in which a scene is read, measured, projected and predicted.

Shape letters: H W scene, T tiles, E padded tile edge (side + 2 halo), B bands, K components.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from st_ray.errors import SpecError
from st_ray.spectral.cube import Cube, Extent

_WIDEST = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class TileSpec:
    """How a scene is cut.

    Attributes:
        side: Side of a tile's core, in pixels.
    """

    side: int = 64

    def __post_init__(self) -> None:
        if self.side < 1:
            raise SpecError(f"tiles.side={self.side}: a tile is at least 1 pixel wide")
        if self.side > _WIDEST:
            raise SpecError(
                f"tiles.side={self.side}: a tile is held in memory whole; expected {_WIDEST} "
                "pixels at most"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Tile:
    """A square core of a scene, possibly cut off by the scene's lower or right border.

    Cores partition the scene: every pixel is in exactly one.

    Attributes:
        index: Position in the grid of the whole scene, row by row.
        row: First row of the core.
        col: First column of the core.
        height: Rows of the core inside the scene.
        width: Columns of the core inside the scene.
    """

    index: int
    row: int
    col: int
    height: int
    width: int

    @property
    def rows(self) -> slice:
        """Rows of the core in the scene."""
        return slice(self.row, self.row + self.height)

    @property
    def cols(self) -> slice:
        """Columns of the core in the scene."""
        return slice(self.col, self.col + self.width)


def plan_tiles(
    shape: Sequence[int], spec: TileSpec, extents: Sequence[Extent] = ()
) -> tuple[Tile, ...]:
    """Cut an (H, W, ...) scene into tiles, row by row.

    Args:
        shape: The scene's shape; only (H, W) is used.
        spec: The tile's side.
        extents: The scenes in it, if it is a mosaic: each begins at a multiple of the side.

    Returns:
        Tiles whose cores cover every pixel exactly once; none holds pixels of two scenes.
    """
    height, width = int(shape[0]), int(shape[1])
    side, across = spec.side, -(-width // spec.side)
    tiles = []
    for extent in extents or (Extent(top=0, height=height, width=width),):
        if extent.top % side:
            raise SpecError(f"tiles.side={side}: the mosaic was laid out for another side")
        for row in range(extent.top, extent.bottom, side):
            tiles += [
                Tile(
                    index=row // side * across + col // side,
                    row=row,
                    col=col,
                    height=min(side, extent.bottom - row),
                    width=min(side, extent.width - col),
                )
                for col in range(0, extent.width, side)
            ]
    return tuple(tiles)


def crop(raster_HW: NDArray[np.generic], tile: Tile, side: int) -> NDArray[np.generic]:
    """A raster's values under a tile's core, zero-filled to (side, side) so that tiles stack."""
    out = np.zeros((side, side), dtype=raster_HW.dtype)
    out[: tile.height, : tile.width] = raster_HW[tile.rows, tile.cols]
    return out


def read_padded(cube: Cube, tile: Tile, side: int, halo: int) -> NDArray[np.float32]:
    """Read a tile with its halo; outside the scene the picture is mirrored.

    Mirroring ("reflect": the border pixel is not repeated) is what an image padded once as a
    whole would give, so patches do not depend on where the tiles were cut.

    Args:
        cube: The scene's cube.
        tile: The tile.
        side: Side of a full core, in pixels.
        halo: Margin read around the core, in pixels.

    Returns:
        Values (E, E, B) with E = side + 2 * halo; the core starts at (halo, halo).
    """
    extent = cube.extent_at(tile.row)
    down = np.arange(tile.row - halo, tile.row + side + halo) - extent.top
    rows = mirror(down, extent.height) + extent.top
    cols = mirror(np.arange(tile.col - halo, tile.col + side + halo), extent.width)
    top, left = int(rows.min()), int(cols.min())
    window = cube.read(slice(top, int(rows.max()) + 1), slice(left, int(cols.max()) + 1))
    if rows[-1] - rows[0] == len(rows) - 1 and cols[-1] - cols[0] == len(cols) - 1:
        return window  # nothing is mirrored, so nothing need be copied
    return window[np.ix_(rows - top, cols - left)]


def mirror(positions: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Fold positions outside 0..size-1 back by reflection about the first and last pixel."""
    if size == 1:
        return np.zeros_like(positions)
    period = 2 * (size - 1)
    folded = np.abs(positions) % period
    return np.asarray(np.minimum(folded, period - folded))
