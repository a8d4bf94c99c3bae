"""The figures of bench.html, bench.png and `st-ray bench scale`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from st_ray.bench.arms import ARMS
from st_ray.bench.summary import find_arm
from st_ray.errors import writing
from st_ray.report.drawing import INK, MUTED, TRAIN, drawing, svg
from st_ray.spectral.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Table = dict[str, Any]
# Mid-tones that are told apart on light and on dark paper.
_PALETTE = (
    "#d55e00", "#8f7a00", "#009e73", "#a553a0", "#b0563b", "#3f8fb0",
    "#6f8a1e", "#c2548b", "#6a6fd1", "#a07c4a", "#3f9a8f", "#8a8f98",
    "#8a3fd0",
)  # fmt: skip
_PARTS = {"statistics": "#2fb1a5", "ingest": "#63850f", "other": "#8d99a6"}
# Colours of the arms in a picture for a README.
ON_PAPER = {"full": "#333333", "default": "#0072b2"}
_STAGES = ("#0072b2", "#e69f00", "#a53d9f", "#c0392b", "#3d6b4f")


def arm_colour(name: str) -> str:
    """The colour of an arm, the same in all figures."""
    if name in ("full", "default"):
        return {"full": INK, "default": TRAIN}[name]
    others = [arm for arm in ARMS if arm not in ("full", "default")]
    return _PALETTE[others.index(name) % len(_PALETTE)]


def part_colour(name: str) -> str:
    """The colour of a part of a run's time."""
    if name in _PARTS:
        return _PARTS[name]
    return _STAGES[(int(name.split()[-1]) - 1) % len(_STAGES)]


def draw_group(group: Table) -> dict[str, str]:
    """One scene, split and backbone: ``accuracy`` against seconds, and ``time`` by part."""
    with drawing():
        return {
            "accuracy": svg(_accuracy(group["arms"]), "Validation accuracy against seconds"),
            "time": svg(_time(group["arms"]), "Where the time went, by arm"),
        }


def draw_speedups(groups: Sequence[Table]) -> str:
    """Speedup at equal accuracy of every arm, a row a backbone; empty without any."""
    shown = [
        group for group in groups if any(a["arm"] != "full" and a["tried"] for a in group["arms"])
    ]
    if not shown:
        return ""
    with drawing():
        return svg(_speedups(shown), "Speedup at equal accuracy by backbone and arm")


