"""`st-ray bench patches`: gathering patches against what peers do, and against copying memory."""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from st_ray.bench.statistics import spread
from st_ray.config import ClusterSpec, RunSpec
from st_ray.engine import LocalEngine, settle_process
from st_ray.events import Fanout
from st_ray.learn.backbones import backbones
from st_ray.learn.curriculum import Curriculum, Stage
from st_ray.learn.job import Job
from st_ray.learn.loop import (
    PatchSource,
    epoch_order,
    remember_rates,
    stack_tensor,
    train_epoch,
)
from st_ray.learn.parallel import Share
from st_ray.learn.peers import Peers
from st_ray.learn.placement import Replicated
from st_ray.output import RunFolder
from st_ray.prepare import Run, prepare
from st_ray.recipe import fill_in, settle_recipe
from st_ray.spectral.patches import Samples, TileStack, extract_patches
from st_ray.spectral.scene import SceneSpec, open_scene

_COPIED = 256 << 20  # bytes: more than any cache holds
_STEPS = 8  # training steps that a backbone's gather is compared with, in each stage


def bench_patches(
    *,
    scene: SceneSpec,
    components: int,
    patch_size: int,
    batch_size: int,
    threads: int,
    rounds: int,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Time one pass over all labelled pixels, as patches, in several ways.

    Args:
        scene: What to cut patches from.
        components: Of a patch.
        patch_size: Pixels on a side.
        batch_size: Patches of a batch.
        threads: CPU threads of this process.
        rounds: Times that every way is measured, in turn.
        say: Told of every measurement.

    Returns:
        Ratios, sizes and seconds, as in the written JSON.
    """
    settle_process(threads)
    stage = Stage(components=components, patch_size=patch_size)
    job, stack = _prepared(scene, Curriculum(name="one stage", stages=(stage,)), "resnet2d")
    samples = _all_samples(job)
    ways = _ways(stack, samples, patch_size, batch_size)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            begun = time.perf_counter()
            way()
            if turn:  # the first pass only warms up
                seconds[name].append(time.perf_counter() - begun)
                say(f"{name}: {seconds[name][-1]:.3f} s")
    shares = {name: _gather_share(scene, name, say) for name in sorted(backbones())}
    median = {name: float(np.median(values)) for name, values in seconds.items()}
    size = components * patch_size**2 * 4
    rate = {name: len(samples) * size / median[name] for name in ("gather", "gather, relaid")}
    copying = _COPIED / median["memcpy"]
    peer = min(seconds for name, seconds in median.items() if name.startswith("DataLoader"))
    return {
        "speedup_vs_dataloader": peer / median["gather"],
        "share_of_memcpy_rate": rate["gather"] / copying,
        "store_bytes_per_labelled_pixel": stack.values_REK.nbytes / len(samples),
        "max_gather_share": max(shares.values()),
        "gather_share": shares,
        "relaid": {
            "speedup_vs_dataloader": peer / median["gather, relaid"],
            "share_of_memcpy_rate": rate["gather, relaid"] / copying,
        },
        "share_of_batch_copy_rate": median["batches copied"] / median["gather"],
        "memcpy_bytes_per_second": copying,
        "patch_bytes": size,
        "samples": len(samples),
        "seconds": {name: spread(values) for name, values in seconds.items()},
        "threads": threads,
        "components": components,
        "patch_size": patch_size,
        "batch_size": batch_size,
    }


class PixelDataset(Dataset[tuple[Tensor, int]]):
    """Patches one by one from a projected scene: how most published code does it."""

    def __init__(
        self, stack: TileStack, samples: Samples, patch_size: int, *, relaid: bool
    ) -> None:
        self.values_REK = stack.values_REK
        self.trim = stack.halo - patch_size // 2
        self.samples = samples
        self.patch_size = patch_size
        self.relaid = relaid

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """A patch (k, S, S) and its class."""
        row, col = self.samples.centres_N2[index] + self.trim
        patch_SSk = self.values_REK[row : row + self.patch_size, col : col + self.patch_size]
        patch_kSS = patch_SSk.transpose(2, 0, 1)
        if self.relaid:
            patch_kSS = np.ascontiguousarray(patch_kSS)
        return torch.from_numpy(patch_kSS), int(self.samples.targets_N[index])


def _ways(
    stack: TileStack, samples: Samples, patch_size: int, batch_size: int
) -> dict[str, Callable[[], None]]:
    values, count = stack_tensor(stack, torch.device("cpu")), len(samples)
    order_N = np.random.default_rng(0).permutation(count)
    cut = Replicated(Peers()).batches(order_N, samples, batch_size)
    batches = [torch.from_numpy(batch.index_M) for batch in cut]
    source = PatchSource.of(values, stack.halo, samples, patch_size, stack.components)
    held = torch.from_numpy(
        extract_patches(stack, samples.centres_N2[: 64 * batch_size], patch_size)
    )
    threads = torch.get_num_threads()
    blocks = np.array_split(np.ones(_COPIED, np.uint8), threads)
    others = np.array_split(np.zeros(_COPIED, np.uint8), threads)
    copiers = ThreadPoolExecutor(threads)

    def gather(way: PatchSource) -> None:
        for batch in batches:
            way.gather(batch)

    def copy_batches() -> None:
        for batch in batches:
            start = int(batch[0]) % (len(held) - len(batch) + 1)
            held[start : start + len(batch)].clone()

    def copy_block() -> None:
        list(copiers.map(np.copyto, others, blocks))

    def load(workers: int, *, relaid: bool) -> None:
        data = PixelDataset(stack, samples, patch_size, relaid=relaid)
        with warnings.catch_warnings():  # of more workers than cores, and of forks
            warnings.simplefilter("ignore")
            for _ in DataLoader(data, batch_size, shuffle=True, num_workers=workers):
                pass

    return {
        "gather": lambda: gather(replace(source, channels_last=True)),
        "gather, relaid": lambda: gather(source),
        "DataLoader, 0 workers": lambda: load(0, relaid=False),
        "DataLoader, 2 workers": lambda: load(2, relaid=False),
        "DataLoader, relaid, 0 workers": lambda: load(0, relaid=True),
        "DataLoader, relaid, 2 workers": lambda: load(2, relaid=True),
        "batches copied": copy_batches,
        "memcpy": copy_block,
    }


@dataclass(slots=True)
class _Clocked:
    """A source that notes how long it gathers."""

    source: PatchSource
    seconds: float = field(default=0.0)

    @property
    def targets_N(self) -> Tensor:
        return self.source.targets_N

    def gather(self, index_M: Tensor) -> tuple[Tensor, Tensor]:
        """See `PatchSource.gather`."""
        begun = time.perf_counter()
        gathered = self.source.gather(index_M)
        self.seconds += time.perf_counter() - begun
        return gathered

    def stream(self, batches: Sequence[NDArray[np.int64]]) -> Iterator[tuple[Tensor, Tensor]]:
        """See `PatchSource.stream`."""
        for index_M in batches:
            yield self.gather(torch.from_numpy(index_M))


def _gather_share(scene: SceneSpec, backbone: str, say: Callable[[str], None]) -> float:
    """Share of a training step that gathers, in the stages of a backbone's own default."""
    job, stack = _prepared(scene, None, backbone)
    values = stack_tensor(stack, torch.device("cpu"))
    gathering = training = 0.0
    for stage in job.stages:
        model = job.build(
            components=stage.components, patch_size=stage.patch_size, classes=job.classes
        )
        optimizer = job.optimizer(model.parameters(), job.train.peak_rate)
        remember_rates(optimizer)
        source: Any = PatchSource.of(
            values, job.halo, job.train_samples, stage.patch_size, stage.components, model
        )
        order = epoch_order(job.train_samples.targets_N, job.train.class_floor, job.seed, 0)
        cut = Replicated(Peers()).batches(order, job.train_samples, stage.batch_size)
        batches = cut[: _STEPS + 1]
        for some in (batches[:1], batches[1:] or batches):  # the first step only warms up
            clocked: Any = _Clocked(source)
            stats = train_epoch(
                model, clocked, some, optimizer, job.loss, lambda _: 1.0, Share(), Peers()
            )
        gathering += clocked.seconds * stage.epochs
        training += stats.seconds * stage.epochs
    say(f"{backbone}: gathering is {gathering / training:.2%} of a step")
    return gathering / training


def _prepared(
    scene: SceneSpec, curriculum: Curriculum | None, backbone: str
) -> tuple[Job, TileStack]:
    """Statistics and ingest of a run, in this process."""
    here = ClusterSpec(workers=0, placement="replicate")
    spec = fill_in(RunSpec(scene=scene, backbone=backbone, cluster=here))
    with tempfile.TemporaryDirectory(prefix="st_ray-bench-") as place:
        folder, engine = RunFolder(Path(place)), LocalEngine(spec.cluster)
        if curriculum is not None:
            folder.begin(spec, curriculum)
        recipe = settle_recipe(spec, None, None, None)
        made = prepare(
            Run(spec, Fanout()), recipe, engine, folder, open_scene(spec.scene, spec.tiles.side)
        )
    assert isinstance(made.data, TileStack)  # as it was asked for
    return made.job, made.data


def _all_samples(job: Job) -> Samples:
    parts = (job.train_samples, job.validation_samples, job.test_samples)
    return Samples(
        centres_N2=np.concatenate([part.centres_N2 for part in parts]),
        targets_N=np.concatenate([part.targets_N for part in parts]),
    )
