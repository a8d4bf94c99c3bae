"""What a benchmark is asked for, and what decides one of its cells."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from st_ray.bench.arms import ArmPlan, find_arms
from st_ray.bench.ledger import key_of
from st_ray.bench.search import LEAST_LENGTH
from st_ray.config import RunSpec, assign, flatten, spec_from_table, spec_to_table
from st_ray.errors import SpecError
from st_ray.learn.backbones import backbone_entry
from st_ray.learn.curriculum import Curriculum
from st_ray.recipe import fill_in
from st_ray.spectral.scene import Scene
from st_ray.spectral.split import DRAWN, NAMED
from st_ray.spectral.splitfile import short_name

# Raised when a change of the code makes measured cells out of date.
FORMAT = 1
# Share of each class to validate on, in searches and, unless told otherwise, in runs: 5 % of Indian
# Pines would be 512 pixels, on which half a point is luck.
VALIDATION = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchSpec:
    """A training benchmark.

    Attributes:
        base: Settings that all runs share.
        scenes: Registered names or paths.
        splits: "random", "disjoint", or mask files.
        backbones: Registered names, or "package.module:function".
        arms: Names of `st_ray.bench.arms.ARMS`; without "full" they are compared with each other,
            and with "full" only where it is known.
        seeds: Of the runs.
        tuning_seed: Of the searches; none of the seeds.
        full_epochs: T0; None: searched.
        full_epochs_of: T0 of single backbones, before `full_epochs`.
        first: Epochs that the search for T0 begins with.
        longest: Epochs that it tries at most.
        rate: Learning rate of all arms; None: searched for each.
        threads: Of every run.
        jobs: Runs at a time, each on cores of its own.
        out: Directory, a path or URI.
        max_hours: No cell is begun after that; None: no limit.
    """

    base: RunSpec = field(default_factory=RunSpec)
    scenes: tuple[str, ...] = ("indian_pines",)
    splits: tuple[str, ...] = ("random",)
    backbones: tuple[str, ...] = ("resnet2d",)
    arms: tuple[str, ...] = ("full", "default")
    seeds: tuple[int, ...] = (0, 1, 2)
    tuning_seed: int = 1000
    full_epochs: int | None = None
    full_epochs_of: Mapping[str, int] = field(default_factory=dict)
    first: int = 30
    longest: int = 270
    rate: float | None = None
    threads: int = 1
    jobs: int = 1
    out: str = "runs/bench"
    max_hours: float | None = None

    def __post_init__(self) -> None:
        for name in ("scenes", "splits", "backbones", "arms", "seeds"):
            values = getattr(self, name)
            if not values:
                raise SpecError(f"bench: no {name} given; give at least one")
            if len(set(values)) < len(values):
                raise SpecError(f"bench: {name} {list(values)} name one twice")
        scenes = [Path(name).stem for name in self.scenes]
        splits = [short_name(name) for name in self.splits]
        for what, names in (("scenes", scenes), ("splits", splits)):
            if len(set(names)) < len(names):
                raise SpecError(f"bench: {what} {names} have one name; rename one of the files")
        for name in self.backbones:
            if ":" not in name:
                backbone_entry(name)
        find_arms(self.arms)
        if self.tuning_seed in self.seeds:
            raise SpecError(
                f"--tuning-seed {self.tuning_seed} is one of the seeds; the searches must not see "
                "what is reported: choose another"
            )
        replace(self.base.train, learning_rate=self.rate)  # checks it
        for name in ("threads", "jobs"):
            if getattr(self, name) < 1:
                raise SpecError(f"--{name} {getattr(self, name)}: expected at least 1")
        if self.first < LEAST_LENGTH:
            raise SpecError(f"--first {self.first}: expected at least {LEAST_LENGTH} epochs")
        if self.longest < self.first:
            raise SpecError(
                f"--longest {self.longest}: expected at least the {self.first} epochs that the "
                "search for T0 begins with (--first)"
            )
        for name in self.full_epochs_of:
            if name not in self.backbones:
                raise SpecError(f"--full-epochs {name}=…: no such --backbone is asked for")
        for epochs in (self.full_epochs, *self.full_epochs_of.values()):
            if epochs is not None and epochs < 1:
                raise SpecError(f"--full-epochs {epochs}: expected at least 1")

    def length(self, backbone: str) -> int | None:
        """T0 of a backbone; None: searched."""
        return self.full_epochs_of.get(backbone, self.full_epochs)


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a search or a run takes place."""

    scene: str
    split: str
    backbone: str
    seed: int


