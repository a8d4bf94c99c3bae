"""What all trials of a search share: data, paces, and the schedule that "default" is."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from st_ray.bench.cells import VALIDATION
from st_ray.bench.ledger import Ledger, key_of
from st_ray.config import RunSpec, anchor
from st_ray.engine import Engine, LocalEngine, settle_process
from st_ray.errors import SpecError
from st_ray.events import Fanout
from st_ray.learn import pace
from st_ray.learn.curriculum import Curriculum, Stage, plan
from st_ray.learn.job import Job
from st_ray.learn.loop import epoch_order
from st_ray.learn.presets import default, odd
from st_ray.output import RunFolder
from st_ray.prepare import Run, prepare
from st_ray.recipe import Recipe, default_shape, fill_in, settle_recipe
from st_ray.search.schedule import Leg, Schedule, joined
from st_ray.search.space import Space
from st_ray.search.spec import SearchSpec, most_cost
from st_ray.search.trial import Ground, Variant
from st_ray.spectral.patches import TileStack
from st_ray.spectral.scene import Scene, open_scene
from st_ray.spectral.split import DRAWN, SplitSpec

_COMPONENTS, _GROUPS = (10, 20, 30, 45, 60, 90), (25, 33, 50, 66, 100)
_PATCHES = (0.45, 0.64, 0.82, 1.0)  # of the full patch's side
_WHITENINGS = (0.0, 0.25, 0.5)
_SMALL = 1 << 29  # values of a cube


def settle_base(base: RunSpec) -> RunSpec:
    """Settings of all trials: enough pixels to validate on, and the same ones for every patch."""
    split = base.split
    if split.validation_fraction == SplitSpec().validation_fraction:
        split = replace(split, validation_fraction=VALIDATION)
    if split.kind in DRAWN and split.guard is None:
        split = replace(split, guard=base.patch_size // 2)
    return replace(fill_in(replace(base, curriculum="default")), split=split, map=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """Where a search takes place.

    Attributes:
        base: Settled settings.
        scene: Opened.
        control: The schedule that "default" is.
        ground: Data and paces.
        ladders: Components, patch sizes and whitenings that schedules are made of.
    """

    base: RunSpec
    scene: Scene
    control: Schedule
    ground: Ground
    ladders: tuple[tuple[int, ...], tuple[int, ...], tuple[float, ...]]

    @property
    def unit(self) -> float:
        """Predicted seconds of "default"."""
        return self.control.cost(self.ground.epoch_cost)

    @property
    def facts(self) -> str:
        """What decides all trials; plain."""
        prints = sorted(job.fingerprint for job in self.ground.jobs.values())
        return key_of([prints, self.base.seed])

    def space(self, spec: SearchSpec) -> Space:
        """The search space.

        Raises:
            SpecError: The budget is too small for anything.
        """
        components, patch_sizes, whitenings = self.ladders
        train, most = self.base.train, most_cost(spec)
        return Space(
            components=components,
            patch_sizes=patch_sizes,
            whitenings=whitenings,
            most_stages=spec.stages,
            rate=train.peak_rate,
            batch_size=train.batch,
            whitening=self.control.whitening,
            epochs=self.base.full_epochs,
            axis=self.control.axis,
            budget=None if most is None else most * self.unit,
            filled=spec.goal == "accuracy",
            epoch_cost=self.ground.epoch_cost,
        )


def open_field(spec: SearchSpec, engine: Engine, ledger: Ledger, place: str) -> Field:
    """Open the scene, prepare its data in every variant, and time the sizes of the ladders.

    Raises:
        StRayError: Bad input, in one line.
    """
    base = settle_base(anchor(spec.base))
    if engine.device == "cuda" and not torch.cuda.is_available():
        raise SpecError(
            "the trials would train on GPUs, but this process has none to time them on; run the "
            "search on a node with a GPU, or with --device cpu"
        )
    recipe = settle_recipe(base, None, None, None)
    scene = open_scene(base.scene, base.tiles.side)
    bands = scene.cube.shape[2]
    named = default(bands, base.patch_size, default_shape(base.backbone))
    control = control_schedule(named, base, bands)
    ladders = _ladders(spec, base, control, bands)
    most = max(*components_of(control), *ladders[0])
    # Starting Ray Data for each variant would take longer than most scenes do here.
    small = math.prod(scene.cube.shape) < _SMALL
    where = LocalEngine(replace(base.cluster, device="cpu")) if small else engine
    prepared = dict(_prepare(_variants(control, ladders), base, recipe, where, scene, most))
    jobs = {variant: job for variant, (job, _) in prepared.items()}
    job = next(iter(jobs.values()))
    order = epoch_order(job.train_samples.targets_N, job.train.class_floor, job.seed, 0)
    sizes = {(leg.components, leg.patch_size) for leg in control.legs}
    sizes |= {(k, b) for k in ladders[0] for b in ladders[1]}
    settle_process(max(1, base.cluster.threads))
    ground = Ground(
        jobs=jobs,
        stacks={variant: stack for variant, (_, stack) in prepared.items()},
        paces=measure_paces(sorted(sizes), job, ledger, engine.device),
        samples=len(order),
        place=place,
    )
    return Field(base=base, scene=scene, control=control, ground=ground, ladders=ladders)


def control_schedule(named: Curriculum, base: RunSpec, bands: int) -> Schedule:
    """The curriculum "default" as a schedule."""
    stages = plan(
        named,
        bands=bands,
        patch_size=base.patch_size,
        full_epochs=base.full_epochs,
        beta=base.beta,
        batch_size=base.train.batch,
    )
    legs = [
        Leg(
            components=stage.components,
            patch_size=stage.patch_size,
            epochs=stage.epochs,
            batch_size=stage.batch_size,
        )
        for stage in stages
    ]
    return Schedule(
        legs=joined(legs),
        axis=named.axis,
        learning_rate=base.train.peak_rate,
        whitening=base.basis.exponent,
    )


def components_of(schedule: Schedule) -> set[int]:
    """Of all stages."""
    return {leg.components for leg in schedule.legs}


def _ladders(
    spec: SearchSpec, base: RunSpec, control: Schedule, bands: int
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[float, ...]]:
    usual = _COMPONENTS if control.axis == "components" else _GROUPS
    own = components_of(control)
    components = spec.components or sorted({k for k in usual if k <= bands} | own)
    patches = spec.patch_sizes or sorted({odd(share * base.patch_size) for share in _PATCHES})
    whitenings = spec.whitenings or (_WHITENINGS if control.axis == "components" else (0.0,))
    over = [k for k in components if not 1 <= k <= bands]
    if over:
        raise SpecError(f"--components {over[0]}: the scene has {bands} usable bands")
    wide = [b for b in patches if b > base.patch_size]
    if wide:
        raise SpecError(
            f"--patches {wide[0]}: larger than the full patch of {base.patch_size}; "
            "raise --patch-size"
        )
    return tuple(components), tuple(patches), tuple(whitenings)


def _variants(
    control: Schedule, ladders: tuple[tuple[int, ...], tuple[int, ...], tuple[float, ...]]
) -> list[Variant]:
    components, _, whitenings = ladders
    if control.axis == "components":
        asked = [Variant("components", 0, exponent) for exponent in whitenings]
    else:
        asked = [
            Variant(control.axis, rank, exponent) for rank in components for exponent in whitenings
        ]
    return list(dict.fromkeys([Variant.of(control), *asked]))


def _prepare(
    variants: Iterable[Variant],
    base: RunSpec,
    recipe: Recipe,
    engine: Engine,
    scene: Scene,
    most: int,
) -> Iterator[tuple[Variant, tuple[Job, TileStack]]]:
    """Each variant's job and tiles, for the most components and the largest patch."""
    for variant in variants:
        spec = replace(base, basis=replace(base.basis, whitening=variant.whitening))
        stage = Stage(components=variant.rank or most, patch_size=base.patch_size)
        widest = Curriculum(name="widest", stages=(stage,), axis=variant.axis)
        with tempfile.TemporaryDirectory(prefix="st_ray-search-") as place:
            folder = RunFolder(Path(place))
            folder.begin(spec, widest)
            made = prepare(Run(spec, Fanout()), recipe, engine, folder, scene)
        if not isinstance(made.data, TileStack):
            raise SpecError(
                "the projected tiles do not fit into memory; search on a part of the scene, "
                "or with fewer --components"
            )
        yield variant, (made.job, made.data)


