"""inspect.html and audit.html."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from st_ray.bench.page import percent_spread, points, points_interval
from st_ray.doctor.inspecting import Inspection
from st_ray.doctor.plots import MOST_DRAWN, class_overlay, draw_bands, draw_gap, draw_spectra
from st_ray.report.html import page_environment
from st_ray.report.palette import class_colours, hexadecimal
from st_ray.report.pictures import data_uri
from st_ray.report.words import plain_share, size

Table = dict[str, Any]


def render_inspection(inspection: Inspection) -> str:
    """The page: it needs no network and no other file."""
    table = inspection.table
    ids = tuple(entry["id"] for entry in table["classes"])
    pictures = [("False colour", data_uri(inspection.picture))]
    if ids:
        painted = class_overlay(inspection.picture, inspection.labels, ids)
        pictures.append(("Classes over the scene", data_uri(painted)))
    height, width = table["scene"]["sheet"]
    counts = {
        severity: sum(finding["severity"] == severity for finding in table["findings"])
        for severity in ("warning", "note", "ok")
    }
    return (
        _environment()
        .get_template("inspect.html.jinja")
        .render(
            i=table,
            shown=table["classes"][:MOST_DRAWN],
            more=max(0, len(ids) - MOST_DRAWN),
            counts=counts,
            pictures=pictures,
            aspect=width / height,
            colours=[hexadecimal(colour) for colour in class_colours(len(ids))],
            spectra=Markup(draw_spectra(inspection)),
            bands=Markup(draw_bands(table)),
            odd_bands=[
                band
                for band in table["bands"]
                if band["unusable"] or band["nan"] + band["nodata"] > table["scene"]["empty"]
            ],
        )
    )


def render_audit(table: Table) -> str:
    """The page: it needs no network and no other file."""
    environment = _environment()
    for shape in (percent_spread, points, points_interval):
        environment.filters[shape.__name__] = shape
    drawn = Markup(draw_gap(table["rows"])) if table["rows"] else ""
    return environment.get_template("audit.html.jinja").render(a=table, gap=drawn)


def _environment() -> jinja2.Environment:
    environment = page_environment(Path(__file__).parent)
    environment.filters["plain_share"] = plain_share
    environment.filters["size"] = size
    environment.filters["count"] = "{:,}".format
    return environment
