"""`st-ray audit`: what a score owes to the split, of any backbone.

Each backbone is trained on a random and on a disjoint split of the same scene, seed by seed, and
beside it a classifier of single spectra. Every training is a run of its own in the audit's
directory, so an audit that was killed goes on where it was; what the control reached is in a
ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from st_ray.bench.cells import scene_digest
from st_ray.bench.ledger import CELLS_FILE, Ledger, Row, key_of
from st_ray.bench.measure import scores
from st_ray.bench.statistics import spread
from st_ray.compose import installed_versions
from st_ray.config import RUN_FILE, RunSpec
from st_ray.doctor.control import COSTS, NAME, score_control
from st_ray.engine import LocalEngine
from st_ray.errors import SpecError, SplitError
from st_ray.learn.backbones import backbone_entry, load_factory
from st_ray.output import RunFolder
from st_ray.pipeline import run_curriculum
from st_ray.planning import Amounts, workload
from st_ray.report.words import duration, percent, plain_share
from st_ray.spectral.parts import parts_fingerprint
from st_ray.spectral.scene import Scene, open_scene
from st_ray.spectral.split import Split, SplitSpec, split_labels
from st_ray.spectral.tiles import Tile, plan_tiles
from st_ray.steps import inspect_bands
from st_ray.storage import exists, join

FORMAT = 1
KINDS = ("random", "disjoint")
SCORES = ("oa", "aa", "kappa")
Say = Callable[[str], None]
Table = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditSpec:
    """An audit.

    Attributes:
        base: Settings of all runs; kind of split, seed, backbone and directory are the audit's.
        backbones: Registered names, or "package.module:function".
        seeds: Of split, initialisation and shuffles.
        out: Directory, a path or URI.
    """

    base: RunSpec
    backbones: tuple[str, ...] = ("resnet2d",)
    seeds: tuple[int, ...] = (0, 1, 2)
    out: str = "runs/audit"

    def __post_init__(self) -> None:
        for name in ("backbones", "seeds"):
            values = getattr(self, name)
            if not values:
                raise SpecError(f"audit: no {name} given; give at least one")
            if len(set(values)) < len(values):
                raise SpecError(f"audit: {name} {list(values)} name one twice")

    def split(self, kind: str) -> SplitSpec:
        """The settings of a kind of split; the same pixels for every backbone."""
        own = self.base.split
        guard = self.base.patch_size // 2 if own.guard is None else own.guard
        return replace(own, kind=kind, guard=guard)

    def run(self, backbone: str, kind: str, seed: int) -> RunSpec:
        """The run of a cell."""
        name = f"{backbone.replace(':', '.')}-{kind}-seed{seed}"
        return replace(
            self.base,
            backbone=backbone,
            split=self.split(kind),
            seed=seed,
            map=False,
            out=join(self.out, name),
        )


def run_audit(spec: AuditSpec, say: Say = print) -> Table:
    """Train what is not trained yet, and compare.

    Args:
        spec: What to audit.
        say: Told of every cell.

    Returns:
        What audit.json holds.

    Raises:
        StRayError: Bad input, in one line; most of it before anything is trained.
    """
    for name in spec.backbones:
        if ":" in name:
            load_factory(name)
        else:
            backbone_entry(name)
    with RunFolder(spec.out) as folder:
        folder.bring(CELLS_FILE)
        control = _Control(spec, Ledger(folder.path, folder.keep))
        for name in spec.backbones:
            _rehearse(spec.run(name, "random", spec.seeds[0]), control.scene)
        cells: dict[str, list[Row]] = {}
        for seed in spec.seeds:
            for kind in KINDS:
                told = [(NAME, control.row(kind, seed))]
                told += [(name, _trained(spec.run(name, kind, seed))) for name in spec.backbones]
                for name, row in told:
                    cells.setdefault(name, []).append({**row, "kind": kind, "seed": seed})
                    say(_line(name, kind, seed, row))
        return _table(spec, control.scene, cells)


def _rehearse(spec: RunSpec, scene: Scene) -> None:
    """See that a run's stages and model can be had, before others have trained for long."""
    pixels, bands = float(scene.labels.size), scene.cube.shape[2]
    labelled = float(np.count_nonzero(scene.labels))
    classes = len(scene.classes)
    workload(spec, Amounts(pixels=pixels, bands=bands, classes=classes, labelled=labelled))


def _trained(spec: RunSpec) -> Row:
    """A run's scores and leakage: of one that is there, or trained now."""
    begun = exists(join(str(spec.out), RUN_FILE))
    report = run_curriculum(spec, resume=begun)
    return {
        "oa": report.overall_accuracy,
        "aa": report.average_accuracy,
        "kappa": report.kappa,
        "leakage": report.split.leakage,
        "seconds": report.seconds.total,
    }


