"""The figures of inspect.html and audit.html, and inspect.png.

Shape letters: H W scene or its thinned picture, B bands, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from st_ray.doctor.inspecting import Inspection
from st_ray.report.drawing import INK, MUTED, TRAIN, VALIDATION, drawing, svg
from st_ray.report.palette import class_colours, hexadecimal
from st_ray.report.pictures import class_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Table = dict[str, Any]
Row = dict[str, Any]
_GAP = 5.0  # times the usual step between bands: a line is not drawn across


def overlay(picture: NDArray[np.uint8], labels_HW: NDArray[np.int32]) -> NDArray[np.uint8]:
    """The classes in their colours over the scene in grey."""
    ids = tuple(int(index) for index in np.unique(labels_HW) if index)
    return class_overlay(picture, labels_HW, ids)


def class_overlay(
    picture: NDArray[np.uint8], labels_HW: NDArray[np.int32], ids: tuple[int, ...]
) -> NDArray[np.uint8]:
    """As `overlay`, with the colours of these classes in their order."""
    grey = picture.mean(axis=2, keepdims=True)
    colours = class_picture(labels_HW, ids).astype(np.float64)
    labelled = (labels_HW != 0)[:, :, None]
    painted = np.where(labelled, 0.3 * grey + 0.7 * colours, 0.75 * grey)
    return np.asarray(painted.round(), dtype=np.uint8)


def draw_spectra(inspection: Inspection) -> str:
    """Mean spectrum of every class; empty without labels."""
    if not inspection.table["classes"]:
        return ""
    with drawing():
        figure, axes = _figure(9.6, 3.5)
        _spectra(axes, inspection)
        return svg(figure, "Mean spectrum of each class")


def draw_bands(table: Table) -> str:
    """Least, mean and greatest value of every band."""
    bands = table["bands"]
    at, label = _axis(bands)
    columns = {name: _column(bands, name) for name in ("minimum", "maximum", "mean", "deviation")}
    with drawing():
        figure, axes = _figure(9.6, 2.8)
        for start, stop in _runs(at):
            own = slice(start, stop)
            x, mean, deviation = at[own], columns["mean"][own], columns["deviation"][own]
            low, high = columns["minimum"][own], columns["maximum"][own]
            axes.fill_between(x, low, high, color=TRAIN, alpha=0.14, linewidth=0)
            axes.fill_between(
                x, mean - deviation, mean + deviation, color=TRAIN, alpha=0.3, linewidth=0
            )
            axes.plot(x, mean, color=TRAIN)
        wrong = [x for x, band in zip(at, bands, strict=True) if band["unusable"]]
        for x in wrong:
            axes.axvline(x, color=VALIDATION, linewidth=1.2)
        axes.set_xlabel(label)
        axes.set_ylabel("value")
        axes.margins(x=0.01)
        return svg(figure, "Values of each band")


def draw_gap(rows: Sequence[Row]) -> str:
    """OA of every classifier on both splits, seed by seed, joined at the medians."""
    with drawing():
        figure, axes = _figure(9.6, 0.9 + 0.55 * len(rows))
        for at, row in enumerate(rows):
            ends = [100 * row[kind]["oa"]["median"] for kind in ("disjoint", "random")]
            axes.plot(ends, [at, at], "-", color=MUTED, linewidth=1.4, zorder=1)
            for kind, colour in (("random", VALIDATION), ("disjoint", TRAIN)):
                own = [100 * value for value in row[kind]["oa"]["values"]]
                axes.plot(own, [at] * len(own), "o", color=colour, alpha=0.35, markersize=5)
                axes.plot(
                    100 * row[kind]["oa"]["median"],
                    at,
                    "o",
                    color=colour,
                    markersize=9,
                    label=f"{kind} split" if at == 0 else None,
                )
        axes.set_yticks(range(len(rows)), [_as_text(row["classifier"]) for row in rows])
        axes.tick_params(axis="y", labelcolor=INK)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel("test OA, % (small: each seed, large: median)")
        axes.grid(visible=False, axis="y")
        axes.grid(visible=True, axis="x")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
        return svg(figure, "Overall accuracy on a random and a disjoint split")


def draw_picture(inspection: Inspection) -> Figure:
    """False colour, classes over the scene, and mean spectra, side by side."""
    from matplotlib.figure import Figure

    height, width = inspection.labels.shape
    classes = inspection.table["classes"]
    wide = min(2.0, max(0.5, width / height))
    panels = 2 if classes else 1
    figure = Figure(figsize=(3.6 * wide * panels + (6.0 if classes else 0), 4.2), dpi=130)
    figure.set_layout_engine("constrained")
    ratios = [3.6 * wide] * panels + ([6.0] if classes else [])
    axes = np.atleast_1d(figure.subplots(1, len(ratios), gridspec_kw={"width_ratios": ratios}))
    axes[0].imshow(inspection.picture)
    axes[0].set_title(_as_text(f"{inspection.table['scene']['name']}, false colour"), fontsize=9)
    if classes:
        axes[1].imshow(overlay(inspection.picture, inspection.labels))
        axes[1].set_title("classes", fontsize=9)
        _spectra(axes[2], inspection)
        axes[2].set_title("mean spectra", fontsize=9)
        axes[2].spines[["top", "right"]].set_visible(False)
        if len(classes) <= MOST_DRAWN // 2:
            axes[2].legend(fontsize=6.5, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    for own in axes[:panels]:
        own.set_axis_off()
    return figure


MOST_DRAWN = 60  # classes that a figure or legend can hold


def _as_text(name: str) -> str:
    """A name as matplotlib prints it: two dollar signs would begin and end a formula."""
    return name.replace("$", r"\$")


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _spectra(axes: Axes, inspection: Inspection) -> None:
    classes = inspection.table["classes"]
    at, label = _axis(inspection.table["bands"])
    colours = class_colours(len(classes))
    every = zip(classes, colours, inspection.spectra, strict=True)
    for entry, colour, spectrum_B in list(every)[:MOST_DRAWN]:
        for number, (start, stop) in enumerate(_runs(at)):
            axes.plot(
                at[start:stop],
                spectrum_B[start:stop],
                color=hexadecimal(colour),
                linewidth=1.4,
                label=None if number else _as_text(f"{entry['id']} {entry['name']}"),
            )
    axes.set_xlabel(label)
    axes.set_ylabel("mean value")
    axes.margins(x=0.01)


def _axis(bands: Sequence[Row]) -> tuple[NDArray[np.float64], str]:
    if all(band["wavelength"] is not None for band in bands):
        return _column(bands, "wavelength"), "wavelength, nm"
    return _column(bands, "band"), "band, as numbered in the file from 0"


def _runs(at_B: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Bands between which nothing is left out: (first, one after the last)."""
    steps = np.abs(np.diff(at_B))
    usual = float(np.median(steps)) if len(steps) else 0.0
    cuts = [int(cut) + 1 for cut in np.flatnonzero(steps > max(_GAP * usual, 1e-9))]
    return list(zip([0, *cuts], [*cuts, len(at_B)], strict=True))


def _column(rows: Sequence[Row], name: str) -> NDArray[np.float64]:
    return np.array([np.nan if row[name] is None else row[name] for row in rows], np.float64)
