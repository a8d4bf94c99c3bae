"""The training benchmark: what is measured, in which order.

For each scene and backbone the baseline's length T0 and every arm's learning rate are found on
validation pixels of a random split with a seed of its own. Then, seed by seed, all arms of a
(scene, split, backbone) are trained one after another on one worker, in an order that turns with
the seed, "full" first: its final validation OA is the target of the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from st_ray.bench.arms import Arm, Ground, find_arms, plan_arm
from st_ray.bench.cells import BenchSpec, Place, scene_digest
from st_ray.bench.ledger import CELLS_FILE, Ledger, Row
from st_ray.bench.meter import Meter, Say
from st_ray.bench.search import Found, choose_rate, shortest_length
from st_ray.bench.summary import summarise
from st_ray.bench.workers import OutOfTimeError, Task, Worker, check_cores, run_all
from st_ray.bench.write import write_bench
from st_ray.compose import installed_versions
from st_ray.engine import LocalEngine
from st_ray.errors import SpecError, TrainingError
from st_ray.learn.backbones import load_factory
from st_ray.output import RunFolder
from st_ray.recipe import default_shape, settle_recipe
from st_ray.spectral.scene import Scene, open_scene
from st_ray.spectral.split import DRAWN, settle_kind, split_labels
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
            done = run_all(bench.searches(), jobs=spec.jobs, threads=spec.threads)
            done &= run_all(bench.runs(), jobs=spec.jobs, threads=spec.threads)
        finally:
            table = bench.summary()
            write_bench(table, folder.path)
    return table, done


class _Bench:
    def __init__(self, spec: BenchSpec, ledger: Ledger, say: Say) -> None:
        self.spec, self.say = spec, say
        self.arms = find_arms(spec.arms)
        self.engine = LocalEngine(spec.base.cluster)
        self.scenes = {name: self._open(name) for name in spec.scenes}
        self.found: dict[tuple[str, str], tuple[Found, dict[str, float]]] = {}
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
            for seed, kind in ((spec.seeds[0], split), (spec.tuning_seed, "auto")):
                settings = replace(spec.base.split, kind=kind)
                split_labels(scene.labels, settings, seed, spec.base.patch_size, scene.members)
        for scene_name, backbone in product(spec.scenes, spec.backbones):
            settle_recipe(replace(spec.base, backbone=backbone), None, None, None)
            if ":" in backbone:
                load_factory(backbone)
            if (length := spec.length(backbone)) is not None:
                ground = self._ground(scene_name, backbone, length, None)
                for arm in self._arms(backbone):
                    plan_arm(arm.fit(ground), ground)

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
        full, *others = self._arms(backbone)

        def score(arm: Arm, full_epochs: int, rate: float) -> float:
            plan = arm.fit(self._ground(scene, backbone, full_epochs, worker))
            row = self.meter.measure(worker, place, arm.name, plan, rate, None)
            return _score(row)

        rate, length = self.spec.rate, self.spec.length(backbone)
        if length is not None:
            found = Found(length, rate or choose_rate(partial(score, full, length)), False)
        else:
            found = shortest_length(
                lambda n, r: score(full, n, rate or r), self.spec.first, self.spec.longest
            )
        ground = self._ground(scene, backbone, found.epochs, worker)
        rates = {full.name: rate or found.rate}
        self.found[scene, backbone] = found, rates
        late = False
        for arm in others:
            try:
                fixed = arm.fit(ground).rate or rate
                rates[arm.name] = fixed or choose_rate(partial(score, arm, found.epochs))
            except OutOfTimeError:
                late = True
        if late:
            raise OutOfTimeError
        listed = ", ".join(f"{name} {value:g}" for name, value in rates.items())
        capped = " (none three times as long was tried)" if found.capped else ""
        self.say(
            f"{scene} {backbone}: T0 = {found.epochs} epochs{capped}; learning rates: {listed}"
        )

    def _run(self, place: Place, worker: Worker) -> None:
        if (place.scene, place.backbone) not in self.found:
            raise OutOfTimeError  # its searches did not end
        found, rates = self.found[place.scene, place.backbone]
        ground = self._ground(place.scene, place.backbone, found.epochs, worker)
        first, *others = self._arms(place.backbone, place.split)
        target: float | None = None
        turn = self.spec.seeds.index(place.seed) % max(1, len(others))
        late = False
        for arm in (first, *others[turn:], *others[:turn]):
            if arm.name not in rates:
                late = True
                continue
            try:
                plan = arm.fit(ground)
                row = self.meter.measure(
                    worker, place, arm.name, plan, rates[arm.name], target, kind="run"
                )
            except OutOfTimeError:  # what comes after may have been measured by an earlier call
                late = True
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
        found = {(Path(scene).stem, backbone) for scene, backbone in self.found}
        return summarise(
            [row for row in rows if row["kind"] == "run"],
            scenes=[Path(name).stem for name in self.spec.scenes],
            searched={
                (Path(scene).stem, backbone): {
                    "full_epochs": found.epochs,
                    "capped": found.capped,
                    "rates": rates,
                }
                for (scene, backbone), (found, rates) in self.found.items()
            },
            configurations=sum((row["scene"], row["backbone"]) in found for row in looked_at),
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
        nobody = Worker(0, self.spec.threads)
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