class _Control:
    """Scores single spectra, or remembers what they scored."""

    def __init__(self, spec: AuditSpec, ledger: Ledger) -> None:
        base = spec.base
        scene = open_scene(base.scene, base.tiles.side)
        self.tiles: tuple[Tile, ...] = plan_tiles(
            scene.labels.shape, base.tiles, scene.cube.extents
        )
        bound = sum(member.whole or bool(member.part) for member in scene.members)
        if bound:
            raise SplitError(
                f"an audit draws pixels, and {bound} of the {len(scene.members)} scenes belong in "
                "one part each; for a score of these, st-ray train --split scenes, which has no "
                "leakage"
            )
        engine = LocalEngine(base.cluster)
        self.scene: Scene = inspect_bands(engine, scene, self.tiles, base)[0]
        self.spec, self.ledger = spec, ledger
        self.digest = scene_digest(self.scene)
        self.splits: dict[tuple[str, int], Split] = {
            (kind, seed): self._split(kind, seed) for kind in KINDS for seed in spec.seeds
        }

    def _split(self, kind: str, seed: int) -> Split:
        side, members = self.spec.base.patch_size, self.scene.members
        return split_labels(self.scene.labels, self.spec.split(kind), seed, side, members)

    def row(self, kind: str, seed: int) -> Row:
        """What the control scores on a split."""
        split = self.splits[kind, seed]
        facts = {"scene": self.digest, "split": parts_fingerprint(split.parts), "costs": COSTS}
        key = key_of({"kind": "control", "format": FORMAT, "seed": seed, **facts})
        known = self.ledger.get(key)
        if known is None:
            done = score_control(self.scene, split, self.tiles, seed)
            row = {**scores(done.test), "cost": done.cost, "thinned": list(done.thinned)}
            known = self.ledger.add(key, {"kind": "control", **row})
        return {**known, "leakage": 0.0, "seconds": None}


def _line(name: str, kind: str, seed: int, row: Row) -> str:
    took = "" if row["seconds"] is None else f", {duration(row['seconds'])}"
    return (
        f"{name}, {kind} split, seed {seed}: OA {percent(row['oa'])} %, AA {percent(row['aa'])} %, "
        f"leakage {plain_share(row['leakage'])} %{took}"
    )


def _table(spec: AuditSpec, scene: Scene, cells: dict[str, list[Row]]) -> Table:
    rows = [_compare(name, cells[name]) for name in (*spec.backbones, NAME)]
    control = rows[-1]
    for row in rows[:-1]:
        leads = {
            kind: _differences(row[kind]["oa"]["values"], control[kind]["oa"]["values"])
            for kind in KINDS
        }
        row["lead"] = {kind: spread(lead) for kind, lead in leads.items()}
        row["lost"] = spread(_differences(leads["random"], leads["disjoint"]))
    return {
        "format": FORMAT,
        "scene": scene.name,
        "path": scene.cube.path,
        "shape": list(scene.cube.shape),
        "scenes": len(scene.cube.extents),
        "pixels": sum(extent.pixels for extent in scene.cube.extents),
        "classes": len(scene.classes),
        "seeds": list(spec.seeds),
        "curriculum": Path(spec.base.curriculum).stem,
        "patch_size": spec.base.patch_size,
        "split": {**asdict(spec.split("disjoint")), "kind": list(KINDS)},
        "rows": rows,
        "cells": cells,
        "verdicts": [verdict(row) for row in rows[:-1]],
        "versions": installed_versions(),
    }


def _compare(name: str, cells: Sequence[Row]) -> Table:
    """Medians and spread by split, and the gap, paired by seed."""
    by_kind = {kind: [cell for cell in cells if cell["kind"] == kind] for kind in KINDS}
    row: Table = {"classifier": name}
    for kind, own in by_kind.items():
        row[kind] = {
            score: {**spread(values := [cell[score] for cell in own]), "values": values}
            for score in (*SCORES, "leakage")
        }
    row["gap"] = {
        score: spread(
            _differences(row["random"][score]["values"], row["disjoint"][score]["values"])
        )
        for score in SCORES
    }
    return row


def _differences(one: Sequence[float], other: Sequence[float]) -> list[float]:
    """Paired by seed."""
    return [a - b for a, b in zip(one, other, strict=True)]


def verdict(row: Table) -> str:
    """What a backbone's gap says, in a few sentences."""
    lost = row["lost"]
    leaks = plain_share(row["random"]["leakage"]["median"])
    gap = 100 * row["gap"]["oa"]["median"]
    told = (
        f"{row['classifier']} scores {gap:.1f} points of OA less where "
        f"no training pixel lies in a test patch (on the random split they lie in {leaks} % of "
        "them). Against single spectra, which have no neighbourhood to leak, it is "
        f"{_ahead(row['lead']['random'])} on the random split and "
        f"{_ahead(row['lead']['disjoint'])} on the disjoint one: "
    )
    if lost["least"] > _CLEAR:
        return f"{told}{100 * lost['median']:.1f} points of its lead do not carry over."
    if lost["greatest"] < -_CLEAR:
        return f"{told}its lead grows by {-100 * lost['median']:.1f} points."
    if lost["greatest"] - lost["least"] > 2 * _CLEAR:
        return f"{told}the seeds do not agree on how much of its lead carries over; try more."
    return f"{told}its lead carries over."


_CLEAR = 0.01  # of OA: less is no difference


def _ahead(lead: dict[str, float]) -> str:
    """Points ahead or behind; over several seeds with the least and the greatest lead."""
    points, low, high = (100 * lead[name] for name in ("median", "least", "greatest"))
    between = f" ({low:+.1f} to {high:+.1f})" if low != high else ""
    return f"{abs(points):.1f} points {'ahead' if points >= 0 else 'behind'}{between}"
