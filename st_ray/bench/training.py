"""The training benchmark: what is measured, in which order.

For each scene and backbone the baseline's length T0 and every arm's learning rate are found on
validation pixels of a random split with a seed of its own. Then, seed by seed, all arms of a
(scene, split, backbone) are trained one after another on one worker, in an order that turns with
the seed, "full" first: its final validation OA is the target of the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from st_ray.bench.arms import Arm, ArmPlan, Ground, find_arms
from st_ray.bench.cells import FORMAT, BenchSpec, Place, cell_key, facts_of, run_spec
from st_ray.bench.ledger import Ledger, Row, key_of
from st_ray.bench.measure import measure, time_sample
from st_ray.bench.search import choose_rate, shortest_length
from st_ray.bench.summary import summarise
from st_ray.bench.workers import OutOfTimeError, Task, Worker, WorkerDiedError, check_cores, run_all
from st_ray.bench.write import write_bench
from st_ray.compose import installed_versions
from st_ray.errors import StRayError
from st_ray.learn.backbones import backbone_entry
from st_ray.spectral.scene import Scene, open_scene
from st_ray.spectral.split import split_labels

Say = Callable[[str], None]


def run_bench(spec: BenchSpec, say: Say = print) -> tuple[dict[str, Any], bool]:
    """Measure all cells that the ledger of `spec.out` does not hold yet; write the results there.

    Returns:
        The content of bench.json, and whether all cells are measured: False if the time was over.

    Raises:
        StRayError: Bad input, in one line.
    """
    check_cores(spec.jobs, spec.threads)
    bench = _Bench(spec, Ledger(Path(spec.out)), say)
    done = False
    try:
        done = run_all(bench.searches(), jobs=spec.jobs, threads=spec.threads)
        done &= run_all(bench.runs(), jobs=spec.jobs, threads=spec.threads)
    finally:
        table = bench.summary()
        write_bench(table, Path(spec.out))
    return table, done


class _Bench:
    def __init__(self, spec: BenchSpec, ledger: Ledger, say: Say) -> None:
        self.spec, self.ledger, self.say = spec, ledger, say
        self.arms = find_arms(spec.arms)
        self.scenes = {
            name: open_scene(replace(spec.base.scene, name=name)) for name in spec.scenes
        }
        for scene, split in product(self.scenes.values(), spec.splits):
            settings = replace(spec.base.split, kind=split)  # a wrong one must not cost hours
            split_labels(scene.labels, settings, spec.seeds[0], spec.base.patch_size)
        self.found: dict[tuple[str, str], tuple[Ground, dict[str, float]]] = {}
        self.rows: dict[str, Row] = {}
        hours = spec.max_hours
        self.deadline = None if hours is None else time.monotonic() + 3600 * hours

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

    def _arms(self, backbone: str) -> tuple[Arm, ...]:
        return tuple(arm for arm in self.arms if not arm.only or backbone in arm.only)

    def _search(self, scene: str, backbone: str, worker: Worker) -> None:
        place = Place(scene=scene, split="random", backbone=backbone, seed=self.spec.tuning_seed)
        opened = self.scenes[scene]
        full = self._arms(backbone)[0]
        assert full.name == "full"

        def ground(full_epochs: int) -> Ground:
            return Ground(
                bands=opened.cube.shape[2],
                patch_size=self.spec.base.patch_size,
                full_epochs=full_epochs,
                shape=backbone_entry(backbone).shape,
                pace=lambda k, side: self._pace(worker, opened, backbone, k, side),
            )

        def score(arm: Arm, full_epochs: int, rate: float) -> float:
            row = self._measure(worker, place, arm.name, arm.fit(ground(full_epochs)), rate, None)
            return float("-inf") if "error" in row else float(row["validation"]["oa"])

        length, rate = self.spec.full_epochs, self.spec.rate
        if length is None:
            length, best = shortest_length(
                lambda n, r: score(full, n, rate or r), longest=self.spec.longest
            )
            rates = {"full": rate or best}
        else:
            rates = {}
        settled = ground(length)
        for arm in self._arms(backbone):
            if arm.name not in rates:
                fixed = arm.fit(settled).rate or rate
                rates[arm.name] = fixed or choose_rate(partial(score, arm, length))
        self.found[scene, backbone] = settled, rates
        listed = ", ".join(f"{name} {rate:g}" for name, rate in rates.items())
        self.say(f"{scene} {backbone}: T0 = {length} epochs; learning rates: {listed}")

    def _run(self, place: Place, worker: Worker) -> None:
        if (place.scene, place.backbone) not in self.found:
            raise OutOfTimeError  # its searches did not end
        ground, rates = self.found[place.scene, place.backbone]
        ground = replace(
            ground,
            pace=lambda k, side: self._pace(
                worker, self.scenes[place.scene], place.backbone, k, side
            ),
        )
        first, *others = self._arms(place.backbone)
        target: float | None = None
        turn = self.spec.seeds.index(place.seed) % max(1, len(others))
        for arm in (first, *others[turn:], *others[:turn]):
            row = self._measure(
                worker, place, arm.name, arm.fit(ground), rates[arm.name], target, kind="run"
            )
            if arm is first and "error" not in row:
                target = float(row["validation"]["oa"])

    def _pace(self, worker: Worker, scene: Scene, backbone: str, k: int, side: int) -> float:
        facts = {"backbone": backbone, "components": k, "patch_size": side}
        sizes = {"classes": len(scene.classes), "batch_size": self.spec.base.train.batch_size}
        facts |= {**sizes, "threads": self.spec.threads, "format": FORMAT}
        key = key_of({"kind": "pace", **facts})
        row = self.ledger.get(key)
        if row is None:
            self._check_time()
            seconds = worker.call(time_sample, backbone, k, side, *sizes.values(), worker.threads)
            row = self.ledger.add(key, {"kind": "pace", **facts, "seconds": seconds})
        return float(row["seconds"])

    def _measure(
        self,
        worker: Worker,
        place: Place,
        arm: str,
        plan: ArmPlan,
        rate: float,
        target: float | None,
        kind: str = "tune",
    ) -> Row:
        """A cell's row, from the ledger or measured now; with "error" in it if it failed."""
        spec = run_spec(self.spec, place, arm, plan, rate)
        key = cell_key(kind, place, arm, rate, plan, spec)
        row = self.ledger.get(key)
        if row is None:
            self._check_time()
            try:
                measured = worker.call(
                    measure, spec, plan.curriculum, target=target, test=kind == "run"
                )
            except WorkerDiedError:
                raise
            except StRayError as error:
                measured = {"error": str(error)}
            head = {
                "kind": kind,
                **facts_of(place, arm, rate),
                "epochs": plan.epochs,
                "beta": plan.beta,
            }
            row = self.ledger.add(
                key,
                {
                    **head,
                    "epochs": plan.epochs,
                    "beta": plan.beta,
                    "threads": spec.cluster.threads,
                    "jobs": self.spec.jobs,
                    **measured,
                },
            )
            self.say(_line(row))
        self.rows[key] = row
        return row

    def summary(self) -> dict[str, Any]:
        """What is known so far, as bench.json has it."""
        rows = list(self.rows.values())
        return summarise(
            [row for row in rows if row["kind"] == "run"],
            searched={
                place: {"full_epochs": ground.full_epochs, "rates": rates}
                for place, (ground, rates) in self.found.items()
            },
            configurations=sum(row["kind"] == "tune" for row in rows),
            versions=installed_versions(),
        )

    def _check_time(self) -> None:
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise OutOfTimeError


def _line(row: Row) -> str:
    where = f"{row['scene']} {row['split']} {row['backbone']} {row['arm']} seed {row['seed']}"
    head = f"{row['kind']:4s} {where} lr {row['rate']:g}"
    if "error" in row:
        return f"{head}: failed: {row['error']}"
    told = f"{row['seconds']:.1f} s, validation OA {row['validation']['oa']:.2%}"
    if row["test"]:
        told += f", test OA {row['test']['oa']:.2%} AA {row['test']['aa']:.2%}"
    if row["reach"]:
        told += f", target after {row['reach']['seconds']:.1f} s"
    return f"{head}: {told}"
