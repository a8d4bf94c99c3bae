"""`st-ray plan`: what a run would take on other data and other machines, before either is there."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import psutil
from torch import nn

from st_ray.calibration import calibrate
from st_ray.config import RunSpec
from st_ray.engine import settle_process, usable_cores
from st_ray.errors import SpecError
from st_ray.forecast import Machines, Rates, Workload, forecast
from st_ray.learn.curriculum import PlannedStage
from st_ray.learn.curriculum import plan as plan_stages
from st_ray.learn.pace import time_pixel, time_sample
from st_ray.learn.presets import find_curriculum
from st_ray.recipe import Recipe, default_shape, fill_in, settle_recipe
from st_ray.spectral.scene import Scene, open_scene
from st_ray.spectral.tiles import plan_tiles
from st_ray.steps import labelled_tiles


@dataclass(frozen=True, kw_only=True, slots=True)
class Amounts:
    """What data a run would have.

    Attributes:
        pixels: Of all scenes.
        bands: Usable ones of a pixel.
        classes: Of the labels.
        labelled: Pixels with a label.
        tiles: Tiles that hold one; None: as if labels filled a tenth of each.
        value_bytes: Of a value on disk.
    """

    pixels: float
    bands: int
    classes: int
    labelled: float
    tiles: float | None = None
    value_bytes: int = 2

    def __post_init__(self) -> None:
        for name, least in (("pixels", 1), ("bands", 2), ("classes", 2), ("labelled", 1)):
            value = getattr(self, name)
            if not least <= value < math.inf:
                raise SpecError(f"{name}={value:g}: expected at least {least}")
        if self.labelled > self.pixels:
            raise SpecError(f"labelled={self.labelled:g}: expected at most pixels={self.pixels:g}")

    def tiles_of(self, side: int) -> float:
        """Tiles that hold a label."""
        if self.tiles is not None:
            return self.tiles
        most = math.ceil(self.pixels / side**2)
        return float(min(most, math.ceil(self.labelled / (_FILLED * side**2))))


_FILLED = 0.1  # of a tile that holds labels, where nobody says


def count_scene(
    spec: RunSpec | None,
    *,
    pixels: float | None = None,
    bands: int | None = None,
    classes: int | None = None,
    labelled: float | None = None,
) -> Amounts:
    """The amounts as they are given; what is not, as a scene has it.

    Raises:
        SpecError: There is neither.
        SceneError: The scene cannot be opened.
    """
    if spec is None:
        if pixels is None or bands is None:
            raise SpecError("nothing to plan for; name a scene, or give --pixels and --bands")
        few = max(1.0, 0.01 * pixels)
        return Amounts(
            pixels=pixels,
            bands=bands,
            classes=10 if classes is None else classes,
            labelled=few if labelled is None else labelled,
        )
    given = {"pixels": pixels, "bands": bands, "classes": classes, "labelled": labelled}
    told: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if not told.keys().isdisjoint(("pixels", "labelled")):
        told["tiles"] = None  # the scene's say nothing
    return amounts_of(open_scene(spec.scene, spec.tiles.side), spec, **told)


def amounts_of(scene: Scene, spec: RunSpec, **told: Any) -> Amounts:
    """What an opened scene has, but for what is told.

    Raises:
        SpecError: An amount cannot be.
    """
    tiles = plan_tiles(scene.labels.shape, spec.tiles, scene.cube.extents)
    own: dict[str, Any] = {
        "pixels": sum(extent.pixels for extent in scene.cube.extents),
        "bands": scene.cube.shape[2],
        "classes": len(scene.classes),
        "labelled": float(np.count_nonzero(scene.labels)),
        "tiles": float(len(labelled_tiles(tiles, scene.labels))),
        "value_bytes": scene.cube.dtype.itemsize,
    }
    return Amounts(**{**own, **told})


# What a unit of `st-ray plan`'s option is in `Machines`' own: GB, GB a second, milliseconds.
UNITS = {**dict.fromkeys(("memory", "store", "network", "disk", "gpu"), 1e9), "collective": 1e-3}


def machines_like(
    *,
    nodes: int = 1,
    cores: int | None = None,
    memory: float | None = None,
    store: float | None = None,
    network: float = 1.25e9,
    collective: float = 2e-3,
    disk: float | None = None,
    workers: int = 1,
    faster: float = 1.0,
    gpu: float | None = None,
) -> Machines:
    """Machines as they are described, and like this one in what is left open (None).

    Raises:
        SpecError: A number is not positive.
    """
    memory = float(psutil.virtual_memory().total) if memory is None else memory
    machines = Machines(
        nodes=nodes,
        cores=len(usable_cores()) if cores is None else cores,
        workers=workers,
        memory=memory,
        store=_STORE * memory if store is None else store,
        faster=faster,
        network=network,
        collective=collective,
        disk=disk,
        gpu=gpu,
    )
    for name, value in asdict(machines).items():
        if value is not None and not 0.0 < value < math.inf:
            given = value / UNITS.get(name, 1.0)
            raise SpecError(f"--{name} {given:g}: expected a number above 0")
    return machines


_STORE = 0.3  # of a node's memory, which is what Ray takes


def workload(spec: RunSpec, amounts: Amounts) -> tuple[Workload, Recipe]:
    """What a run of this spec on so much data has to do, and with which model.

    Raises:
        StRayError: A name is unknown, or the curriculum does not suit the bands.
    """
    spec = fill_in(spec)
    recipe = settle_recipe(spec, None, None, None)
    curriculum = find_curriculum(
        spec.curriculum, amounts.bands, spec.patch_size, default_shape(spec.backbone)
    )
    stages = plan_stages(
        curriculum,
        bands=amounts.bands,
        patch_size=spec.patch_size,
        full_epochs=spec.full_epochs,
        beta=spec.beta,
        batch_size=spec.train.batch,
    )
    model = recipe.build(
        components=stages[-1].components,
        patch_size=stages[-1].patch_size,
        classes=amounts.classes,
    )
    tiles = amounts.tiles_of(spec.tiles.side)
    train, validation = spec.split.train_fraction, spec.split.validation_fraction
    work = Workload(
        pixels=amounts.pixels,
        bands=amounts.bands,
        value_bytes=amounts.value_bytes,
        tiles=tiles,
        side=spec.tiles.side,
        halo=curriculum.patch_size // 2,
        measured=min(amounts.pixels, tiles * spec.tiles.side**2)
        if spec.basis.pixels == "train"
        else amounts.pixels,
        samples=max(1.0, amounts.labelled * train),
        scored=amounts.labelled * validation,
        tested=amounts.labelled * (1.0 - train - validation),
        mapped=amounts.pixels if spec.map else 0.0,
        stages=stages,
        parameters=sum(weight.numel() for weight in model.parameters()),
        batch_norms=sum(isinstance(layer, _BATCH_NORMS) for layer in model.modules()),
        placement=spec.cluster.placement,
        elastic=spec.cluster.least_workers is not None,
    )
    return work, recipe


_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def measure_rates(
    spec: RunSpec, work: Workload, recipe: Recipe, classes: int, *, threads: int = 1
) -> Rates:
    """The rates of this machine on so many threads, in some seconds."""
    settle_process(threads)
    step = partial(
        time_sample,
        recipe.build,
        classes=classes,
        batch_size=work.stages[-1].batch_size,
        optimizer=recipe.optimizer,
    )
    pixel = partial(time_pixel, recipe.build, classes=classes)
    return calibrate(
        work,
        spec.basis.precision,
        lambda k, side, train: step(components=k, patch_size=side, train=train),
        lambda k, side: pixel(components=k, patch_size=side),
    )


def plan_run(spec: RunSpec, amounts: Amounts, machines: Machines) -> dict[str, Any]:
    """Forecast a run, from rates measured here and now.

    Args:
        spec: Backbone, curriculum, budget, tiles, split shares.
        amounts: Of the data.
        machines: That the run would have.

    Returns:
        ``work``, ``machines``, ``rates`` (seconds a unit, one core) and ``forecast``: plain.

    Raises:
        StRayError: Bad input, in one line.
    """
    work, recipe = workload(spec, amounts)
    rates = measure_rates(spec, work, recipe, amounts.classes)
    told = forecast(work, machines, rates)
    return {
        "work": asdict(work),
        "machines": asdict(machines),
        "rates": asdict(rates),
        "described": describe_stages(work.stages),
        "forecast": {**asdict(told), "total_seconds": sum(told.seconds.values())},
    }


def describe_stages(stages: tuple[PlannedStage, ...]) -> str:
    """Components, patch and epochs of every stage, in words."""
    return ", then ".join(
        f"{stage.epochs} epochs of {stage.components} components and "
        f"{stage.patch_size}x{stage.patch_size} pixels"
        for stage in stages
    )
