"""Where work runs: in this process, or on Ray. The pipeline sees only `Engine`.

This module does not import ray; `open_engine` reaches for st_ray.cluster when workers are asked
for.
"""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Literal, Protocol, Self

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from st_ray.config import ClusterSpec
from st_ray.errors import SpecError
from st_ray.learn.fit import Listen, fit
from st_ray.learn.job import Job
from st_ray.learn.peers import Peers
from st_ray.spectral.ingest import StackPlan
from st_ray.spectral.patches import TileStack
from st_ray.spectral.tiles import Tile, crop
from st_ray.spectral.work import Arrays, Merge, TileStream, TileWork


class Engine(Protocol):
    """What the pipeline needs of a place to run.

    Attributes:
        workers: Training workers; 0 = this process. A cluster's are known once it is entered.
        device: "cpu" or "cuda", likewise.
        memory: Bytes of projected tiles that every worker can hold.
    """

    workers: int
    device: Literal["cpu", "cuda"]
    memory: float

    def __enter__(self) -> Self:
        """Start it."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it."""

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
        """Run work over blocks of tiles, in no particular order.

        Args:
            work: What to do with a block.
            tiles: The plan, or a part of it.
            side: Side of a full core, pixels.
            raster_HW: Its crop under each tile is handed to the work, to be read.
            merge: Makes one result of several, in any order and grouping; then few come back,
                however many tiles there are.
            heavy: It takes far longer than measuring a tile: not to be done by the driver alone,
                however few the tiles.
        """

    def stream_tiles(self, work: TileStream, tiles: Iterable[Tile]) -> Iterator[Arrays]:
        """Run work that is set up once a process over tiles, on this engine's device.

        Results come tile by tile, in no particular order, and no faster than they are taken:
        memory does not grow with the number of tiles.
        """

    def train(self, job: Job, data: TileStack | StackPlan, listen: Listen) -> None:
        """Run `fit` on all workers; the outcome is in `job.folder` afterwards.

        Args:
            job: What to train.
            data: All tiles; or, where `job.shards` says whose they are, how to make them.
            listen: Told of epochs.
        """


# A block's results are held at once, so blocks of many or large tiles would cost memory.
_TILES_PER_BLOCK, _PIXELS_PER_BLOCK = 16, 16 * 64**2


