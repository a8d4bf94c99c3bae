"""The table that ends a run in the terminal or in its log file."""

from __future__ import annotations

import math
from dataclasses import fields
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from st_ray.report.report import Report
from st_ray.report.sections import Seconds
from st_ray.report.words import compact, duration, honesty, number, percent, saving, shares, votes
from st_ray.storage import join

WIDTH = 100
"""Columns at most, so that a log file stays readable."""


def print_summary(report: Report, console: Console, *, out: Path | str | None = None) -> None:
    """Print the stages, the scores, where the time went and where the results are.

    Args:
        report: The run's report.
        console: Where to print; colour codes are written only to a terminal.
        out: The run's output directory, a path or URI.
    """
    width = min(console.width, WIDTH)
    console.print()
    console.print(_stage_table(report, console), width=width)
    console.print()
    console.print(_score_table(report), width=width)
    console.print()
    budget = report.budget
    lines = [
        f"Budget: {budget.epochs} of {budget.full_epochs} epochs (beta {compact(budget.beta)}); "
        f"estimated cost {compact(budget.cost)} full-spectrum epochs of "
        f"{compact(budget.full_cost)} ({saving(budget.cost, budget.full_cost)}).",
        f"Time: {duration(report.seconds.total)} in all; {_phases(report.seconds)}.",
        f"Split: {shares(report.split)}. {honesty(report.split)[1]}",
        *([f"{votes(report.by_scene)}."] if report.by_scene else []),
        *(f"Warning: {warning}" for warning in report.warnings),
    ]
    for line in lines:
        console.print(Text(_writable(console, line)), width=width)
    if out is not None:
        console.print(
            Text(_writable(console, f"Report: {join(out, 'report.html')}")), soft_wrap=True
        )


def _stage_table(report: Report, console: Console) -> Table:
    title = _writable(
        console, f"{report.scene.name}, {report.backbone}, curriculum {report.curriculum.name}"
    )
    table = Table(title=Text(title), box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for heading in ("stage", report.curriculum.axis, "patch", "epochs", "seconds", "samples/s"):
        table.add_column(heading, justify="right")
    table.add_column("loss", justify="right")
    table.add_column("val OA %", justify="right")
    for position, stage in enumerate(report.stages, start=1):
        table.add_row(
            str(position),
            str(stage.components),
            f"{stage.patch_size}x{stage.patch_size}",
            str(stage.epochs),
            _ascii(number(stage.seconds, 1)),
            _ascii(compact(stage.samples_per_second)),
            _ascii(compact(stage.loss)),
            _ascii(percent(stage.validation_accuracy)),
        )
    return table


def _score_table(report: Report) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for heading in ("pixels", "OA %", "AA %", "kappa"):
        table.add_column(heading, justify="right")
    totals = report.split.totals
    rows = (("test", totals.test, report), ("validation", totals.validation, report.validation))
    for name, pixels, scores in rows:
        table.add_row(
            name,
            str(pixels),
            _ascii(percent(scores.overall_accuracy)),
            _ascii(percent(scores.average_accuracy)),
            _ascii(number(scores.kappa)),
        )
    return table


def _phases(seconds: Seconds) -> str:
    names = [field.name for field in fields(seconds) if field.name != "total"]
    spent = {name: getattr(seconds, name) for name in names}
    return ", ".join(f"{name} {duration(t)}" for name, t in spent.items() if math.isfinite(t))


def _writable(console: Console, line: str) -> str:
    """The line as this console's encoding can write it."""
    if console.encoding.lower().startswith("utf"):
        return line
    return _ascii(line).encode(console.encoding, errors="replace").decode(console.encoding)


def _ascii(text: str) -> str:
    return text.replace("–", "-").replace("×", "x")
