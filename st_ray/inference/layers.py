"""What a map consists of: rasters of one grid, and what the ids in them mean.

Shape letters: H W scene, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from st_ray.learn.card import ModelCard
from st_ray.learn.tilemap import id_type
from st_ray.report.palette import Colour, class_colours
from st_ray.spectral.metadata import Grid

CLASSES, PROBABILITY, CONFIDENCE = "classes", "probability", "confidence"
NOTHING = 0
"""The id of pixels that were not measured."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Legend:
    """What the ids of a map mean.

    Attributes:
        ids: Ascending, from 1 on.
        names: Of each.
        colours: Of each: those of the training labels, else the report's.
    """

    ids: tuple[int, ...]
    names: tuple[str, ...]
    colours: tuple[Colour, ...]

    @classmethod
    def of(cls, card: ModelCard) -> Legend:
        """That of a model."""
        usual = dict(zip(card.classes, class_colours(len(card.classes)), strict=True))
        colours = {**usual, **card.class_colours}
        return cls(
            ids=card.classes,
            names=card.class_names,
            colours=tuple(colours[index] for index in card.classes),
        )

    @property
    def most(self) -> int:
        """The largest id."""
        return self.ids[-1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """A raster of a map: a plain file of its values, all bands of a pixel side by side.

    Attributes:
        name: One of `CLASSES`, `PROBABILITY`, `CONFIDENCE`.
        path: The file.
        shape: (H, W, bands).
        dtype: Of a value, as NumPy names it.
        titles: Of each band.
    """

    name: str
    path: Path
    shape: tuple[int, int, int]
    dtype: str
    titles: tuple[str, ...]

    @property
    def nodata(self) -> float:
        """What stands for "not measured"."""
        return NOTHING if self.name == CLASSES else float("nan")

    @property
    def pixel_bytes(self) -> int:
        """Size of a pixel."""
        return np.dtype(self.dtype).itemsize * self.shape[2]

    def open(self) -> NDArray[np.generic]:
        """The values (H, W, bands), mapped."""
        return np.memmap(self.path, self.dtype, "r", shape=self.shape)


def plan_layers(
    folder: Path, card: ModelCard, shape: tuple[int, int], *, probability: bool, confidence: bool
) -> tuple[Layer, ...]:
    """The rasters of a map of so many rows and columns, as files of a folder."""
    kinds: list[tuple[str, str, tuple[str, ...]]] = [
        (CLASSES, id_type(card.classes).name, ("class",))
    ]
    if probability:
        kinds.append((PROBABILITY, "float32", card.class_names))
    if confidence:
        kinds.append((CONFIDENCE, "float32", ("confidence",)))
    return tuple(
        Layer(
            name=name,
            path=folder / f"{name}.raw",
            shape=(*shape, len(titles)),
            dtype=dtype,
            titles=titles,
        )
        for name, dtype, titles in kinds
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """A map that is whole, before it has the form that was asked for.

    Attributes:
        layers: Its rasters, the classes first.
        legend: What the ids mean.
        grid: Where the pixels lie, or None.
    """

    layers: tuple[Layer, ...]
    legend: Legend
    grid: Grid | None


def beside(target: Path, layer: Layer) -> Path:
    """The file of a raster: the map's own, or one named after it."""
    if layer.name == CLASSES:
        return target
    return target.with_name(f"{target.stem}_{layer.name}{target.suffix}")


def windows(shape: tuple[int, ...], side: int) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of squares that cover a raster, row by row."""
    for top in range(0, shape[0], side):
        for left in range(0, shape[1], side):
            yield slice(top, min(top + side, shape[0])), slice(left, min(left + side, shape[1]))
