"""What Ray Data's tasks run: tile work, with bad input as data.

A task imports this module and no more of st_ray than its work needs: torch and Ray Train would
cost every process that measures or projects tiles several seconds.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from st_ray import errors
from st_ray.errors import StRayError
from st_ray.spectral.tiles import Tile
from st_ray.spectral.work import Arrays, Merge, TileWork


def run_block(
    batch: Arrays, work: TileWork, tiles: tuple[Tile, ...], merged: bool
) -> dict[str, NDArray[Any]]:
    """One block of tiles in a Ray task; bad input comes back as data, which keeps it whole.

    What will be merged comes as one column of bytes: an error and a result then lie in one table.
    """
    try:
        results = work([tiles[int(position)] for position in batch["tile"]], list(batch["raster"]))
    except StRayError as error:
        results = as_data(error)
    return pack([results]) if merged else dict(results)


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
