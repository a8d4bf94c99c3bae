"""write_report: put map.png, report.html and report.json into a run's output directory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from st_ray.errors import OutputError, writing
from st_ray.report.html import render_page
from st_ray.report.pictures import class_picture, png, thinning, zoom_for
from st_ray.report.report import Report
from st_ray.spectral.files import replacing


def write_report(
    report: Report,
    *,
    class_map: NDArray[np.integer] | None,
    labels: NDArray[np.integer],
    parts: NDArray[np.integer],
    false_colour: NDArray[np.uint8],
    out: Path,
) -> None:
    """Write ``map.png``, ``report.html`` and, last, ``report.json``.

    The presence of report.json marks a finished run: one left by an earlier run is removed
    first, and so is an earlier map.png when there is no map.

    Args:
        report: The run's report.
        class_map: (H, W) predicted class ids, 0 where nothing was predicted; ``None`` when the
            map was switched off.
        labels: (H, W) true class ids, 0 where unlabelled.
        parts: (H, W) split: 0 unused, 1 train, 2 validation, 3 test.
        false_colour: Picture of the scene, every `thinning`-th row and column of it: the page
            shows a large scene thinned, map.png shows it whole.
        out: The output directory; created when missing.

    Raises:
        OutputError: A raster's shape is not the scene's, or ``out`` cannot be written.
    """
    _check_shapes(report, class_map, labels, parts, false_colour)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        (out / "report.json").unlink(missing_ok=True)
        if class_map is None:
            (out / "map.png").unlink(missing_ok=True)
    if class_map is not None:
        picture = class_picture(class_map, tuple(entry.id for entry in report.scene.classes))
        write_bytes(out / "map.png", png(picture, zoom=zoom_for(picture.shape)))
    step = thinning(labels.shape)
    page = render_page(
        report,
        class_map=None if class_map is None else class_map[::step, ::step],
        labels=labels[::step, ::step],
        parts=parts[::step, ::step],
        false_colour=false_colour,
    )
    write_bytes(out / "report.html", page.encode())
    report.save(out / "report.json")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that it appears whole or not at all.

    Raises:
        OutputError: It cannot be written.
    """
    with writing(path), replacing(path) as file:
        file.write(content)


def _check_shapes(
    report: Report,
    class_map: NDArray[np.integer] | None,
    labels: NDArray[np.integer],
    parts: NDArray[np.integer],
    false_colour: NDArray[np.uint8],
) -> None:
    expected = tuple(report.scene.shape[:2])
    rasters = {"class_map": class_map, "labels": labels, "parts": parts}
    for name, raster in rasters.items():
        if raster is not None and raster.shape != expected:
            raise OutputError(f"{name} is {raster.shape}; expected the scene's {expected}")
    step = thinning(expected)
    pictured = (*(-(-size // step) for size in expected), 3)
    if false_colour.shape != pictured:
        raise OutputError(f"false_colour is {false_colour.shape}; expected {pictured}")
