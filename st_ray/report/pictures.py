"""Pictures of a scene as (H, W, 3) uint8 arrays and as PNG: classes, parts, errors, bands."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from st_ray.report.palette import PART_COLOURS, UNLABELLED, paint
from st_ray.spectral.parts import TEST

RIGHT = (118, 126, 140)
WRONG = (255, 84, 64)


def false_colour(cube_bands: ArrayLike) -> NDArray[np.uint8]:
    """Stretch three bands to a picture: the 2nd to 98th percentile of each becomes 0 to 255.

    Args:
        cube_bands: (H, W, 3) red, green and blue in any unit, NaN where invalid.

    Returns:
        (H, W, 3) uint8. Invalid pixels are black, a constant band is mid-grey.
    """
    bands = np.asarray(cube_bands, dtype=np.float64)
    picture = np.zeros(bands.shape, dtype=np.uint8)
    valid = np.isfinite(bands).all(axis=2)
    if not valid.any():
        return picture
    values = bands[valid]
    low, high = np.percentile(values, (2, 98), axis=0)
    span = high - low
    scaled = (values - low) / np.where(span > 0, span, 1)
    scaled[:, span <= 0] = 0.5
    picture[valid] = np.round(255 * np.clip(scaled, 0, 1)).astype(np.uint8)
    return picture


def thinning(shape: Sequence[int]) -> int:
    """Of how many rows and columns of a scene (H, W) a page shows one."""
    return -(-max(shape[:2]) // _MOST_SHOWN)


_MOST_SHOWN = 2048


def class_picture(class_map: ArrayLike, class_ids: tuple[int, ...]) -> NDArray[np.uint8]:
    """Colour an (H, W) raster of class ids; 0 and ids not in ``class_ids`` are dark.

    Args:
        class_map: (H, W) class ids.
        class_ids: The classes in the order that fixes their colours.

    Returns:
        (H, W, 3) uint8.
    """
    return paint(class_map, class_ids)


def split_picture(parts: ArrayLike) -> NDArray[np.uint8]:
    """Colour an (H, W) raster of parts (0 unused, 1 train, 2 validation, 3 test)."""
    picture: NDArray[np.uint8] = np.array(PART_COLOURS, dtype=np.uint8)[np.asarray(parts)]
    return picture


def error_picture(class_map: ArrayLike, labels: ArrayLike, parts: ArrayLike) -> NDArray[np.uint8]:
    """Show the test pixels that were classified right (grey) and wrong (red).

    Args:
        class_map: (H, W) predicted class ids.
        labels: (H, W) true class ids.
        parts: (H, W) parts of the split.

    Returns:
        (H, W, 3) uint8; everything but test pixels is dark.
    """
    test = np.asarray(parts) == TEST
    wrong = test & (np.asarray(class_map) != np.asarray(labels))
    code = test.astype(np.uint8) + wrong
    picture: NDArray[np.uint8] = np.array((UNLABELLED, RIGHT, WRONG), dtype=np.uint8)[code]
    return picture


def zoom_for(shape: tuple[int, ...], *, longest: int = 1000) -> int:
    """The integer zoom, at least 1, that brings an (H, W) picture nearest below ``longest``."""
    return max(1, longest // max(shape[0], shape[1], 1))


def png(picture: NDArray[np.uint8], *, zoom: int = 1) -> bytes:
    """Encode an (H, W, 3) picture as PNG, each pixel drawn as ``zoom`` x ``zoom``."""
    height, width = picture.shape[:2]
    image = Image.fromarray(picture)
    if zoom > 1:
        image = image.resize((width * zoom, height * zoom), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def data_uri(picture: NDArray[np.uint8], *, longest: int = 1600) -> str:
    """The picture as a ``data:`` address for a page, thinned to at most ``longest`` pixels."""
    step = -(-max(picture.shape[:2]) // longest)
    content = png(np.ascontiguousarray(picture[::step, ::step]))
    return "data:image/png;base64," + base64.b64encode(content).decode()
