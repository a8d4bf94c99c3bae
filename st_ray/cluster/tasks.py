"""What Ray Data's tasks run: tile work, with bad input as data.

A task imports this module and no more of st_ray than its work needs: torch and Ray Train would
cost every process that measures or projects tiles several seconds.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from st_ray import errors
from st_ray.errors import StRayError
from st_ray.spectral.tiles import Tile, crop
from st_ray.spectral.work import Arrays, Merge, TileWork


class TileRows:
    """Tiles as rows of a table, each with its crop of a raster, which is made when it is asked for.

    A crop goes as bytes, of which there are none where it is zero throughout: of a large scene
    few tiles hold a label.
    """

    def __init__(
        self, tiles: Sequence[Tile], side: int, raster_HW: NDArray[np.generic] | None
    ) -> None:
        self._tiles, self._side, self._raster_HW = tiles, side, raster_HW

    def __len__(self) -> int:
        return len(self._tiles)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """A row."""
        tile, raw = self._tiles[index], b""
        if self._raster_HW is not None and self._raster_HW[tile.rows, tile.cols].any():
            raw = crop(self._raster_HW, tile, self._side).tobytes()
        return {**asdict(tile), "raster": raw}


def tiles_of(batch: Arrays) -> list[Tile]:
    """The tiles of some rows."""
    names = [field.name for field in fields(Tile)]
    rows = zip(*(batch[name].tolist() for name in names), strict=True)
    return [Tile(**dict(zip(names, row, strict=True))) for row in rows]


def run_task(
    batch: Arrays, work: TileWork, side: int, each: int, kind: str | None, merge: Merge | None
) -> dict[str, NDArray[Any]]:
    """One Ray task; bad input comes back as data, which keeps it whole.

    Where results are merged, a task works through its tiles in blocks of so many. What comes of
    them is one column of bytes: an error and a result then lie in one table.
    """
    tiles, rasters = tiles_of(batch), _rasters(batch, side, kind)
    spans = [slice(start, start + each) for start in range(0, len(tiles), each)]
    try:
        if merge is None:
            results = work(tiles, rasters)
        else:
            results = merge(work(tiles[span], rasters[span]) for span in spans)
    except StRayError as error:
        results = as_data(error)
    return dict(results) if merge is None else pack([results])


def _rasters(batch: Arrays, side: int, kind: str | None) -> list[NDArray[np.generic]]:
    """The crops of some rows, of a raster of this type; not to be written to."""
    if kind is None:
        return [np.empty(0)] * len(batch["raster"])
    nothing = np.zeros((side, side), kind)
    nothing.flags.writeable = False
    return [
        np.frombuffer(raw, kind).reshape(side, side) if raw else nothing for raw in batch["raster"]
    ]


def merge_rows(batch: dict[str, NDArray[Any]], merge: Merge) -> dict[str, NDArray[Any]]:
    """One task of the tree; the first error stands for all."""
    parts = unpack(batch)
    wrong = [part for part in parts if "error" in part]
    return pack([wrong[0] if wrong else merge(parts)])


def pack(results: Sequence[Arrays]) -> dict[str, NDArray[Any]]:
    """Each of several results as a row of bytes."""
    return {"packed": np.array([pickle.dumps(each) for each in results], dtype=object)}


def unpack(batch: Mapping[str, NDArray[Any]]) -> list[Arrays]:
    """The results of packed rows."""
    return [pickle.loads(row) for row in batch["packed"]]


def as_data(error: StRayError) -> Arrays:
    """An error in the place of results."""
    return {"error": np.array([type(error).__name__]), "message": np.array([str(error)])}


def require_good(batch: Arrays) -> Arrays:
    """Results, or the error that stands in their place raised.

    Raises:
        StRayError: Of the kind that it was in the task.
    """
    if "error" in batch:
        kind: type[StRayError] = getattr(errors, str(batch["error"][0]), StRayError)
        raise kind(str(batch["message"][0]))
    return batch
