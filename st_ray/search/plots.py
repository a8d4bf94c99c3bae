"""The figures of search.html."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from st_ray.report.drawing import INK, MUTED, RULE, TRAIN, VALIDATION, drawing, svg
from st_ray.search.course import row_schedule, row_score
from st_ray.search.schedule import Schedule

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Table = dict[str, Any]


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _points(table: Table) -> list[tuple[float, float, Table]]:
    """Relative cost, score in percent and row of every answer."""
    unit, score = table["unit_seconds"], table["score"]
    return [
        (row["cost"] / unit, 100.0 * row_score(row, score), row)
        for row in table["trials"]
        if row["state"] == "done" and not row["probe"]
    ]


def draw_front(table: Table) -> str:
    """Score against cost of all answers; the front as a line, "default" and the winner marked."""
    with drawing():
        figure, axes = _figure(9.6, 3.6)
        held = _points(table)
        axes.plot([x for x, _, _ in held], [y for _, y, _ in held], "o", color=MUTED, markersize=4)
        on = [(x, y) for x, y, row in held if row["number"] in table["front"] and not row["again"]]
        axes.plot(*zip(*sorted(on), strict=True), "-", color=INK, linewidth=1.2, label="front")
        for name, colour in (("control", VALIDATION), ("winner", TRAIN)):
            own = [(x, y) for x, y, row in held if row["schedule"] == table[name]]
            label = {"control": "default", "winner": "recommended"}[name]
            xs, ys = zip(*own, strict=True)
            axes.plot(xs, ys, "o", color=colour, markersize=7, label=label)
        axes.set_xlabel("cost, times that of default (predicted)")
        axes.set_ylabel(f"validation {table['score'].upper()}, %")
        axes.legend(loc="lower right")
        return svg(figure, "Validation score against cost")


_AXES = ("stages", "first k", "last k", "first B", "last B", "epochs", "rate", "whitening", "score")


def draw_parallel(table: Table) -> str:
    """Parallel coordinates: a line a schedule, the better the more colour."""
    held = [(score, row_schedule(row)) for _, score, row in _points(table)]
    held.sort(key=lambda pair: pair[0])
    values = np.array([_coordinates(schedule, score) for score, schedule in held])
    low, high = values.min(axis=0), values.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    with drawing():
        figure, axes = _figure(9.6, 3.4)
        shade = np.linspace(0.08, 1.0, len(held)) ** 2
        for at, line in enumerate((values - low) / span):
            best = at == len(held) - 1
            axes.plot(line, color=TRAIN, alpha=float(shade[at]), linewidth=2.2 if best else 1.0)
        axes.set_xticks(range(len(_AXES)), _AXES)
        axes.set_yticks([])
        for at in range(len(_AXES)):
            axes.axvline(at, color=RULE, linewidth=0.8, zorder=0)
            for end, height, side in ((high, 1.0, "bottom"), (low, 0.0, "top")):
                text = f"{end[at]:.3g}" if _AXES[at] != "rate" else f"{10 ** end[at]:.1g}"
                axes.annotate(
                    text, (at, height), (0, 3 if side == "bottom" else -3), va=side, ha="center",
                    textcoords="offset points", color=MUTED, fontsize=8,
                )  # fmt: skip
        axes.set_ylim(-0.12, 1.12)
        axes.grid(visible=False)
        axes.spines[["left", "bottom"]].set_visible(False)
        return svg(figure, "Parallel coordinates of all schedules")


def _coordinates(schedule: Schedule, score: float) -> list[float]:
    first, last = schedule.legs[0], schedule.legs[-1]
    return [
        *(len(schedule.legs), first.components, last.components),
        *(first.patch_size, last.patch_size, schedule.epochs),
        *(math.log10(schedule.learning_rate), schedule.whitening, score),
    ]


def draw_staircase(schedule: Table, paces: Sequence[Sequence[float]]) -> str:
    """Components and patch over the share of the compute."""
    made = Schedule.of_table(schedule)
    seconds = {(int(k), int(side)): cost for k, side, cost in paces}
    spent = [leg.epochs * seconds[leg.components, leg.patch_size] for leg in made.legs]
    edges = np.cumsum([0.0, *spent]) / sum(spent)
    with drawing():
        figure, axes = _figure(4.7, 2.6)
        sizes = [leg.patch_size for leg in made.legs]
        axes.stairs(sizes, edges, color=TRAIN, linewidth=2.2, baseline=None)
        for at, leg in enumerate(made.legs):
            middle = (edges[at] + edges[at + 1]) / 2
            text = f"k = {leg.components}\n{leg.epochs} epochs, batch {leg.batch_size}"
            axes.annotate(text, (middle, leg.patch_size), (0, 4), textcoords="offset points",
                          ha="center", va="bottom", fontsize=8, color=INK)  # fmt: skip
        axes.set_xlim(0.0, 1.0)
        axes.set_ylim(0.0, max(sizes) * 1.45)
        axes.set_yticks(sorted(set(sizes)))
        axes.set_xlabel("share of the predicted compute")
        axes.set_ylabel("patch, pixels")
        return svg(figure, "Stages over compute")