def _figure(height: float, width: float = 4.7) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _log_scale(axes: Axes, unit: str = "", ticks: Sequence[float] = (1.0, 2.0, 5.0)) -> None:
    """1, 2, 5, 10 and so on along x, or other ticks in each decade, as plain numbers."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=ticks))
    axes.xaxis.set_major_formatter(f"{{x:g}}{unit}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def _curve(axes: Axes, curve: Sequence[tuple[float, float]], **style: Any) -> None:
    """Accuracy against seconds; a single epoch is a point."""
    seconds, accuracy = zip(*curve, strict=True)
    marker = "o" if len(seconds) == 1 else None
    axes.plot(seconds, [100 * value for value in accuracy], marker=marker, **style)


def _accuracy(arms: Sequence[Table]) -> Figure:
    figure, axes = _figure(3.4)
    lowest = 1.0
    for arm in reversed(arms):  # "full" and "default" on top
        width = 2.4 if arm["arm"] in ("full", "default") else 1.2
        _curve(axes, arm["curve"], color=arm_colour(arm["arm"]), linewidth=width, markersize=3.5)
        lowest = min(lowest, arm["curve"][-1][1])
    _log_scale(axes)
    axes.set_ylim(100 * max(0.0, lowest - 0.15), 100.5)
    axes.set_xlabel("seconds from the opened scene")
    axes.set_ylabel("validation overall accuracy, %")
    return figure


def _time(arms: Sequence[Table]) -> Figure:
    figure, axes = _figure(0.5 + 0.24 * len(arms))
    for row, arm in enumerate(arms):
        left = 0.0
        for name, seconds in arm["parts"].items():
            axes.barh(row, max(0.0, seconds), left=left, height=0.7, color=part_colour(name))
            left += max(0.0, seconds)
    axes.set_yticks(range(len(arms)), [arm["arm"] for arm in arms])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x")
    axes.set_xlabel("seconds")
    return figure


def _speedups(groups: Sequence[Table]) -> Figure:
    figure, axes = _figure(0.7 + 0.3 * len(groups), 9.6)
    for row, group in enumerate(groups):
        for arm in group["arms"]:
            if arm["arm"] == "full" or not arm["speedup"]["median"] > 0:
                continue
            main = arm["arm"] == "default"
            axes.plot(
                arm["speedup"]["median"],
                row,
                "o",
                color=arm_colour(arm["arm"]),
                markersize=9 if main else 5,
                zorder=3 if main else 2,
            )
    axes.axvline(1, color=MUTED, linewidth=1)
    _log_scale(axes, "×")
    axes.set_yticks(range(len(groups)), [group["backbone"] for group in groups])
    axes.invert_yaxis()
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.set_xlabel("times sooner than full at the baseline's validation OA (median over seeds)")
    return figure


def save_curves(groups: Sequence[Table], path: Path) -> None:
    """Validation accuracy against seconds, "full" and "default", a panel a backbone, as a PNG.

    Means of the seeds that have both, with a dotted line at the end of "full".

    Args:
        groups: Of `summarise`, each with pairs of the two.
        path: Of the file, which is replaced.

    Raises:
        OSError: It cannot be written.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    columns = min(4, len(groups))
    rows = -(-len(groups) // columns)
    figure = Figure(figsize=(2.4 * columns + 0.4, 2.2 * rows + 0.6), layout="constrained", dpi=110)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes, group in zip(panels, groups, strict=False):
        default = find_arm(group, "default")
        assert default is not None
        pairs = default["beside_full"]
        for colour, which in zip(ON_PAPER.values(), ("full", "own"), strict=True):
            _curve(axes, pairs[which]["curve"], color=colour)
        target = 100 * pairs["full"]["curve"][-1][1]
        axes.axhline(target, color="#999999", linewidth=0.8, linestyle=":")
        _log_scale(axes, ticks=(1.0, 3.0))
        axes.set_title(group["backbone"], fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=7)
    for axes in panels[len(groups) :]:
        axes.set_visible(False)
    figure.legend(
        handles=[Line2D([], [], color=colour, label=name) for name, colour in ON_PAPER.items()],
        loc="outside upper right",
        ncols=2,
        frameon=False,
    )
    figure.supxlabel("seconds from the opened scene", fontsize=9)
    figure.supylabel("validation overall accuracy, %", fontsize=9)
    with replacing(path) as file:
        figure.savefig(file, format="png")


def save_scale(rows: Sequence[Table], path: Path) -> None:
    """Time by part, what was forecast, and memory against pixels, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 3.8), layout="constrained", dpi=130)
    time, memory = figure.subplots(1, 2)
    pixels = [row["pixels"] for row in rows]
    time.plot(pixels, [row["seconds"] for row in rows], "o-", color="#333333", label="whole run")
    for name, colour in (("statistics", "#2fb1a5"), ("ingest", "#63850f")):
        time.plot(pixels, [row["parts"][name] for row in rows], "o-", color=colour, label=name)
        expected = [row["forecast"][name] for row in rows]
        time.plot(pixels, expected, ":", color=colour, label=f"{name}, forecast")
    time.set(xscale="log", yscale="log", xlabel="pixels", ylabel="seconds")
    time.legend(frameon=False, fontsize=8)
    on_disk = [row["gigabytes"] for row in rows]
    memory.plot(pixels, on_disk, "--", color="#999999", label="scene on disk")
    memory.plot(
        pixels, [row["peak_rss_gigabytes"] for row in rows], "o-", color="#0072b2", label="memory"
    )
    memory.set(xscale="log", yscale="log", xlabel="pixels", ylabel="GB")
    memory.legend(frameon=False, fontsize=8)
    for axes in (time, memory):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(visible=True, color="#dddddd", linewidth=0.6)
    with writing(path):
        figure.savefig(path)
