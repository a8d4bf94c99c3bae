"""What a run will take: seconds, memory, object store and network, from a short calibration.

A cost model of a few terms, each a rate measured on this machine times an amount that follows
from the plan: all pixels are surveyed and measured once, tiles with labels are projected, samples
are trained epoch by epoch and exchanged gradients cross the network. What it leaves out (Ray's
start, imports, the report) is a constant, measured by `st-ray bench tax`.

Shape letters: B bands, K components, E padded tile edge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from st_ray.engine import FEW_MEASURED, SHARE_OF_MEMORY, SHARE_OF_STORE, merging_tasks
from st_ray.learn.curriculum import PlannedStage
from st_ray.learn.fit import SHARE_OF_GPU

_GB = 1e9
# The driver's label raster and split, and what drawing the split takes, a pixel: 11 to 12.5 were
# measured between 0.4 and 40 GB.
_LABEL_BYTES = 12
_MAP_BYTES = 4  # its map, a pixel
_TILE_BYTES = 400  # the driver's plan of a tile
_FEW = 8  # samples of a batch: fewer for a worker is mostly overhead


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """What is to be done.

    Attributes:
        pixels: Of all scenes.
        bands: B.
        value_bytes: Of a value on disk.
        tiles: That hold a labelled pixel.
        side: Of a tile's core, pixels.
        halo: Margin around it.
        measured: Pixels of the tiles that the spectral basis is fitted on.
        samples: Training pixels.
        scored: Validation pixels, scored every epoch.
        tested: Test pixels, scored once.
        mapped: Pixels of the map.
        stages: As planned.
        parameters: Weights of the model.
        batch_norms: Layers that exchange statistics.
        placement: As it is asked for.
        elastic: Whether workers may be fewer than were asked for.
    """

    pixels: float
    bands: int
    value_bytes: int = 2
    tiles: float
    side: int = 64
    halo: int = 5
    measured: float
    samples: float
    scored: float
    tested: float
    mapped: float
    stages: tuple[PlannedStage, ...]
    parameters: int
    batch_norms: int = 0
    placement: Literal["auto", "replicate", "shard"] = "auto"
    elastic: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Machines:
    """What there is.

    Attributes:
        nodes: Machines.
        cores: CPU cores of each.
        workers: Training workers of all.
        memory: Bytes of each node.
        store: Bytes of each node's object store.
        faster: How many times faster a worker trains than one core here: what is known of a GPU.
            1: a worker is a core.
        network: Bytes a second between two nodes.
        collective: Seconds of an exchange of a few bytes between all workers.
        disk: Bytes a second that a node reads; None: what the calibration saw.
        gpu: Bytes of a worker's GPU, of which nothing else is taken; None: it is not looked at.
    """

    nodes: int
    cores: int
    workers: int
    memory: float
    store: float
    faster: float
    network: float
    collective: float
    disk: float | None
    gpu: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Rates:
    """What was measured, in seconds; on one core, where several share the work.

    Attributes:
        survey: Of a pixel: reading, from a file in memory, and finding bad bands.
        moments: Of a pixel: reading and adding up.
        project: Of a pixel of a padded tile: reading, projecting and stacking.
        train: Of a training sample, by stage.
        score: Of a scored sample, by stage.
        pixel: Of a pixel at the last stage where all of a tile are scored; None: as a sample.
            Test pixels are forecast at whichever is less, validation pixels as samples.
    """

    survey: float
    moments: float
    project: float
    train: tuple[float, ...]
    score: tuple[float, ...]
    pixel: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """What a run will take.

    Attributes:
        seconds: By phase.
        driver_memory: Bytes that the driver needs.
        stack: Bytes of all projected tiles.
        node_memory: Bytes that a node needs for tiles, by placement.
        node_store: Bytes of a node's object store, by placement.
        placement: The one that was asked for, or that "auto" takes.
        network: Bytes that cross between nodes, by phase.
        breaks: What does not fit, in words; the tightest first. Tiles that do not fit in every
            object store are no reason where they may be shared out.
        closest: What comes closest to its limit, or exceeds it most, in words.
    """

    seconds: dict[str, float]
    driver_memory: float
    stack: float
    node_memory: dict[str, float]
    node_store: dict[str, float]
    placement: Literal["replicate", "shard"]
    network: dict[str, float]
    breaks: tuple[str, ...]
    closest: str


def forecast(work: Workload, machines: Machines, rates: Rates) -> Forecast:
    """Put rates and amounts together.

    Survey, moments, ingest and map each read their pixels once; the slower of disk and cores
    counts.
    """
    cores = machines.nodes * machines.cores
    a_read = 0.0  # of a pixel, seconds
    if machines.disk is not None:
        a_read = work.bands * work.value_bytes / (machines.disk * machines.nodes)
    edge = work.side + 2 * work.halo
    rank = max(stage.components for stage in work.stages)
    stack = work.tiles * edge**2 * rank * 4.0
    workers = max(1, machines.workers)
    trainers = workers * machines.faster
    steps = sum(stage.epochs * work.samples / stage.batch_size for stage in work.stages)
    training = scoring = 0.0
    for stage, train, score in zip(work.stages, rates.train, rates.score, strict=True):
        training += stage.epochs * work.samples * train / trainers
        scoring += stage.epochs * work.scored * score / trainers
    a_pixel = rates.score[-1] if rates.pixel is None else rates.pixel
    testing = min(work.tested * rates.score[-1], work.tiles * work.side**2 * a_pixel)
    a_pixel_read = rates.project * edge**2 / work.side**2  # with its share of the margin
    if machines.faster > 1.0:  # a process of each GPU reads a tile while the one before is mapped
        a_map = max(a_pixel / trainers, a_pixel_read / workers, a_read)
    else:
        a_map = max((a_pixel + a_pixel_read) / cores, a_read)
    memory, placement = machines.memory, work.placement
    if placement == "auto":
        placement = "replicate" if stack <= SHARE_OF_STORE * machines.store else "shard"
    projectors = cores if placement == "replicate" else min(workers, cores)
    exchanged = 2.0 * 4.0 * work.parameters * steps * (workers - 1)
    between = exchanged if machines.nodes > 1 else 0.0
    collectives = steps * machines.collective * (1 + 2 * work.batch_norms) if workers > 1 else 0.0
    seconds = {
        "survey": work.pixels * max(rates.survey / cores, a_read),
        "moments": work.measured * max(rates.moments / cores, a_read),
        "ingest": work.tiles * edge**2 * max(rates.project / projectors, a_read),
        "training": training,
        "collectives": collectives + between / (machines.network * machines.nodes),
        "scoring": scoring + testing / trainers,
        "map": work.mapped * a_map,
    }
    parts = max(merging_tasks(work.pixels / work.side**2, work.side, cores), 2.0 * cores)
    if work.pixels <= FEW_MEASURED:  # by the driver
        parts = 0.0
    network = {
        "moments": 8.0 * work.bands**2 * parts if machines.nodes > 1 else 0.0,
        "tiles, replicated": stack * (machines.nodes - 1),
        "gradients": between,
    }
    node_memory = {"replicate": stack, "shard": stack / machines.nodes}
    node_store = {"replicate": stack, "shard": 0.0}
    driver = work.pixels * (_LABEL_BYTES + _TILE_BYTES / work.side**2) + work.mapped * _MAP_BYTES
    if placement == "replicate":
        share = SHARE_OF_STORE if work.placement == "auto" else 1.0
        limits = [
            ("the driver's label rasters and tiles, and the store's", driver + 2 * stack, memory),
            ("replicated tiles in a node's object store", stack, share * machines.store),
        ]
    else:
        own = stack / machines.nodes
        limits = [
            ("the driver's label rasters and plan of tiles", driver, memory),
            ("a node's shard of the tiles, in memory", own, SHARE_OF_MEMORY * memory),
        ]
    if machines.gpu is not None:
        name, held = "a worker's shard of the tiles in its GPU's memory", stack / workers
        if placement == "replicate":
            name = f"replicated tiles in a GPU's memory (shared out: {held / _GB:.1f} GB)"
            held = stack
        limits.append((name, held, SHARE_OF_GPU * machines.gpu))
    tight = sorted(limits, key=lambda limit: limit[1] / limit[2], reverse=True)
    breaks = tuple(_told(*limit) for limit in tight if limit[1] > limit[2])
    few = min(stage.batch_size for stage in work.stages) / workers
    if few < _FEW:
        breaks += (
            f"a worker's share of a batch: {few:.3g} samples; enlarge --set train.batch_size",
        )
    if work.elastic and placement == "shard":
        breaks += ("cluster.least_workers: tiles that are shared out tie a run to its workers",)
    return Forecast(
        seconds=seconds,
        driver_memory=driver,
        stack=stack,
        node_memory=node_memory,
        node_store=node_store,
        placement=placement,
        network=network,
        breaks=breaks,
        closest=_told(*tight[0]),
    )


def _told(name: str, need: float, have: float) -> str:
    return f"{name}: {need / _GB:.1f} GB, {have / _GB:.1f} GB at hand"
