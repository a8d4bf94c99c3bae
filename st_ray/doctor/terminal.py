"""What split, inspect and audit print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from st_ray.report.words import duration, number, percent, plain_share, size

_PARTS = ("train", "validation", "test", "unused")
_STYLES = {"warning": "bold yellow", "note": "cyan", "ok": "green"}
_MOST_CLASSES = 40  # rows of a table in the terminal


def print_split(made: Mapping[str, Any], place: str, console: Console) -> None:
    """Pixels by class and part, the leakage, and where the manifest is."""
    counts, names = made["counts"], made["names"]
    rows = [
        (str(index), names[index], *(str(parts[part]) for part in _PARTS))
        for index, parts in list(counts.items())[:_MOST_CLASSES]
    ]
    totals = [str(sum(parts[part] for parts in counts.values())) for part in _PARTS]
    _table(console, ("id", "class", *_PARTS), [*rows, ("", "all", *totals)], text=(1,))
    side = made["patch_size"]
    lines = [
        f"{plain_share(made['leakage'])} % of the test patches ({side}x{side}) hold a training "
        f"pixel; {plain_share(made['overlap'])} % overlap a training patch.",
        *made["notes"],
    ]
    for line in lines:
        console.print(Text(line))
    console.print(
        Text(f"Split: {place} ({size(made['bytes'] / 1e9)}); train on it with --split {place}"),
        soft_wrap=True,
    )


def print_inspection(table: Mapping[str, Any], console: Console) -> None:
    """The scene, its classes, what splits would do, a forecast, and the findings last."""
    scene = table["scene"]
    waves = scene["wavelengths"]
    spectrum = f", {waves[0]:.0f} to {waves[1]:.0f} nm" if waves else ""
    console.print(
        Text(
            f"{scene['name']}: {_extent(scene)}, "
            f"{len(table['bands'])} bands{spectrum}, {scene['dtype']}, "
            f"{size(scene['gigabytes'])}; {scene['labelled']:,} pixels labelled"
        )
    )
    classes = table["classes"]
    if classes:
        rows = [
            (str(row["id"]), row["name"], f"{row['pixels']:,}", percent(row["share"], 1))
            for row in classes[:_MOST_CLASSES]
        ]
        _table(console, ("id", "class", "pixels", "share %"), rows, text=(1,))
        if len(classes) > _MOST_CLASSES:
            console.print(Text(f"and {len(classes) - _MOST_CLASSES} more classes"))
    if table["splits"]:
        heads = ("split", "train", "validation", "test", "unused", "leakage %", "overlap %")
        _table(console, heads, [_split(row) for row in table["splits"]], text=(0,))
    _forecast(table["forecast"], console)
    _findings(table["findings"], console)


def print_audit(table: Mapping[str, Any], console: Console) -> None:
    """One table: every classifier on both splits, and the gap."""
    rows: list[tuple[str, ...]] = []
    several = len(table["seeds"]) > 1
    for row in table["rows"]:
        for kind in ("random", "disjoint"):
            own = row[kind]
            scores = (_spread(own["oa"], several), _spread(own["aa"], several))
            name = row["classifier"] if kind == "random" else ""
            leaked = plain_share(own["leakage"]["median"]).replace("more than ", ">")
            rows.append((name, kind, *scores, number(own["kappa"]["median"], 3), leaked))
        gaps = [_gap(row["gap"][score], several) for score in ("oa", "aa")]
        rows.append(("", "gap", *gaps, f"{row['gap']['kappa']['median']:+.3f}", ""))
    heads = ("classifier", "split", "OA %", "AA %", "kappa", "leakage %")
    _table(console, heads, rows, text=(0, 1))
    for line in table["verdicts"]:
        console.print(Text(line))


def _extent(scene: Mapping[str, Any]) -> str:
    if scene["scenes"] > 1:
        return f"{scene['scenes']} scenes, {scene['pixels']:,} pixels"
    return f"{scene['shape'][0]} x {scene['shape'][1]} pixels"


def _spread(share: Mapping[str, float], several: bool) -> str:
    """In percent; over several seeds with the least and the greatest."""
    shown = [percent(share[name], 1) for name in ("median", "least", "greatest")]
    return f"{shown[0]} ({shown[1]}-{shown[2]})" if several else shown[0]


def _gap(gap: Mapping[str, float], several: bool) -> str:
    """In points; over several seeds with the least and the greatest."""
    shown = [f"{100 * gap[name]:+.1f}" for name in ("median", "least", "greatest")]
    return f"{shown[0]} [{shown[1]}, {shown[2]}]" if several else shown[0]


def _split(row: Mapping[str, Any]) -> tuple[str, ...]:
    if "error" in row:
        return (row["kind"], "cannot be made", *[""] * 5)
    counts = (f"{row[part]:,}" for part in _PARTS)
    return (row["kind"], *counts, plain_share(row["leakage"]), plain_share(row["overlap"]))


def _forecast(told: Mapping[str, Any] | None, console: Console) -> None:
    if told is None:
        return
    forecast = told["forecast"]
    phases = {name: spent for name, spent in forecast["seconds"].items() if spent >= 0.05}
    listed = ", ".join(f"{name} {duration(spent)}" for name, spent in phases.items())
    console.print(
        Text(
            f"A run on one core here: {duration(forecast['total_seconds'])} ({listed}); projected "
            f"tiles {size(forecast['stack'] / 1e9)} of memory; "
            f"{told['work']['parameters']:,} weights, {told['described']}"
        )
    )


def _findings(findings: list[Mapping[str, str]], console: Console) -> None:
    console.print()
    for finding in findings:
        line = Text(f"{finding['severity']:8}", style=_STYLES[finding["severity"]])
        shown = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0))
        shown.add_column(width=8)
        shown.add_column(ratio=1)
        remedy = f"; {finding['remedy']}" if finding["remedy"] else ""
        shown.add_row(line, Text(finding["what"] + remedy))
        console.print(shown)


def _table(
    console: Console, heads: tuple[str, ...], rows: Sequence[tuple[str, ...]], text: tuple[int, ...]
) -> None:
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for position, head in enumerate(heads):
        shown.add_column(head, justify="left" if position in text else "right")
    for row in rows:
        shown.add_row(*(Text(cell) for cell in row))
    console.print(shown)
