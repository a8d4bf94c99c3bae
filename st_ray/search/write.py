"""What a search leaves: search.json and search.html."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from st_ray.errors import writing
from st_ray.report.report import plain
from st_ray.search.page import render_search


def write_search(table: dict[str, Any], folder: Path) -> None:
    """Write both.

    Raises:
        OutputError: They cannot be written.
    """
    with writing(folder):
        (folder / "search.json").write_text(json.dumps(plain(table), indent=1) + "\n", "utf-8")
        (folder / "search.html").write_text(render_search(table), "utf-8")
