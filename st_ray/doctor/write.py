"""Put the pages, tables and pictures of the doctor into a folder."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from st_ray.doctor.inspecting import Inspection
from st_ray.doctor.page import render_audit, render_inspection
from st_ray.doctor.plots import draw_picture
from st_ray.report.report import write_json
from st_ray.report.write import write_bytes


def write_inspection(inspection: Inspection, out: Path) -> None:
    """Write inspect.html, inspect.png and inspect.json.

    Raises:
        OutputError: They cannot be written.
    """
    picture = io.BytesIO()
    draw_picture(inspection).savefig(picture, format="png", bbox_inches="tight")
    write_bytes(out / "inspect.html", render_inspection(inspection).encode())
    write_bytes(out / "inspect.png", picture.getvalue())
    write_json(inspection.table, out / "inspect.json")


def write_audit(table: dict[str, Any], out: Path) -> None:
    """Write audit.html and audit.json.

    Raises:
        OutputError: They cannot be written.
    """
    write_bytes(out / "audit.html", render_audit(table).encode())
    write_json(table, out / "audit.json")
