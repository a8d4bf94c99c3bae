"""Curves of a run over its epochs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from st_ray.report.drawing import MUTED, SHADE, TRAIN, VALIDATION, drawing, svg
from st_ray.report.report import Report
from st_ray.report.sections import EpochSummary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LOG_FROM = 30


def draw_curves(report: Report) -> dict[str, str]:
    """Draw the run's curves over its epochs, the stages shaded.

    Returns:
        SVG source by name: ``loss`` (with the learning rate), ``accuracy`` (validation) and
        ``cost`` (cumulative estimated cost and seconds); empty when no epoch was recorded.
    """
    if not report.history:
        return {}
    with drawing():
        return {
            "loss": svg(_loss_figure(report.history), "Loss and learning rate by epoch"),
            "accuracy": svg(_accuracy_figure(report.history), "Validation accuracy by epoch"),
            "cost": svg(_cost_figure(report), "Cumulative cost and seconds by epoch"),
        }


def _loss_figure(history: Sequence[EpochSummary]) -> Figure:
    figure, (top, bottom) = _panels(history, ratios=(3, 1.3))
    train = _column(history, "loss")
    validation = _column(history, "validation_loss")
    epochs = _column(history, "epoch")
    top.plot(epochs, train, color=TRAIN, label="train", **_mark(epochs))
    if np.isfinite(validation).any():
        top.plot(epochs, validation, color=VALIDATION, label="validation", **_mark(epochs))
        top.legend(loc="best")
    drawn = np.concatenate([train, validation])
    drawn = drawn[np.isfinite(drawn)]
    if drawn.size and drawn.min() > 0 and drawn.max() / drawn.min() > _LOG_FROM:
        top.set_yscale("log")
    top.set_ylabel("loss")
    bottom.plot(epochs, _column(history, "learning_rate"), color=MUTED, **_mark(epochs))
    bottom.set_ylim(bottom=0)
    bottom.set_ylabel("learning\nrate")
    bottom.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    return figure


def _accuracy_figure(history: Sequence[EpochSummary]) -> Figure:
    figure, (axes,) = _panels(history, ratios=(1,))
    epochs = _column(history, "epoch")
    accuracy = 100 * _column(history, "validation_accuracy")
    axes.plot(epochs, accuracy, color=VALIDATION, **_mark(epochs))
    lowest = np.min(accuracy[np.isfinite(accuracy)], initial=100)
    axes.set_ylim(max(0, 10 * np.floor((lowest - 1) / 10)), 101)
    axes.set_ylabel("validation overall accuracy, %")
    return figure


def _cost_figure(report: Report) -> Figure:
    figure, (top, bottom) = _panels(report.history, ratios=(1, 1))
    edges = np.concatenate([[0.5], _column(report.history, "epoch") + 0.5])
    costs = {index: stage.cost for index, stage in enumerate(report.stages)}
    lengths = {stage: count for stage, _, count in _spans(report.history)}
    spent = [costs.get(epoch.stage, 0) / lengths[epoch.stage] for epoch in report.history]
    top.plot(edges, list(accumulate(spent, initial=0)), color=TRAIN)
    top.set_ylabel("estimated cost,\nfull epochs")
    seconds = np.nan_to_num(_column(report.history, "seconds"))
    bottom.plot(edges, np.concatenate([[0], np.cumsum(seconds)]), color=TRAIN)
    bottom.set_ylabel("epoch time,\nseconds")
    for axes in (top, bottom):
        axes.set_ylim(bottom=0)
    return figure


def _panels(
    history: Sequence[EpochSummary], *, ratios: Sequence[float]
) -> tuple[Figure, list[Axes]]:
    """A figure of panels above one another that share the epochs, with the stages shaded."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(4.7, 3.25), layout="constrained")
    grid = figure.subplots(
        len(ratios), sharex=True, squeeze=False, gridspec_kw={"height_ratios": ratios}
    )
    panels = list(grid[:, 0])
    spans = _spans(history)
    for axes in panels:
        for stage, start, count in spans:
            if stage % 2 == 0:
                axes.axvspan(start - 0.5, start + count - 0.5, color=SHADE, linewidth=0)
    for stage, start, count in spans:
        label = f"stage {stage + 1}" if count * 8 >= len(history) else str(stage + 1)
        middle = (start + (count - 1) / 2, 1.0)
        panels[0].annotate(
            label, middle, (0, 3), xycoords=("data", "axes fraction"),
            textcoords="offset points", ha="center", va="bottom", fontsize=8, color=MUTED,
        )  # fmt: skip
    panels[-1].set_xlim(history[0].epoch - 0.5, history[-1].epoch + 0.5)
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    panels[-1].set_xlabel("epoch")
    return figure, panels


def _spans(history: Sequence[EpochSummary]) -> list[tuple[int, int, int]]:
    """The stages run: (stage, its first epoch, its number of epochs)."""
    groups = [(stage, list(epochs)) for stage, epochs in groupby(history, lambda e: e.stage)]
    return [(stage, epochs[0].epoch, len(epochs)) for stage, epochs in groups]


def _column(history: Sequence[EpochSummary], name: str) -> NDArray[np.float64]:
    return np.array([getattr(epoch, name) for epoch in history], dtype=np.float64)


def _mark(epochs: NDArray[np.float64]) -> dict[str, Any]:
    """Dots on short curves, so that one epoch shows as well."""
    return {"marker": "o", "markersize": 3.5} if len(epochs) <= 40 else {}
