"""The engine on Ray: tiles through Ray Data, training through one Ray Train run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Self

import numpy as np
import ray
import ray.data
from numpy.typing import NDArray

from st_ray import errors
from st_ray.cluster.session import Session, root_cause
from st_ray.cluster.trainer import train_on_workers
from st_ray.config import ClusterSpec
from st_ray.engine import crop_or_nothing
from st_ray.errors import SpecError, StRayError, TrainingError
from st_ray.learn.fit import Job, Listen
from st_ray.spectral.patches import TileStack
from st_ray.spectral.tiles import Tile
from st_ray.spectral.work import Arrays, TileWork

# A block's results are held at once, so blocks of many tiles would cost memory.
_TILES_PER_BLOCK = 16


class RayEngine:
    """Runs tile work and training on the Ray cluster that this process belongs to."""

    def __init__(self, spec: ClusterSpec, *, verbose: bool) -> None:
        self.spec = spec
        self.workers = spec.workers or 1
        self.device: str = spec.device
        self._session = Session(verbose=verbose)

    def __enter__(self) -> Self:
        self._session.open()
        try:
            self._require_resources()
        except SpecError:
            self._session.close()
            raise
        return self

    def __exit__(self, *unused: object) -> None:
        self._session.close()

    def map_tiles(
        self,
        work: TileWork,
        tiles: Sequence[Tile],
        side: int,
        raster_HW: NDArray[np.generic] | None = None,
    ) -> Iterator[Arrays]:
        """See `st_ray.engine.Engine.map_tiles`."""
        rows = [
            {"tile": position, "raster": crop_or_nothing(raster_HW, tile, side)}
            for position, tile in enumerate(tiles)
        ]
        blocks = max(-(-len(tiles) // _TILES_PER_BLOCK), min(len(tiles), 2 * self._cpus()))
        run_block: Any = partial(_run_block, work=work, tiles=tuple(tiles))
        dataset = ray.data.from_items(rows, override_num_blocks=blocks).map_batches(
            run_block, batch_size=None
        )
        try:
            for batch in dataset.iter_batches(batch_size=None, prefetch_batches=1):
                yield _require_good(batch)
        except ray.exceptions.RayError as error:
            raise TrainingError(f"a Ray task failed: {root_cause(error)}") from error

    def train(self, job: Job, stack: TileStack, listen: Listen) -> None:
        """See `st_ray.engine.Engine.train`."""
        train_on_workers(job, stack, self.spec, self.workers, listen)

    def _cpus(self) -> int:
        return max(1, int(ray.cluster_resources().get("CPU", 1)))

    def _require_resources(self) -> None:
        kind = "GPU" if self.device == "cuda" else "CPU"
        there = int(ray.cluster_resources().get(kind, 0))
        if self.workers > there:
            raise SpecError(
                f"--workers {self.workers} needs {self.workers} {kind}s, the Ray cluster has "
                f"{there}; use --workers {there} or fewer"
            )


def _run_block(
    batch: dict[str, NDArray[Any]], work: TileWork, tiles: tuple[Tile, ...]
) -> dict[str, NDArray[Any]]:
    """One block of tiles in a Ray task; bad input comes back as data, which keeps it whole."""
    try:
        results = work([tiles[int(position)] for position in batch["tile"]], list(batch["raster"]))
    except StRayError as error:
        return {"error": np.array([type(error).__name__]), "message": np.array([str(error)])}
    return dict(results)


def _require_good(batch: Arrays) -> Arrays:
    if "error" in batch:
        kind: type[StRayError] = getattr(errors, str(batch["error"][0]), StRayError)
        raise kind(str(batch["message"][0]))
    return batch
