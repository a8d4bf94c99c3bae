"""report.html: one self-contained page, from the template page.html.jinja."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import jinja2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from st_ray.report import words
from st_ray.report.curves import draw_curves
from st_ray.report.palette import PART_COLOURS, class_colours, hexadecimal
from st_ray.report.pictures import (
    RIGHT,
    WRONG,
    class_picture,
    data_uri,
    error_picture,
    split_picture,
)
from st_ray.report.report import Report


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """One picture of the scene on the page; ``key`` pairs a colour with its meaning."""

    title: str
    note: str
    source: str
    key: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One cell of the confusion matrix; ``share`` is of its row, ``heat`` its colour's strength."""

    count: int
    share: float
    heat: float
    truth: str
    predicted: str
    right: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Slice:
    """One piece of a stacked bar; ``share`` is of the whole bar, 0-1."""

    name: str
    share: float
    text: str


def render_page(
    report: Report,
    *,
    class_map: NDArray[np.integer] | None,
    labels: NDArray[np.integer],
    parts: NDArray[np.integer],
    false_colour: NDArray[np.uint8],
) -> str:
    """Fill the page; it needs no network and no other file, and all text is escaped.

    Args:
        report: The run's report.
        class_map: (H, W) predicted class ids or ``None`` when there is no map.
        labels: (H, W) true class ids.
        parts: (H, W) split: 0 unused, 1 train, 2 validation, 3 test.
        false_colour: (H, W, 3) picture of the scene.

    Returns:
        The HTML source.
    """
    ids = tuple(entry.id for entry in report.scene.classes)
    colours = class_colours(len(ids))
    optimistic, honesty = words.honesty(report.split)
    height, width = labels.shape
    return _template().render(
        report=report,
        optimistic=optimistic,
        honesty=honesty,
        colours={identity: hexadecimal(c) for identity, c in zip(ids, colours, strict=True)},
        pictures=_pictures(ids, class_map, labels, parts, false_colour),
        has_map=class_map is not None,
        aspect=width / height,
        parts_of={entry.id: entry for entry in report.split.counts},
        confusion=_confusion(report),
        curves={name: Markup(svg) for name, svg in draw_curves(report).items()},
        phases=_phases(report),
        stage_bars=_stage_bars(report),
    )


_NUMBERS = (words.percent, words.number, words.compact, words.duration)


def page_environment(*folders: Path) -> jinja2.Environment:
    """Where pages are filled: templates of these folders and of the report, all text escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader((*folders, Path(__file__).parent)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for shape in (*_NUMBERS, words.shares, words.whitening):
        environment.filters[shape.__name__] = shape
    environment.filters["width"] = _width
    environment.globals["saving"] = words.saving
    return environment


@cache
def _template() -> jinja2.Template:
    return page_environment().get_template("page.html.jinja")


def _width(share: float) -> str:
    """A share as a CSS percentage's number; 0 when it was not measured."""
    return f"{100 * min(1.0, max(0.0, share)):.2f}" if np.isfinite(share) else "0"


def _pictures(
    ids: tuple[int, ...],
    class_map: NDArray[np.integer] | None,
    labels: NDArray[np.integer],
    parts: NDArray[np.integer],
    false_colour: NDArray[np.uint8],
) -> list[Picture]:
    truth = class_picture(labels, ids)
    named = [hexadecimal(colour) for colour in PART_COLOURS[1:]]
    part_key = tuple(zip(named, ("train", "validation", "test"), strict=True))
    found = []
    if class_map is not None:
        predicted = class_picture(class_map, ids)
        found.append(Picture(title="Class map", note="as predicted", source=data_uri(predicted)))
    found += [
        Picture(title="Ground truth", note="as labelled", source=data_uri(truth)),
        Picture(title="Split", note="", source=data_uri(split_picture(parts)), key=part_key),
    ]
    if class_map is not None:
        errors = error_picture(class_map, labels, parts)
        key = ((hexadecimal(RIGHT), "right"), (hexadecimal(WRONG), "wrong"))
        found.append(Picture(title="Test pixels", note="", source=data_uri(errors), key=key))
    scene = Picture(
        title="Scene", note="false colour, 2–98 % stretch", source=data_uri(false_colour)
    )
    return [*found, scene]


def _confusion(report: Report) -> list[list[Cell]]:
    names = [entry.name for entry in report.per_class]
    rows = []
    for row, counts in enumerate(report.confusion):
        total = max(1, sum(counts))
        rows.append(
            [
                Cell(
                    count=count,
                    share=count / total,
                    heat=max(0.12, (count / total) ** (1 if row == column else 0.5)),
                    truth=names[row],
                    predicted=names[column],
                    right=row == column,
                )
                for column, count in enumerate(counts)
            ]
        )
    return rows


def _phases(report: Report) -> list[Slice]:
    """Where the seconds went; what no phase accounts for is "other"."""
    seconds = {field.name: getattr(report.seconds, field.name) for field in fields(report.seconds)}
    total = seconds.pop("total")
    known = {name: spent for name, spent in seconds.items() if np.isfinite(spent)}
    other = total - sum(known.values()) if np.isfinite(total) else 0.0
    whole = max(total if np.isfinite(total) else 0.0, sum(known.values()))
    if other > 0.005 * whole:
        known["other"] = other
    return [
        Slice(name=name, share=spent / whole if whole else 0, text=words.duration(spent))
        for name, spent in known.items()
    ]


def _stage_bars(report: Report) -> list[tuple[str, str, list[Slice]]]:
    """What each stage took: (quantity, its total in words, one slice per stage)."""
    quantities = (
        ("epochs", [float(stage.epochs) for stage in report.stages], "{} epochs"),
        ("estimated cost", [stage.cost for stage in report.stages], "{} full-spectrum epochs"),
        ("seconds", [stage.seconds for stage in report.stages], "{} s"),
    )
    bars: list[tuple[str, str, list[Slice]]] = []
    for name, values, unit in quantities:
        finite = [value if np.isfinite(value) else 0.0 for value in values]
        whole = sum(finite)
        slices = [
            Slice(
                name=f"stage {position}",
                share=value / whole if whole else 0,
                text=unit.format(words.compact(value)),
            )
            for position, value in enumerate(finite, start=1)
        ]
        bars.append((name, unit.format(words.compact(whole)), slices))
    return bars
