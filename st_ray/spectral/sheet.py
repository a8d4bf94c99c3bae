"""Several scenes side by side, as a page shows them: a mosaic is tall, and mostly space.

Shape letters: H W sheet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from st_ray.spectral.cube import Cube, Extent

Number = TypeVar("Number", bound=np.generic)

_SPACE = 2  # pixels between scenes


@dataclass(frozen=True, kw_only=True, slots=True)
class Sheet:
    """Where each scene is drawn: row by row, from left to right.

    Attributes:
        shape: (H, W).
        places: The scenes, each with the row and column of its first pixel.
    """

    shape: tuple[int, int]
    places: tuple[tuple[Extent, int, int], ...]

    def lay(self, mosaic_HW: NDArray[Number]) -> NDArray[Number]:
        """A mosaic's raster, drawn on the sheet; zero between the scenes."""
        if len(self.places) == 1:
            return mosaic_HW
        out = np.zeros(self.shape, mosaic_HW.dtype)
        for extent, top, left in self.places:
            window = out[top : top + extent.height, left : left + extent.width]
            window[:] = mosaic_HW[extent.rows, : extent.width]
        return out

    def picture(self, cube: Cube, step: int) -> NDArray[np.float32]:
        """Every so many rows and columns of a cube's bands, drawn on the sheet.

        Returns:
            (ceil(H / step), ceil(W / step), B); NaN between the scenes.
        """
        height, width = (-(-size // step) for size in self.shape)
        out = np.full((height, width, cube.shape[2]), np.nan, np.float32)
        for extent, top, left in self.places:
            first_row, first_col = -(-top // step) * step, -(-left // step) * step
            cols = slice(first_col - left, extent.width, step)
            if step == 1:
                rows = [(top, extent.height, extent.rows)]
            else:
                shown = range(first_row, top + extent.height, step)
                own = [extent.top + row - top for row in shown]
                rows = [(row, 1, slice(at, at + 1)) for row, at in zip(shown, own, strict=True)]
            for row, many, at in rows:
                values = cube.read(at, slice(0, extent.width))[:, cols]
                col = first_col // step
                out[row // step : row // step + many, col : col + values.shape[1]] = values
        return out


def lay_sheet(extents: Sequence[Extent]) -> Sheet:
    """Arrange scenes in lines, so that the whole is about as high as it is wide."""
    widest = max(extent.width for extent in extents)
    if len(extents) == 1:
        return Sheet(shape=(extents[0].height, widest), places=((extents[0], 0, 0),))
    area = sum((extent.height + _SPACE) * (extent.width + _SPACE) for extent in extents)
    room = max(widest, math.isqrt(area))
    places: list[tuple[Extent, int, int]] = []
    top = left = lowest = right = 0
    for extent in extents:
        if left and left + extent.width > room:
            top, left = lowest + _SPACE, 0
        places.append((extent, top, left))
        lowest, right = max(lowest, top + extent.height), max(right, left + extent.width)
        left += extent.width + _SPACE
    return Sheet(shape=(lowest, right), places=tuple(places))
