"""The end of a search, in words for the terminal."""

from __future__ import annotations

from typing import Any

from st_ray.bench.page import points, points_interval
from st_ray.search.schedule import Schedule
from st_ray.storage import join, parent


def ending(table: dict[str, Any]) -> str:
    """What was found, how it compares with "default", and where to look."""
    page = join(parent(table["found"]), "search.html")
    if not table["complete"]:
        head = "The time was over before the search was; repeat the command to go on."
    elif table["winner_is_default"]:
        head = f"Of {table['configurations_tried']} schedules none is better than default."
    else:
        words = Schedule.of_table(table["winner"]).words()
        head = f"Recommended: {words}, {table['winner_cost']:.2f} times the cost of default."
    lines = [head]
    compared = table["confirmation"]
    if compared:
        ratio = compared["time_ratio"]["median"]
        lines.append(
            f"On {len(compared['seeds'])} fresh seeds, test pixels, points against default: OA "
            f"{_difference(compared, 'oa')}, AA {_difference(compared, 'aa')}; "
            f"{1 / ratio:.2f} of its time."
        )
    lines += [
        f"st-ray train --config {table['replay']}",
        f"Results: {page}",
    ]
    return "\n".join(lines)


def _difference(compared: dict[str, Any], score: str) -> str:
    interval = points_interval(compared[f"{score}_interval"])
    return f"{points(compared[f'{score}_difference'])} {interval}".strip()