def tiles_per_block(side: int) -> int:
    """How many tiles with a core of this side, in pixels, are worked on at once."""
    return max(1, min(_TILES_PER_BLOCK, _PIXELS_PER_BLOCK // side**2))


# Work whose results are merged: a task costs Ray a tenth of a second, so there are few for a CPU;
# but a lost node loses its tasks, so none has many blocks.
_TASKS_PER_CPU, _BLOCKS_PER_TASK = 4, 32


def merging_tasks(tiles: float, side: int, cpus: int) -> int:
    """In how many tasks a cluster of so many CPUs measures tiles; each gives one result."""
    blocks = math.ceil(tiles / tiles_per_block(side))
    return math.ceil(blocks / min(_BLOCKS_PER_TASK, max(1, blocks // (_TASKS_PER_CPU * cpus))))


# Pixels that one process has measured, or classified, before Ray's have begun: it takes a second
# for 200 bands of them where Ray Data takes five to start, and actors that classify import torch.
FEW_MEASURED, FEW_CLASSIFIED = 4 * _PIXELS_PER_BLOCK, _PIXELS_PER_BLOCK


def map_here(
    work: TileWork,
    tiles: Sequence[Tile],
    side: int,
    raster_HW: NDArray[np.generic] | None = None,
) -> Iterator[Arrays]:
    """`Engine.map_tiles` in this process; the caller merges what it gives one by one."""
    each = tiles_per_block(side)
    for start in range(0, len(tiles), each):
        block = tiles[start : start + each]
        yield work(block, [_crop_or_nothing(raster_HW, tile, side) for tile in block])


class LocalEngine:
    """Everything in this process: for debugging, and as Ray's yardstick."""

    def __init__(self, spec: ClusterSpec) -> None:
        self.workers = 0
        self.device: Literal["cpu", "cuda"] = choose_device(spec.device, _own_gpus())
        self.threads = spec.threads
        self.memory = free_memory() * SHARE_OF_MEMORY

    def __enter__(self) -> Self:
        settle_process(self.threads or len(usable_cores()))
        return self

    def __exit__(self, *unused: object) -> None:
        return None

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
        """See `Engine.map_tiles`."""
        del merge, heavy
        yield from map_here(work, tiles, side, raster_HW)

    def stream_tiles(self, work: TileStream, tiles: Iterable[Tile]) -> Iterator[Arrays]:
        """See `Engine.stream_tiles`."""
        yield from work.open()(tiles)

    def train(self, job: Job, data: TileStack | StackPlan, listen: Listen) -> None:
        """See `Engine.train`."""
        with hold(data, job, 0, self.memory) as stack:
            fit(job, stack, peers=Peers(), device=torch.device(self.device), listen=listen)


@contextmanager
def hold(data: TileStack | StackPlan, job: Job, worker: int, memory: float) -> Iterator[TileStack]:
    """What a worker trains on: the whole stack, or its shard, made here."""
    if isinstance(data, TileStack):
        yield data
    else:
        assert job.shards is not None  # `st_ray.steps.ingest` sees to it
        with data.build(job.shards[worker], job.shards[worker + 1], memory) as stack:
            yield stack


def free_memory() -> float:
    """Bytes of memory that this machine could still give."""
    return float(psutil.virtual_memory().available)


# For projected tiles: of a process's free memory, and of the smallest node's object store.
SHARE_OF_MEMORY, SHARE_OF_STORE = 0.25, 0.3


def open_engine(spec: ClusterSpec, *, verbose: bool = False) -> Engine:
    """The engine a spec asks for.

    Raises:
        SpecError: CUDA is asked for and this process has none, or Ray is not installed.
    """
    if spec.workers == 0:
        return LocalEngine(spec)
    try:
        from st_ray.cluster.engine import RayEngine
    except ModuleNotFoundError as error:
        asked = "training" if spec.workers is None else f"--workers {spec.workers}"
        raise SpecError(
            f"{asked} needs Ray ({error}); install 'ray[default,data,train,tune]' "
            "or use --workers 0"
        ) from None
    return RayEngine(spec, verbose=verbose)


def choose_device(wanted: str, gpus: int) -> Literal["cpu", "cuda"]:
    """CUDA where it is asked for, or where there is any and it is left open.

    Raises:
        SpecError: It is asked for, and there is none.
    """
    if wanted == "cuda" and gpus == 0:
        raise SpecError("--device cuda: there is no CUDA device here; use --device cpu or auto")
    return "cuda" if gpus and wanted != "cpu" else "cpu"


def _own_gpus() -> int:
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _crop_or_nothing(
    raster_HW: NDArray[np.generic] | None, tile: Tile, side: int
) -> NDArray[np.generic]:
    """The raster under a tile; an empty array where there is none."""
    return np.empty(0) if raster_HW is None else crop(raster_HW, tile, side)


def settle_process(threads: int) -> None:
    """Fix what makes one process incomparable with another: threads, malloc, cuDNN's choices.

    glibc gives large blocks back to the system on every free, which slows models with large
    activations (the full-spectrum baseline above all) by up to 1.9 times; both thresholds are
    raised for every run alike. numpy's BLAS would take every core whatever torch is told, and its
    threads wait busily for one whose core another process has. All of this outlives the run.
    """
    torch.set_num_threads(threads)
    threadpool_limits(threads, "blas")
    torch.backends.cudnn.deterministic = True  # a resumed run repeats what it replaces
    torch.backends.cudnn.benchmark = False
    call_glibc("mallopt", _M_MMAP_THRESHOLD, 1 << 30)
    call_glibc("mallopt", _M_TRIM_THRESHOLD, 1 << 30)


def usable_cores() -> list[int]:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def call_glibc(name: str, *arguments: int) -> None:
    """Call a function of glibc; with another C library, nothing happens."""
    try:
        getattr(ctypes.CDLL("libc.so.6"), name)(*arguments)
    except (OSError, AttributeError):
        return


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