def run_spec(bench: BenchSpec, place: Place, arm: str, plan: ArmPlan, rate: float) -> RunSpec:
    """The run that a cell is."""
    base = bench.base
    table = spec_to_table(base)
    settings: dict[str, Any] = {
        "scene.name": place.scene,
        "split.kind": place.split,
        "backbone": place.backbone,
        "seed": place.seed,
        "curriculum": arm,
        "epochs": plan.epochs,
        "beta": plan.beta,
        "train.learning_rate": rate,
        "cluster.workers": 0,
        "cluster.threads": bench.threads,
        "map": False,
        **plan.settings,
    }
    if place.split in DRAWN and base.split.guard is None:
        settings["split.guard"] = base.patch_size // 2  # the same pixels for every arm
    if base.train.batch_size is not None:  # asked for: all arms have it, the plain ones too
        settings["train.batch_size"] = base.train.batch_size
    if place.seed == bench.tuning_seed:
        settings["split.validation_fraction"] = VALIDATION
    for name, value in settings.items():
        assign(table, name, value)
    return fill_in(spec_from_table(table))


def names_of(place: Place) -> dict[str, str]:
    """What tables call the scene and the split."""
    return {"scene": Path(place.scene).stem, "split": short_name(place.split)}


def facts_of(place: Place, arm: str, rate: float) -> dict[str, Any]:
    """What a row says of its cell, for people."""
    return {**asdict(place), **names_of(place), "arm": arm, "rate": rate}


def cell_key(kind: str, plan: ArmPlan, spec: RunSpec, digests: Mapping[str, str]) -> str:
    """The key of a cell in the ledger: the hash of all that decides it.

    Args:
        kind: "tune" or "run".
        plan: Of the arm.
        spec: Of the run, with nothing left open.
        digests: What the files are that the spec names, by the setting that names them.
    """
    settings = flatten(spec_to_table(spec))
    for name in _NO_EFFECT:
        settings.pop(name, None)
    settings = {name: value for name, value in settings.items() if _USUAL.get(name) != value}
    return key_of(
        {
            **settings,
            **digests,
            "kind": kind,
            "curriculum": _plain(plan.curriculum),
            "format": FORMAT,
        }
    )


def _plain(curriculum: Curriculum) -> dict[str, Any]:
    """Its fields, without those that were added since the first cells and say nothing."""
    added = ("learning_rate", "whitening")
    table = asdict(curriculum)
    return {name: table[name] for name in table if name not in added or table[name] is not None}


def scene_digest(scene: Scene) -> str:
    """A hash of the labels, the cube's shape and some of its spectra, wherever the files lie."""
    rows, cols, _ = scene.cube.shape
    spectra = scene.cube.read(slice(rows // 2, rows // 2 + 1), slice(0, cols))
    parts = (scene.labels.tobytes(), repr(scene.cube.shape).encode(), spectra.tobytes())
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def split_digest(split: str) -> str:
    """A drawn or published split's name, or a hash of a mask's file."""
    return split if split in NAMED else hashlib.sha256(Path(split).read_bytes()).hexdigest()[:16]


# Given by digests, by the curriculum's own stages, or without an effect on the result.
_NO_EFFECT = (
    "scene.name",
    "scene.labels",
    "split.kind",
    "split.test_path",
    "split.folder",
    "curriculum",
    "map",
    "out",
    "cluster.workers",
    "cluster.least_workers",
    "cluster.max_failures",
)
# Settings that were added since the first cells were measured, at the value that those had: a
# cell without the setting is one with this value.
_USUAL: dict[str, Any] = {
    "basis.precision": "exact",
    "cluster.placement": "auto",
    "patches": None,
    "scene.resample": False,
    "split.pixels_per_scene": None,
    "train.flips": False,
}
