"""bench.html and bench.md from the summary of a benchmark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from st_ray.bench.arms import ARMS
from st_ray.bench.plots import arm_colour, draw_group, draw_speedups, part_colour
from st_ray.bench.summary import ORIGINS, find_arm
from st_ray.report.drawing import to_page
from st_ray.report.html import page_environment
from st_ray.report.words import compact, number, percent

Table = dict[str, Any]
SEARCHED = (
    "What was searched was judged on validation pixels of a split with a seed of its own, which no "
    "reported score comes from. Learning rates were searched unless --lr gave them or the arm has "
    "one of its own."
)


def render_bench(bench: Table) -> str:
    """The page: it needs no network and no other file."""
    environment = page_environment(Path(__file__).parent)
    shapes = (
        *(times, times_spread, points, points_interval),
        *(percent_spread, seconds, seconds_spread, seeds, stages),
    )
    for shape in shapes:
        environment.filters[shape.__name__] = shape
    groups = bench["groups"]
    names = list(dict.fromkeys(arm["arm"] for group in groups for arm in group["arms"]))
    parts = [list(dict.fromkeys(p for a in group["arms"] for p in a["parts"])) for group in groups]
    return environment.get_template("bench.html.jinja").render(
        bench=bench,
        origins=ORIGINS,
        headline=headline(bench) if bench["backbones"] else "",
        searched=SEARCHED,
        means={score: _mean(bench, score) for score in ("oa", "aa")},
        speedups=_speedups(groups),
        arms={name: ARMS[name].what for name in ARMS if name in names},
        colours={name: to_page(arm_colour(name)) for name in names},
        drawings=[{k: Markup(v) for k, v in draw_group(group).items()} for group in groups],
        parts=parts,
        part_colours={name: part_colour(name) for listed in parts for name in listed},
    )


def render_markdown(bench: Table) -> str:
    """Tables for a README: "default" against "full", and all arms by scene and split."""
    lines = _against_full(bench["groups"]) + _searches(bench["searched"])
    for title, groups in _by_place(bench["groups"]).items():
        rows = [_arm_cells(group["backbone"], arm) for group in groups for arm in group["arms"]]
        lines += [f"### {title}", "", *_markdown_table(_COLUMNS, rows), ""]
    if bench["backbones"]:
        lines += [f"{headline(bench)}.", ""]
    lines.append(
        "Medians over seeds (least to greatest); differences from `full` are seed-paired means "
        "with 95 % bootstrap intervals, in points, and so is the lead of `default` over each arm "
        "on the seeds that both have. *Sooner*: at the baseline's final validation "
        "OA; *OA there*: the test OA at that moment, of the runs that met it (in brackets: of so "
        "many, the others' was not scored). Configurations tried in the searches: "
        f"{bench['configurations_tried']}."
    )
    return "\n".join(lines) + "\n"


def headline(bench: Table) -> str:
    """Of a summary with backbones: how much sooner "default" is.

    Or the backbones of which at least half the runs never met the target.
    """
    place = "default against full on {scene}, {split} split".format(**bench["headline"])
    never = [name for name, entry in bench["backbones"].items() if not entry["speedup"]]
    if never:
        return (
            f"{place}: no mean of times to accuracy, as at least half the runs of "
            f"{', '.join(never)} never had the validation OA that full ends with"
        )
    return (
        f"{place}: {times(bench['geomean_speedup'])} sooner at equal validation OA (geometric mean "
        f"over {len(bench['backbones'])} backbone(s); {times(bench['geomean_whole_speedup'])} "
        "against the whole of T0)"
    )


def _against_full(groups: Sequence[Table]) -> list[str]:
    """One row a scene, split and backbone; nothing where one of the two arms is missing."""
    rows = []
    for title, chosen in _by_place(groups).items():
        for group in chosen:
            ours = find_arm(group, "default")
            if ours and ours["pairs"]:
                rows.append(_pair_cells(title, group["backbone"], ours))
    if not rows:
        return []
    return ["### default against full", "", *_markdown_table(_PAIR_COLUMNS, rows), ""]


def _markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Its lines."""
    head, *body = (f"| {' | '.join(cells)} |" for cells in (columns, *rows))
    return [head, "|---" * len(columns) + "|", *body]


_PAIR_COLUMNS = (
    *("scene, split", "backbone", "pairs", "full, s", "OA / AA, %", "default, s", "OA / AA, %"),
    *("reached", "sooner", "OA there, %", "whole T0", "OA diff.", "AA diff."),
)


def _pair_cells(title: str, backbone: str, ours: Table) -> tuple[str, ...]:
    medians = [ours["beside_full"][who] for who in ("full", "own")]
    return (
        *(title, backbone, str(ours["pairs"])),
        *(
            cell
            for arm in medians
            for cell in (seconds(arm["seconds"]), f"{percent(arm['oa'])} / {percent(arm['aa'])}")
        ),
        f"{ours['reached']} of {ours['tried']}",
        times(ours["speedup"]["median"]),
        _there(ours),
        times(ours["whole_speedup"]["median"]),
        *_differences(ours, ""),
    )


