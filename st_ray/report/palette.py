"""The colours of classes and of the split's parts, fixed so that two reports can be compared."""

from __future__ import annotations

import colorsys
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Colour: TypeAlias = tuple[int, int, int]
"""Red, green, blue, 0-255."""

UNLABELLED: Colour = (26, 28, 33)
"""Class 0: not labelled, masked or not predicted."""

PART_COLOURS: tuple[Colour, ...] = (UNLABELLED, (0, 114, 178), (246, 211, 43), (148, 156, 168))
"""Unused, train, validation, test."""

# Each colour was picked farthest from those before it and from UNLABELLED in OKLab, by the mean
# of the distance in normal vision and of the lesser one in simulated protanopia and deuteranopia
# (Machado et al. 2009, doi:10.1109/TVCG.2009.113); the first two are Okabe and Ito's blue and
# orange. No two of the first sixteen are nearer than 0.13.
_QUALITATIVE: tuple[Colour, ...] = (
    (0, 114, 178), (230, 159, 0), (47, 177, 165), (232, 89, 129),
    (246, 211, 43), (154, 119, 244), (99, 133, 15), (244, 154, 253),
    (79, 252, 236), (165, 61, 159), (251, 183, 177), (192, 56, 9),
    (91, 202, 94), (52, 200, 253), (71, 112, 100), (57, 55, 172),
    (167, 131, 178), (141, 252, 142), (177, 138, 90), (246, 222, 254),
    (121, 21, 130), (166, 24, 89), (53, 89, 10), (37, 156, 222),
    (253, 230, 171), (141, 210, 183), (119, 81, 203), (68, 82, 130),
    (250, 136, 130), (181, 179, 214), (146, 13, 3), (61, 141, 155),
)  # fmt: skip

_GOLDEN = (5**0.5 - 1) / 2


def class_colours(count: int) -> tuple[Colour, ...]:
    """The colours of the first ``count`` classes, in class order.

    The first 32 come from a fixed list; later ones step round the hue circle by the golden
    ratio with alternating saturation and brightness. The same position always has the same
    colour.
    """
    return tuple(_class_colour(position) for position in range(count))


def hexadecimal(colour: Colour) -> str:
    """The colour as CSS writes it: ``#0072b2``."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def paint(ids: ArrayLike, class_ids: tuple[int, ...]) -> NDArray[np.uint8]:
    """Ids (...) to colours (..., 3); ids that are not among the classes are UNLABELLED.

    Args:
        ids: Class ids of any size.
        class_ids: The classes in the order that fixes their colours, each at least 1.
    """
    colours = np.array((UNLABELLED, *class_colours(len(class_ids))), dtype=np.uint8)
    known = np.array((0, *class_ids), dtype=np.int64)
    order = np.argsort(known)
    found = np.searchsorted(known, ids, sorter=order).clip(max=len(known) - 1)
    position = order[found]
    painted: NDArray[np.uint8] = colours[np.where(known[position] == ids, position, 0)]
    return painted


def _class_colour(position: int) -> Colour:
    if position < len(_QUALITATIVE):
        return _QUALITATIVE[position]
    step = position - len(_QUALITATIVE)
    saturation, value = ((0.85, 0.95), (0.5, 0.75), (0.65, 0.55))[step % 3]
    rgb = colorsys.hsv_to_rgb((0.07 + step * _GOLDEN) % 1, saturation, value)
    red, green, blue = (round(255 * channel) for channel in rgb)
    return red, green, blue
