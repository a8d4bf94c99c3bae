"""The training benchmark: what is measured, in which order.

For each scene and backbone the baseline's length T0 and every arm's learning rate are found on
validation pixels of a random split with a seed of its own. Then, seed by seed, all arms of a
(scene, split, backbone) are trained one after another on one worker, in an order that turns with
the seed, "full" first: its final validation OA is the target of the others. Where it is neither
asked for nor known, there is no target.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from st_ray.bench.arms import Arm, Ground, find_arms, plan_arm
from st_ray.bench.cells import BenchSpec, Place, scene_digest
from st_ray.bench.ledger import CELLS_FILE, Ledger, Row
from st_ray.bench.meter import Meter, Say
from st_ray.bench.search import choose_rate, shortest_length
from st_ray.bench.summary import ORIGINS, summarise
from st_ray.bench.workers import OutOfTimeError, Task, Worker, check_cores, run_all
from st_ray.bench.write import write_bench
from st_ray.compose import installed_versions
from st_ray.engine import LocalEngine
from st_ray.errors import SpecError, TrainingError
from st_ray.learn.backbones import load_factory
from st_ray.output import RunFolder
from st_ray.recipe import default_shape, settle_recipe
from st_ray.spectral.scene import Scene, open_scene
from st_ray.spectral.split import DRAWN, Split, settle_kind, split_labels
from st_ray.spectral.tiles import plan_tiles
from st_ray.steps import inspect_bands


def run_bench(spec: BenchSpec, say: Say = print) -> tuple[dict[str, Any], bool]:
    """Measure all cells that the ledger of `spec.out` does not hold yet; write the results there.

    Returns:
        The content of bench.json, and whether all cells are measured: False if the time was over.

    Raises:
        StRayError: Bad input, in one line.
    """
    check_cores(spec.jobs, spec.threads)
    with RunFolder(spec.out) as folder:
        folder.bring(CELLS_FILE)
        bench = _Bench(spec, Ledger(folder.path, folder.keep), say)
        done = False
        try:
            run = partial(run_all, jobs=spec.jobs, threads=spec.threads, backbones=spec.backbones)
            done = run(bench.searches())
            done &= run(bench.runs())
        finally:
            table = bench.summary()
            write_bench(table, folder.path)
    return table, done


@dataclass(kw_only=True, slots=True)
class _Settled:
    """What the searches for a scene and a backbone end with.

    Attributes:
        epochs: T0.
        origin: How T0 came about: one of `ORIGINS`.
        rates: Learning rates by arm, as they are found; none of an arm that ran out of time, nor of
            a baseline that is neither asked for nor known.
    """

    epochs: int
    origin: str
    rates: dict[str, float] = field(default_factory=dict)


class _Bench:
    def __init__(self, spec: BenchSpec, ledger: Ledger, say: Say) -> None:
        self.spec, self.say = spec, say
        self.arms = find_arms(spec.arms)
        self.engine = LocalEngine(spec.base.cluster)
        self.scenes = {name: self._open(name) for name in spec.scenes}
        self.settled: dict[tuple[str, str], _Settled] = {}
        digests = {name: scene_digest(scene) for name, scene in self.scenes.items()}
        self.meter = Meter(spec, ledger, digests, self.engine.device, say)
        self._rehearse()

    def _open(self, name: str) -> Scene:
        """A scene without bad bands, as its runs will have it."""
        base = self.spec.base
        scene = open_scene(replace(base.scene, name=name), base.tiles.side)
        tiles = plan_tiles(scene.labels.shape, base.tiles, scene.cube.extents)
        return inspect_bands(self.engine, scene, tiles, base)[0]

    def _rehearse(self) -> None:
        """See that nothing is wrong that could be known before hours of work."""
        spec = self.spec
        for scene, split in product(self.scenes.values(), spec.splits):
            for seed, kind in ((spec.tuning_seed, "auto"), (spec.seeds[0], split)):
                settings = replace(spec.base.split, kind=kind)
                drawn = split_labels(
                    scene.labels, settings, seed, spec.base.patch_size, scene.members
                )
            self._check_arms(split, drawn)
        for scene_name, backbone in product(spec.scenes, spec.backbones):
            settle_recipe(replace(spec.base, backbone=backbone), None, None, None)
            if ":" in backbone:
                load_factory(backbone)
            if (length := spec.length(backbone)) is not None:
                ground = self._ground(scene_name, backbone, length, None)
                for arm in self._arms(backbone):
                    plan_arm(arm.fit(ground), ground)

    def _check_arms(self, split: str, drawn: Split) -> None:
        """See that every backbone has an arm to measure, and every patch room in a guard band."""
        for backbone in self.spec.backbones:
            arms = [arm for arm in self._arms(backbone, split) if arm.name in self.spec.arms]
            if not arms:
                raise SpecError(
                    f"--arm {', '.join(self.spec.arms)}: made for another backbone or split than "
                    f"{backbone} on {split}; ask for another arm too, such as default"
                )
            for arm in arms:
                if arm.only and "guard" in drawn.rule:
                    raise SpecError(
                        f"--split {split}: its guard band of {drawn.rule['guard']} pixels is not "
                        f"made for the patch of {arm.name}; leave out that arm, or give a split "
                        "without a guard band"
                    )

    def searches(self) -> Iterator[Task]:
        """One task for each scene and backbone: T0 and the learning rates."""
        for scene, backbone in product(self.spec.scenes, self.spec.backbones):
            yield partial(self._search, scene, backbone)

    def runs(self) -> Iterator[Task]:
        """One task for each seed, scene, split and backbone: all arms."""
        spec = self.spec
        for seed, scene, split, backbone in product(
            spec.seeds, spec.scenes, spec.splits, spec.backbones
        ):
            place = Place(scene=scene, split=split, backbone=backbone, seed=seed)
            yield partial(self._run, place)

    def _arms(self, backbone: str, split: str = "random") -> tuple[Arm, ...]:
        """Those asked for; "full" is first, asked for or not."""
        return tuple(arm for arm in self.arms if arm.suits(backbone, split))

    def _ground(self, scene: str, backbone: str, full_epochs: int, worker: Worker | None) -> Ground:
        """What arms are fitted to; without a worker, at a pace that nobody measured."""
        classes = len(self.scenes[scene].classes)
        pace = partial(self.meter.pace, worker, classes, backbone) if worker else _any_pace
        return Ground(
            bands=self.scenes[scene].cube.shape[2],
            patch_size=self.spec.base.patch_size,
            full_epochs=full_epochs,
            shape=default_shape(backbone),
            pace=pace,
        )

    def _search(self, scene: str, backbone: str, worker: Worker) -> None:
        split = settle_kind("auto", self.scenes[scene].members)
        place = Place(scene=scene, split=split, backbone=backbone, seed=self.spec.tuning_seed)
        arms = self._arms(backbone)
        full = arms[0]

        def score(arm: Arm, full_epochs: int, rate: float, *, known: bool = False) -> float:
            plan = arm.fit(self._ground(scene, backbone, full_epochs, worker))
            row = self.meter.measure(worker, place, arm.name, plan, rate, None, known=known)
            return _score(row)

        rate, length = self.spec.rate, self.spec.length(backbone)
        if length is not None:
            settled = _Settled(epochs=length, origin="given")
        else:
            found = shortest_length(
                lambda n, r: score(full, n, rate or r), self.spec.first, self.spec.longest
            )
            rates = {full.name: rate or found.rate}
            origin = "capped" if found.capped else "searched"
            settled = _Settled(epochs=found.epochs, origin=origin, rates=rates)
        ground = self._ground(scene, backbone, settled.epochs, worker)
        self.settled[scene, backbone] = settled
        late = False
        for arm in arms:
            if arm.name in settled.rates:
                continue
            asked = arm.name in self.spec.arms
            try:
                fixed = arm.fit(ground).rate or rate
                trial = partial(score, arm, settled.epochs, known=not asked)
                settled.rates[arm.name] = fixed or choose_rate(trial)
            except OutOfTimeError:
                late |= asked
        if late:
            raise OutOfTimeError
        listed = ", ".join(f"{name} {value:g}" for name, value in settled.rates.items())
        self.say(
            f"{scene} {backbone}: T0 = {settled.epochs} epochs ({ORIGINS[settled.origin]}); "
            f"learning rates: {listed}"
        )

    def _run(self, place: Place, worker: Worker) -> None:
        settled = self.settled.get((place.scene, place.backbone))
        if settled is None:
            raise OutOfTimeError  # its searches did not end
        ground = self._ground(place.scene, place.backbone, settled.epochs, worker)
        first, *others = self._arms(place.backbone, place.split)
        target: float | None = None
        turn = self.spec.seeds.index(place.seed) % max(1, len(others))
        late = False
        for arm in (first, *others[turn:], *others[:turn]):
            asked = arm.name in self.spec.arms
            if arm.name not in settled.rates:
                late |= asked
                continue
            rate = settled.rates[arm.name]
            try:
                plan = arm.fit(ground)
                row = self.meter.measure(
                    worker, place, arm.name, plan, rate, target, kind="run", known=not asked
                )
            except OutOfTimeError:  # what comes after may have been measured by an earlier call
                late |= asked
                continue
            if arm is first and "error" not in row:
                target = float(row["validation"]["oa"])
        if late:
            raise OutOfTimeError

    def summary(self) -> dict[str, Any]:
        """What is known so far, as bench.json has it."""
        self._gather()
        rows = list(self.meter.rows.values())
        looked_at = [row for row in self.meter.ledger.rows() if row["kind"] == "tune"]
        settled = {(Path(scene).stem, backbone): s for (scene, backbone), s in self.settled.items()}
        return summarise(
            [row for row in rows if row["kind"] == "run"],
            scenes=[Path(name).stem for name in self.spec.scenes],
            searched={
                place: {"full_epochs": s.epochs, "origin": s.origin, "rates": s.rates}
                for place, s in settled.items()
            },
            configurations=sum((row["scene"], row["backbone"]) in settled for row in looked_at),
            versions=installed_versions(),
        )

    def _gather(self) -> None:
        """Take in what the ledger holds, also of wider calls, without measuring anything."""
        self.meter.stop()
        self.say = _silent
        runs = [row for row in self.meter.ledger.rows() if row["kind"] == "run"]

        def also(name: str, asked: Iterable[Any]) -> tuple[Any, ...]:
            return tuple(dict.fromkeys((*asked, *sorted({row[name] for row in runs}))))

        self.spec = replace(
            self.spec,
            splits=tuple(
                split
                for split in also("split", self.spec.splits)
                if split in (*self.spec.splits, *DRAWN)
            ),
            backbones=also("backbone", self.spec.backbones),
            seeds=also("seed", self.spec.seeds),
        )
        self.arms = find_arms(also("arm", self.spec.arms))
        nobody = Worker(0, self.spec.threads, ())
        for task in (*self.searches(), *self.runs()):
            try:
                task(nobody)
            except (OutOfTimeError, SpecError, TrainingError):
                continue


def _silent(text: str) -> None:
    del text


def _any_pace(components: int, patch_size: int) -> float:
    return float(components * patch_size**2)


def _score(row: Row) -> float:
    """Validation OA, a tie broken by AA; minus infinity for a training that failed."""
    if "error" in row:
        return float("-inf")
    return float(row["validation"]["oa"]) + 1e-6 * float(row["validation"]["aa"])