def _there(arm: Table) -> str:
    """Test OA at the target, and of how many runs, if of fewer than met it."""
    known = arm["scored_at_target"]
    of_runs = f" ({known})" if 0 < known < arm["reached"] else ""
    return percent(arm["at_target"]["oa"]["median"]) + of_runs


def _searches(searched: Sequence[Table]) -> list[str]:
    """One row a scene and backbone; nothing where nothing was settled."""
    if not searched:
        return []
    columns = ("scene", "backbone", "T0, epochs", "which is", "learning rates")
    rows = [
        (
            *(found["scene"], found["backbone"], str(found["full_epochs"])),
            ORIGINS[found["origin"]],
            ", ".join(f"{name} {compact(rate)}" for name, rate in found["rates"].items()),
        )
        for found in searched
    ]
    return ["### Searches", "", SEARCHED, "", *_markdown_table(columns, rows), ""]


def _differences(arm: Table, prefix: str) -> list[str]:
    """OA and AA with their intervals: of an arm less "full", or, "default_", of default less it."""
    return [
        f"{points(arm[f'{prefix}{score}_difference'])} "
        f"{points_interval(arm[f'{prefix}{score}_interval'])}".strip()
        for score in ("oa", "aa")
    ]


_COLUMNS = (
    *("backbone", "arm", "stages", "seeds", "seconds", "CPU s", "sooner"),
    *("OA, %", "AA, %", "kappa", "OA diff.", "AA diff.", "default's lead, OA", "AA"),
)


def _arm_cells(backbone: str, arm: Table) -> tuple[str, ...]:
    return (
        backbone,
        arm["arm"],
        stages(arm["stages"]),
        seeds(arm),
        seconds_spread(arm["seconds"]),
        seconds(arm["cpu_seconds"]["median"]),
        times_spread(arm["speedup"]),
        percent_spread(arm["oa"]),
        percent_spread(arm["aa"]),
        number(arm["kappa"]["median"], 3),
        *_differences(arm, ""),
        *(("", "") if arm["arm"] == "default" else _differences(arm, "default_")),
    )


def _speedups(groups: Sequence[Table]) -> list[tuple[str, Markup]]:
    drawn = {title: draw_speedups(chosen) for title, chosen in _by_place(groups).items()}
    return [(title, Markup(drawing)) for title, drawing in drawn.items() if drawing]


def _by_place(groups: Sequence[Table]) -> dict[str, list[Table]]:
    """Groups by scene and split, in words."""
    places: dict[str, list[Table]] = {}
    for group in groups:
        places.setdefault(f"{group['scene']}, {group['split']} split", []).append(group)
    return places


def _mean(bench: Table, score: str) -> float:
    values = [entry[f"{score}_difference"] for entry in bench["backbones"].values()]
    return sum(values) / len(values) if values else math.nan


def seeds(arm: Table) -> str:
    """How many runs of an arm there are, and how many of them beside "full", if not all are."""
    known = len(arm["seeds"])
    notes = [f"{arm['pairs']} with full"] if 0 < arm["pairs"] < known else []
    notes += [f"{arm['failed']} failed"] if arm["failed"] else []
    return f"{known} ({', '.join(notes)})" if notes else str(known)


def times(value: float) -> str:
    """A ratio: "12.3×"; a dash where it is 0 or unknown."""
    return f"{value:.3g}×" if value > 0 else "–"


def times_spread(table: Mapping[str, float]) -> str:
    """Median ratio (least–greatest)."""
    return _spread(times(table["median"]), times(table["least"]), times(table["greatest"]))


def points(value: float) -> str:
    """A difference of shares in percentage points, with its sign."""
    return f"{100 * value:+.2f}" if math.isfinite(value) else "–"


def points_interval(ends: Sequence[float]) -> str:
    """An interval of points in brackets; empty if unknown."""
    if not all(math.isfinite(end) for end in ends):
        return ""
    return f"[{points(ends[0])}, {points(ends[1])}]"


def seconds(value: float) -> str:
    """Seconds, three digits."""
    return compact(float(f"{value:.3g}"))


def percent_spread(table: Mapping[str, float]) -> str:
    """Median (least–greatest), in percent."""
    return _spread(percent(table["median"]), percent(table["least"]), percent(table["greatest"]))


def seconds_spread(table: Mapping[str, float]) -> str:
    """Median (least–greatest), in seconds."""
    return _spread(seconds(table["median"]), seconds(table["least"]), seconds(table["greatest"]))


def _spread(median: str, least: str, greatest: str) -> str:
    return median if least == greatest else f"{median} ({least}–{greatest})"


def stages(listed: Sequence[Sequence[int]]) -> str:
    """Stages as components@patch×epochs."""
    return ", ".join(f"{k}@{side}×{epochs}" for k, side, epochs in listed)
