"""From measured cells to bench.json: every arm against "full", paired by seed.

The speedup of an arm is a ratio of times to accuracy: the seconds after which "full" first had its
own final validation OA, over the seconds after which the arm first had that OA, on the same
split, seed and machine. An arm that never had it has speedup 0 for that seed. The "whole" speedup
differs in what it divides: all the seconds of "full", to the end of its T0 epochs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from st_ray.bench.arms import ARMS
from st_ray.bench.ledger import Row
from st_ray.bench.statistics import (
    first_reach,
    geometric_mean,
    paired_interval,
    spread,
    spread_of_ratios,
)

Table = dict[str, Any]
# Each adds one ingredient to the one before.
INGREDIENTS = (
    ("full", "the baseline"),
    ("k60_raw", "60 components in place of all bands"),
    ("k60", "whitening"),
    ("k60_short", "a schedule of fewer epochs"),
    ("b_growth", "the stages of default"),
    ("default", "class floor, linear schedule, the backbone's own optimizer, batch and flips"),
)
# How T0, the baseline's number of epochs, came about.
ORIGINS = {
    "searched": "the shortest tried within 0.3 points of one three times as long",
    "capped": "perhaps too short: none three times as long was tried",
    "given": "given with --full-epochs",
}
_SCORES = ("oa", "aa", "kappa")


def summarise(
    rows: Sequence[Row],
    *,
    scenes: Sequence[str],
    searched: Mapping[tuple[str, str], Table],
    configurations: int,
    versions: Mapping[str, str | None],
) -> Table:
    """The content of bench.json.

    Args:
        rows: The rows of the runs.
        scenes: Their order; the first is the headline's.
        searched: T0, its origin (of `ORIGINS`) and learning rates by (scene, backbone).
        configurations: How many were tried in the searches.
        versions: Of packages.
    """

    def order(row: Row) -> tuple[int, tuple[str, str, str]]:
        return scenes.index(row["scene"]), _place(row)

    groups = [_group(list(rows)) for _, rows in groupby(sorted(rows, key=order), key=_place)]
    groups = [group for group in groups if group["arms"]]
    headline = _headline(groups)
    return {
        **headline,
        "configurations_tried": configurations,
        "searched": [
            {"scene": scene, "backbone": backbone, **found}
            for (scene, backbone), found in searched.items()
        ],
        "groups": groups,
        "ingredients": _ingredients(groups),
        "failed": [
            {key: row[key] for key in ("scene", "split", "backbone", "arm", "seed", "error")}
            for row in rows
            if "error" in row
        ],
        "machine": _machine(rows),
        "versions": dict(versions),
    }


def _place(row: Row) -> tuple[str, str, str]:
    return row["scene"], row["split"], row["backbone"]


def _group(rows: list[Row]) -> Table:
    """All arms of one scene, split and backbone."""
    by_arm: dict[str, dict[int, Row]] = {}
    failed: dict[str, set[int]] = {}
    for row in rows:
        if "error" in row:
            failed.setdefault(row["arm"], set()).add(row["seed"])
        else:
            by_arm.setdefault(row["arm"], {})[row["seed"]] = row
    full, default = by_arm.get("full", {}), by_arm.get("default", {})
    scene, split, backbone = _place(rows[0])
    arms = [
        _arm(name, by_arm[name], full, default, failed.get(name, set()))
        for name in ARMS
        if name in by_arm
    ]
    return {"scene": scene, "split": split, "backbone": backbone, "arms": arms}


def _arm(
    name: str,
    own: dict[int, Row],
    full: dict[int, Row],
    default: dict[int, Row],
    failed: set[int],
) -> Table:
    """One arm: its own medians, what it is against "full", and what "default" is against it.

    A failed run counts as one that never reached the target. "beside_full" has medians and the
    mean curve of the pairs alone, of the arm and of "full".
    """
    seeds = sorted(own)
    pairs = [(own[seed], full[seed]) for seed in seeds if seed in full]
    never = [0.0] * len(failed & full.keys())
    speedups = [_speedup(one, base) for one, base in pairs] + never
    whole = [base["seconds"] / _seconds_to_target(one, base) for one, base in pairs] + never
    any_row = own[seeds[0]]
    table: Table = {
        "arm": name,
        "what": ARMS[name].what,
        "seeds": seeds,
        "pairs": len(pairs),
        "tried": len(speedups),
        "failed": len(failed),
        "rate": any_row["rate"],
        "stages": any_row["stages"],
        "parameters": any_row["parameters"],
        "seconds": spread([own[seed]["seconds"] for seed in seeds]),
        "cpu_seconds": spread([own[seed]["cpu_seconds"] for seed in seeds]),
        "speedup": spread_of_ratios(speedups),
        "whole_speedup": spread_of_ratios(whole),
        "reached": sum(value > 0 for value in speedups),
        "seconds_to_target": spread_of_ratios([_seconds_to_target(*pair) for pair in pairs]),
        "shorter": spread_of_ratios([base["seconds"] / one["seconds"] for one, base in pairs]),
        "at_target": {score: spread(_at_target(own, seeds, score)) for score in _SCORES},
        "scored_at_target": len(_at_target(own, seeds, "oa")),
        "parts": _mean_parts([own[seed]["parts"] for seed in seeds]),
        "curve": _mean_curve([own[seed]["curve"] for seed in seeds]),
    }
    table["beside_full"] = {
        "own": _together([one for one, _ in pairs]),
        "full": _together([base for _, base in pairs]),
    }
    for score in _SCORES:
        table[score] = spread([own[seed]["test"][score] for seed in seeds])
        table |= _paired(f"{score}_", own, full, score)
        table |= _paired(f"default_{score}_", default, own, score)
    return table


def _together(rows: Sequence[Row]) -> Table:
    """Medians of seconds and test scores, and the mean curve; of no rows an empty one."""
    scores = {score: spread([row["test"][score] for row in rows])["median"] for score in _SCORES}
    return {
        "seconds": spread([row["seconds"] for row in rows])["median"],
        **scores,
        "curve": _mean_curve([row["curve"] for row in rows]),
    }


def _paired(name: str, ours: dict[int, Row], theirs: dict[int, Row], score: str) -> Table:
    """Mean of ours minus theirs over the seeds that both have, and its interval."""
    differences = [
        ours[seed]["test"][score] - theirs[seed]["test"][score]
        for seed in sorted(ours.keys() & theirs.keys())
    ]
    return {
        f"{name}difference": sum(differences) / len(differences) if differences else math.nan,
        f"{name}interval": list(paired_interval(differences)),
    }


def _speedup(row: Row, full: Row) -> float:
    if row["arm"] == "full":
        return 1.0
    return _seconds_to_target(full, full) / _seconds_to_target(row, full)


def _seconds_to_target(row: Row, full: Row) -> float:
    """Seconds until a run had the final validation OA of "full"; infinity: it never had."""
    return first_reach(row["curve"], full["validation"]["oa"])


def _at_target(own: dict[int, Row], seeds: Sequence[int], score: str) -> list[float]:
    return [own[seed]["reach"]["test"][score] for seed in seeds if own[seed]["reach"]]


def _mean_parts(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = list(dict.fromkeys(name for part in parts for name in part))
    return {name: sum(part.get(name, 0.0) for part in parts) / len(parts) for name in names}


def _mean_curve(curves: Sequence[Sequence[tuple[float, float]]]) -> list[tuple[float, float]]:
    """Mean seconds and mean validation OA at every epoch's end."""
    epochs = min((len(curve) for curve in curves), default=0)
    return [
        (
            round(sum(curve[epoch][0] for curve in curves) / len(curves), 3),
            round(sum(curve[epoch][1] for curve in curves) / len(curves), 5),
        )
        for epoch in range(epochs)
    ]