def measure_paces(
    sizes: Iterable[tuple[int, int]], job: Job, ledger: Ledger, device: str
) -> Mapping[tuple[int, int], float]:
    """Seconds of a training sample at each (components, patch size): once for a search.

    All costs of a search are predicted from these, so that they can be compared whatever else
    the machine did. Each is the least of a few rounds over all sizes: other work, which comes and
    goes, can only make a step slower, and would make one size look dear beside another.
    """
    facts = {(k, side): {"kind": "pace", "components": k, "patch_size": side} for k, side in sizes}
    settings = job.fingerprint, job.train.batch, device
    keys = {size: key_of([row, *settings]) for size, row in facts.items()}
    missing = [size for size in facts if ledger.get(keys[size]) is None]
    spent: dict[tuple[int, int], list[float]] = {size: [] for size in missing}
    for _ in range(_PACE_ROUNDS):
        for k, side in missing:
            seconds = pace.time_sample(
                job.build,
                components=k,
                patch_size=side,
                classes=job.classes,
                batch_size=job.train.batch,
                optimizer=job.optimizer,
                device=device,
            )
            spent[k, side].append(seconds)
    for size, rounds in spent.items():
        ledger.add(keys[size], {**facts[size], "seconds": min(rounds)})
    rows = {size: ledger.get(key) for size, key in keys.items()}
    return {size: float(row["seconds"]) for size, row in rows.items() if row is not None}


_PACE_ROUNDS = 3
