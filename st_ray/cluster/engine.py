"""The engine on Ray: tiles through Ray Data, training through one Ray Train run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any, Literal, Self

import numpy as np
import ray
import ray.data
import torch
from numpy.typing import NDArray

from st_ray.cluster.room import choose_workers, look_around
from st_ray.cluster.session import Session, root_cause
from st_ray.cluster.tasks import (
    TileRows,
    as_data,
    merge_rows,
    pack,
    require_good,
    run_task,
    tiles_of,
    unpack,
)
from st_ray.cluster.trainer import train_on_workers
from st_ray.config import ClusterSpec
from st_ray.engine import (
    FEW_CLASSIFIED,
    FEW_MEASURED,
    SHARE_OF_STORE,
    choose_device,
    map_here,
    merging_tasks,
    settle_process,
    tiles_per_block,
    usable_cores,
)
from st_ray.errors import SpecError, StRayError, TrainingError
from st_ray.learn.fit import Listen
from st_ray.learn.job import Job
from st_ray.spectral.ingest import StackPlan
from st_ray.spectral.patches import TileStack
from st_ray.spectral.tiles import Tile
from st_ray.spectral.work import Arrays, Merge, TileStream, TileWork

# Results that come to the driver unmerged, and the least that a task of the tree takes.
_TO_DRIVER, _FAN_IN = 64, 16


class RayEngine:
    """Runs tile work and training on the Ray cluster that this process belongs to."""

    def __init__(self, spec: ClusterSpec, *, verbose: bool) -> None:
        self.spec = spec
        self.workers = spec.workers or 1
        self.device: Literal["cpu", "cuda"] = "cpu"
        self.memory = 0.0
        self._session = Session(verbose=verbose)
        self._alone = False  # on the only machine, where Ray was started here

    def __enter__(self) -> Self:
        self._session.open()
        try:
            self._settle()
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
        *,
        merge: Merge | None = None,
        heavy: bool = False,
    ) -> Iterator[Arrays]:
        """See `st_ray.engine.Engine.map_tiles`; a task merges its own results."""
        if not heavy and _pixels(tiles) <= FEW_MEASURED:
            yield from map_here(work, tiles, side, raster_HW)
            return
        each, room = tiles_per_block(side), look_around()
        if merge is None:
            tasks = -(-len(tiles) // each)
        else:
            tasks = merging_tasks(len(tiles), side, room.most_cpus)
        tasks = max(tasks, min(len(tiles), 2 * room.cpus))
        kind = None if raster_HW is None else raster_HW.dtype.str
        run: Any = partial(run_task, work=work, side=side, each=each, kind=kind, merge=merge)
        rows: Any = TileRows(tiles, side, raster_HW)
        dataset = ray.data.from_items(rows, override_num_blocks=tasks).map_batches(
            run, batch_size=None
        )
        if merge is not None and tasks > _TO_DRIVER:
            join: Any = partial(merge_rows, merge=merge)
            several = max(_FAN_IN, -(-tasks // _TO_DRIVER))
            # For an operator whose tasks ask for a CPU, Ray Data reserves as many as for the work.
            dataset = dataset.map_batches(join, batch_size=several, num_cpus=0)
        for batch in _results(dataset):
            if merge is None:
                yield require_good(batch)
            else:
                yield from map(require_good, unpack(batch))

    def stream_tiles(self, work: TileStream, tiles: Iterable[Tile]) -> Iterator[Arrays]:
        """See `st_ray.engine.Engine.stream_tiles`; an actor of a pool is a process.

        Actors get a few tiles at a time, and as many more as their results are taken.
        """
        tiles = list(tiles)
        if self._alone and self.device == "cpu" and _pixels(tiles) <= FEW_CLASSIFIED:
            yield from work.open()(tiles)
            return
        rows = [asdict(tile) for tile in tiles]
        few = max(1, min(_TILES_AT_A_TIME, -(-len(rows) // self.workers)))
        blocks = max(1, -(-len(rows) // few))
        streamer: Any = _Streamer
        kept = ray.put(work)  # for as long as actors may have to be started again
        dataset = ray.data.from_items(rows, override_num_blocks=blocks).map_batches(
            streamer,
            fn_constructor_args=([kept], self._threads),
            batch_size=few,  # with GPUs, Ray Data wants a number
            compute=ray.data.ActorPoolStrategy(size=min(self.workers, blocks)),
            num_cpus=max(1, self.spec.threads),
            num_gpus=int(self.device == "cuda"),
        )
        for batch in _results(dataset):
            yield from map(require_good, unpack(batch))

    @property
    def _threads(self) -> int:
        """Of each worker."""
        return self.spec.threads or _threads_each(self.workers)

    def train(self, job: Job, data: TileStack | StackPlan, listen: Listen) -> None:
        """See `st_ray.engine.Engine.train`."""
        spec = replace(self.spec, device=self.device, workers=self.workers)
        train_on_workers(job, data, spec, listen)

    def _settle(self) -> None:
        """Choose device and workers by what the cluster has, or may get.

        Raises:
            SpecError: It has not enough; Ray would wait for it without end.
        """
        room = look_around()
        gpus = room.most_gpus
        if self._session.local and not torch.cuda.is_available():
            gpus = 0  # a CPU build of torch
        self.device = choose_device(self.spec.device, gpus)
        self.memory = SHARE_OF_STORE * room.store
        self.workers = choose_workers(self.spec, self.device, room)
        self._alone = self._session.started and room.nodes == 1
        settle_process(min(len(usable_cores()), self.workers * self._threads))


# Enough that a call to an actor is little beside its work, few enough that a map begun is seen.
_TILES_AT_A_TIME = 4


class _Streamer:
    """An actor that has set up its work."""

    def __init__(self, work: list[ray.ObjectRef[Any]], threads: int) -> None:
        settle_process(threads)
        stream: TileStream = ray.get(work[0])
        self._stream = stream.open()

    def __call__(self, batch: Arrays) -> dict[str, NDArray[Any]]:
        """What it makes of a few tiles; bad input comes back as data."""
        try:
            results = list(self._stream(tiles_of(batch)))
        except StRayError as error:
            results = [as_data(error)]
        return pack(results)


def _pixels(tiles: Sequence[Tile]) -> int:
    return sum(tile.height * tile.width for tile in tiles)


def _threads_each(workers: int) -> int:
    """Threads that each of some processes may use, spread over the nodes that are there."""
    cores = [node["Resources"].get("CPU", 1) for node in ray.nodes() if node["Alive"]]
    return max(1, int(min(cores)) // -(-workers // len(cores)))


def _results(dataset: ray.data.Dataset) -> Iterator[dict[str, NDArray[Any]]]:
    try:
        yield from dataset.iter_batches(batch_size=None, prefetch_batches=1)
    except ray.exceptions.RayError as error:
        raise TrainingError(f"a Ray task failed: {root_cause(error)}") from error