def find_arm(group: Table, name: str) -> Table | None:
    """An arm's table in a group."""
    return next((arm for arm in group["arms"] if arm["arm"] == name), None)


def _headline(groups: Sequence[Table]) -> Table:
    """The arm "default" against "full" on the first scene: its random split, or its first."""
    if not groups:
        return {
            "geomean_speedup": math.nan,
            "geomean_whole_speedup": math.nan,
            "backbones": {},
            "headline": None,
        }
    scene = groups[0]["scene"]
    splits = [group["split"] for group in groups if group["scene"] == scene]
    split = "random" if "random" in splits else splits[0]
    backbones = {}
    for group in groups:
        arm = find_arm(group, "default")
        if (group["scene"], group["split"]) == (scene, split) and arm and arm["pairs"]:
            backbones[group["backbone"]] = {
                "speedup": arm["speedup"]["median"],
                "whole_speedup": arm["whole_speedup"]["median"],
                **{
                    f"{score}_{kind}": arm[f"{score}_{kind}"]
                    for score in _SCORES
                    for kind in ("difference", "interval")
                },
                "speedup_range": [arm["speedup"]["least"], arm["speedup"]["greatest"]],
                "seeds": arm["pairs"],
                "reached": arm["reached"],
            }
    means = {
        f"geomean_{name}": geometric_mean([entry[name] for entry in backbones.values()])
        for name in ("speedup", "whole_speedup")
    }
    return {
        **means,
        "backbones": backbones,
        "headline": {"scene": scene, "split": split, "arm": "default", "against": "full"},
    }


def _ingredients(groups: Sequence[Table]) -> list[Table]:
    """What each ingredient multiplies the speedup by, where the whole chain was measured."""
    tables = []
    for group in groups:
        chain = [(find_arm(group, name), what) for name, what in INGREDIENTS]
        if any(arm is None for arm, _ in chain):
            continue
        steps, before = [], 1.0
        for arm, what in chain[1:]:
            assert arm is not None
            now = arm["speedup"]["median"]
            factor = now / before if before > 0 and now > 0 else math.nan
            steps.append({"arm": arm["arm"], "adds": what, "speedup": now, "factor": factor})
            before = now
        place = {key: group[key] for key in ("scene", "split", "backbone")}
        tables.append({**place, "steps": steps})
    return tables


def _machine(rows: Sequence[Row]) -> Table:
    """Where the rows were measured, which need not be here."""
    return {
        "processors": sorted({row["processor"] for row in rows}),
        "threads": sorted({row["threads"] for row in rows}),
        "jobs": sorted({row["jobs"] for row in rows}),
    }
