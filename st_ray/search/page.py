"""search.html from the table of a search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markupsafe import Markup

from st_ray.bench.page import percent_spread, points, points_interval, seconds, seconds_spread
from st_ray.report.html import page_environment
from st_ray.search.course import row_score
from st_ray.search.plots import draw_front, draw_parallel, draw_staircase
from st_ray.search.schedule import Schedule

Table = dict[str, Any]


def render_search(table: Table) -> str:
    """The page: it needs no network and no other file."""
    environment = page_environment(Path(__file__).parent, Path(__file__).parents[1] / "report")
    for shape in (percent_spread, points, points_interval, seconds, seconds_spread, words, share):
        environment.filters[shape.__name__] = shape
    unit, score = table["unit_seconds"], table["score"]
    rows = [
        {
            "error": None,
            "seconds": 0.0,
            **row,
            "words": words(row["schedule"]),
            "reached": row_score(row, score),
            "relative": row["cost"] / unit,
            "on_front": row["number"] in table["front"],
        }
        for row in table["trials"]
    ]
    drawings = {
        "front": draw_front(table),
        "parallel": draw_parallel(table),
        "winner": draw_staircase(table["winner"], table["paces"]),
        "control": draw_staircase(table["control"], table["paces"]),
    }
    return environment.get_template("search.html.jinja").render(
        search=table,
        rows=rows,
        failed=[row for row in rows if row["state"] == "failed"],
        drawings={name: Markup(drawing) for name, drawing in drawings.items()},
    )


def words(schedule: Table) -> str:
    """A schedule in words."""
    return Schedule.of_table(schedule).words()


def share(value: float) -> str:
    """A share in percent, two digits after the point; a dash where it is unknown."""
    return f"{100 * value:.2f}" if value == value else "–"
