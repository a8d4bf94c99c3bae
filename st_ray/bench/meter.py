"""One benchmark's cells: from the ledger where they are known, else measured now."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import torch

from st_ray.bench.arms import ArmPlan
from st_ray.bench.cells import (
    FORMAT,
    BenchSpec,
    Place,
    cell_key,
    facts_of,
    names_of,
    run_spec,
    split_digest,
)
from st_ray.bench.ledger import Ledger, Row, key_of
from st_ray.bench.measure import measure, time_sample
from st_ray.bench.workers import OutOfTimeError, Worker, WorkerDiedError
from st_ray.errors import SpecError, TrainingError
from st_ray.learn.presets import USUAL_OPTIMIZER
from st_ray.recipe import fill_in

Say = Callable[[str], None]


class Meter:
    """Measures what the ledger does not hold, until the time is over.

    Args:
        spec: What is asked for.
        ledger: What is known.
        digests: Of the scenes, by the name in the spec.
        device: Where the runs train.
        say: Told of every new cell.

    Attributes:
        rows: The rows asked for so far, by key.
    """

    def __init__(
        self,
        spec: BenchSpec,
        ledger: Ledger,
        digests: Mapping[str, str],
        device: str,
        say: Say,
    ) -> None:
        self.spec, self.ledger, self.digests = spec, ledger, digests
        self.device, self.say = device, say
        self.rows: dict[str, Row] = {}
        hours = spec.max_hours
        self._deadline = None if hours is None else time.monotonic() + 3600 * hours

    def stop(self) -> None:
        """Measure nothing more; what the ledger holds is still there."""
        self._deadline = time.monotonic() - 1.0

    def pace(self, worker: Worker, classes: int, backbone: str, k: int, side: int) -> float:
        """Seconds of one training sample at (components, patch size)."""
        base = self.spec.base
        train = fill_in(replace(base, backbone=backbone)).train
        facts = {
            "backbone": backbone,
            "options": base.backbone_options,
            "components": k,
            "patch_size": side,
            "classes": classes,
            "batch_size": train.batch,
            "threads": self.spec.threads,
            "device": self.device,
        }
        if train.optimizer != USUAL_OPTIMIZER:  # older ledgers hold paces of the usual one
            facts["optimizer"] = train.optimizer
        key = key_of({"kind": "pace", "format": FORMAT, **facts})
        row = self.ledger.get(key)
        if row is None:
            self._check_time()
            seconds = worker.call(time_sample, **facts)
            row = self.ledger.add(key, {"kind": "pace", **facts, "seconds": seconds})
        return float(row["seconds"])

    def measure(
        self,
        worker: Worker,
        place: Place,
        arm: str,
        plan: ArmPlan,
        rate: float,
        target: float | None,
        kind: str = "tune",
        *,
        known: bool = False,
    ) -> Row:
        """A cell's row, with "error" in it if it diverged: from the ledger, or measured now.

        Raises:
            OutOfTimeError: It is not in the ledger, and either the time is over or only what is
                `known` is asked for.
        """
        spec = run_spec(self.spec, place, arm, plan, rate)
        digests = {"scene": self.digests[place.scene], "split": split_digest(place.split)}
        digests["device"] = self.device
        # One that was measured before there was a target will do: its curve says when it met it.
        keys = [
            cell_key(kind, plan, spec, {**digests, "target": repr(value)})
            for value in dict.fromkeys((target, None))
        ]
        key = next((key for key in keys if self.ledger.get(key)), keys[0])
        row = self.ledger.get(key)
        if row is None:
            if known:
                raise OutOfTimeError
            self._check_time()
            begun = datetime.now(UTC).isoformat(timespec="seconds")
            try:
                measured = worker.call(
                    measure, spec, plan.curriculum, target=target, test=kind == "run"
                )
            except WorkerDiedError:
                raise
            except (TrainingError, SpecError) as error:  # another attempt would end the same way
                measured = {"error": str(error)}
            row = self.ledger.add(
                key,
                {
                    "kind": kind,
                    **facts_of(place, arm, rate),
                    "epochs": plan.epochs,
                    "beta": plan.beta,
                    "threads": spec.cluster.threads,
                    "jobs": self.spec.jobs,
                    "device": self.device,
                    "processor": _processor(),
                    "torch": torch.__version__,
                    "begun": begun,
                    **measured,
                },
            )
            self.say(_line(row))
        row = {**row, **names_of(place)}  # files may have had other names when it was measured
        self.rows[key] = row
        return row

    def _check_time(self) -> None:
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise OutOfTimeError


@cache
def _processor() -> str:
    """What this machine calls its processor, and the widest instructions that torch uses there."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"


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
