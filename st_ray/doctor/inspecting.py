"""`st-ray inspect`: a scene looked over before a run, as a plain table and what pictures show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from st_ray.compose import installed_versions
from st_ray.config import RunSpec
from st_ray.doctor.findings import (
    Finding,
    of_bands,
    of_labels,
    of_metadata,
    of_orientation,
    of_splits,
)
from st_ray.doctor.looking import Look, look_over
from st_ray.doctor.opening import open_any
from st_ray.doctor.orientation import explained
from st_ray.errors import SceneError, StRayError
from st_ray.learn.presets import find_curriculum
from st_ray.planning import amounts_of, machines_like, plan_run
from st_ray.recipe import default_shape
from st_ray.report.pictures import false_colour, thinning
from st_ray.spectral.bands import BandVerdict, apply_verdict, judge_bands
from st_ray.spectral.parts import footprint_overlap, leakage
from st_ray.spectral.scene import Scene
from st_ray.spectral.sheet import lay_sheet
from st_ray.spectral.split import settle_kind, split_labels

FORMAT = 1
_LONG = 400  # characters of an error, which may list every class
Table = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Inspection:
    """What `inspect_scene` gives.

    Attributes:
        table: What inspect.json holds.
        picture: (h, w, 3) uint8, false colour.
        labels: (h, w) class ids under it.
        spectra: (C, B) mean spectra by class, bands as kept; NaN where nothing is known.
    """

    table: Table
    picture: NDArray[np.uint8]
    labels: NDArray[np.int32]
    spectra: NDArray[np.float64]


def inspect_scene(
    spec: RunSpec, *, forecast: bool = True, say: Callable[[float], None] | None = None
) -> Inspection:
    """Look over a scene, and say what a run of this spec on it would meet.

    Args:
        spec: Scene, split, curriculum and backbone of the run.
        forecast: Whether to measure this machine's rates, some seconds.
        say: Told which share of the scene has been read.

    Raises:
        StRayError: The scene cannot be opened, or a name is unknown.
    """
    scene, findings = _open(spec)
    curriculum = find_curriculum(
        spec.curriculum, scene.cube.shape[2], spec.patch_size, default_shape(spec.backbone)
    )
    look = look_over(scene, spec.tiles.side, say)
    verdict = _judge(look, scene, findings)
    findings += of_bands(scene, look, verdict)
    findings += of_metadata(scene.cube.meta)
    table: Table = {
        "format": FORMAT,
        "scene": _scene(scene, look),
        "bands": _bands(scene, look, verdict),
        "classes": _classes(scene, look),
        "orientation": None,
        "patch_size": curriculum.patch_size,
        "splits": [],
        "forecast": None,
    }
    if scene.classes:
        findings += of_labels(scene, look, spec.split.train_fraction)
    if look.sample is not None:
        table["orientation"] = explained(look.sample)
        findings.append(of_orientation(table["orientation"]))
    usable = _usable(scene, verdict, findings)
    if usable is not None:
        table["splits"] = [
            _split(usable, spec, kind, curriculum.patch_size) for kind in _kinds(usable, spec)
        ]
        findings += of_splits(table["splits"], curriculum.patch_size)
        if forecast:
            table["forecast"] = _forecast(usable, spec, findings)
    order = ("warning", "note", "ok")
    findings.sort(key=lambda finding: order.index(finding.severity))
    table["findings"] = [asdict(finding) for finding in findings]
    table["versions"] = installed_versions()
    sheet = lay_sheet(scene.cube.extents)
    step = thinning(sheet.shape)
    return Inspection(
        table=table,
        picture=false_colour(look.picture),
        labels=sheet.lay(scene.labels)[::step, ::step],
        spectra=look.spectra,
    )


def _open(spec: RunSpec) -> tuple[Scene, list[Finding]]:
    scene, unlabelled = open_any(spec.scene, spec.tiles.side)
    findings = [Finding(severity="note", what=note) for note in scene.notes]
    if unlabelled:
        # It names the remedy itself.
        findings.append(Finding(severity="note", what=f"without labels: {unlabelled}"))
    return scene, findings


def _judge(look: Look, scene: Scene, findings: list[Finding]) -> BandVerdict:
    try:
        marked = scene.cube.meta.bad_bands
        return judge_bands(look.survey, scene.cube.band_indices, marked=marked)
    except SceneError as error:
        findings.append(Finding(severity="warning", what=str(error)))
        bad = dict.fromkeys(scene.cube.band_indices, "NaN or nodata in every pixel")
        return BandVerdict(bad=bad, masked=np.empty((0, 2), np.int64), empty=int(look.survey.empty))


def _usable(scene: Scene, verdict: BandVerdict, findings: list[Finding]) -> Scene | None:
    """The scene as training would have it; None where there is nothing to train on."""
    if len(scene.classes) < 2 or len(verdict.bad) == len(scene.cube.band_indices):
        return None
    try:
        return apply_verdict(scene, verdict, "drop")[0]
    except SceneError as error:
        findings.append(Finding(severity="warning", what=str(error)))
        return None


def _scene(scene: Scene, look: Look) -> Table:
    cube, meta = scene.cube, scene.cube.meta
    height, width, bands = cube.shape
    stored = sum(extent.pixels for extent in cube.extents)
    waves = [meta.wavelengths[band] for band in cube.band_indices] if meta.wavelengths else []
    return {
        "name": scene.name,
        "path": cube.path,
        "shape": [height, width, bands],
        "sheet": list(lay_sheet(cube.extents).shape),
        "scenes": len(cube.extents),
        "dtype": str(cube.dtype),
        "gigabytes": stored * cube.file_shape[2] * cube.dtype.itemsize / 1e9,
        "wavelengths": [min(waves), max(waves)] if waves else None,
        "grid": None if meta.grid is None else asdict(meta.grid),
        "pixels": stored,
        "labelled": int(look.pixels.sum()),
        "empty": int(look.survey.empty),
        "flat": {f"{value:g}": count for value, count in look.flat.items()},
        "false_colour": list(scene.false_colour),
    }


def _bands(scene: Scene, look: Look, verdict: BandVerdict) -> list[Table]:
    meta = scene.cube.meta
    rows = []
    for position, band in enumerate(scene.cube.band_indices):
        known = np.isfinite(look.mean[position])
        rows.append(
            {
                "band": band,
                "wavelength": meta.wavelengths[band] if meta.wavelengths else None,
                "nan": int(look.nan[position]),
                "nodata": int(look.nodata[position]),
                "minimum": float(look.survey.minimum[position]) if known else None,
                "maximum": float(look.survey.maximum[position]) if known else None,
                "mean": look.mean[position],
                "deviation": look.deviation[position],
                "at_maximum": int(look.at_maximum[position]),
                "unusable": verdict.bad.get(band),
            }
        )
    return rows


def _classes(scene: Scene, look: Look) -> list[Table]:
    total = max(1, int(look.pixels.sum()))
    return [
        {"id": index, "name": scene.class_names[index], "pixels": count, "share": count / total}
        for index, count in zip(scene.classes, look.pixels.tolist(), strict=True)
    ]


def _kinds(scene: Scene, spec: RunSpec) -> tuple[str, ...]:
    """The splits to look at: scenes that belong in one part each are split in no other way."""
    own = settle_kind(spec.split.kind, scene.members)
    return (own,) if own == "scenes" else tuple(dict.fromkeys(("random", "disjoint", own)))


def _split(scene: Scene, spec: RunSpec, kind: str, patch_size: int) -> Table:
    """What a split of this kind would be: pixels of each part, and its leakage."""
    settings = spec.split
    if kind != settings.kind:
        per_scene = settings.pixels_per_scene if kind == "scenes" else None
        settings = replace(
            settings,
            kind=kind,
            test_path=None,
            mask_key=None,
            folder=None,
            pixels_per_scene=per_scene,
        )
    try:
        split = split_labels(scene.labels, settings, spec.seed, patch_size, scene.members)
    except StRayError as error:
        text = str(error)
        return {"kind": kind, "error": text if len(text) < _LONG else f"{text[:_LONG]} …"}
    parts = {name: int(getattr(split, name).sum()) for name in ("train", "validation", "test")}
    return {
        "kind": kind,
        **parts,
        "unused": int(np.count_nonzero(scene.labels)) - sum(parts.values()),
        "leakage": leakage(split, patch_size),
        "overlap": footprint_overlap(split, patch_size),
        "notes": list(split.notes),
    }


def _forecast(scene: Scene, spec: RunSpec, findings: list[Finding]) -> Table:
    """As `st-ray plan` would tell for this scene and this machine, on one worker."""
    told = plan_run(spec, amounts_of(scene, spec), machines_like())
    for line in told["forecast"]["breaks"]:
        findings.append(
            Finding(severity="warning", what=line, remedy="ask st-ray plan for other machines")
        )
    if not told["forecast"]["breaks"]:
        findings.append(Finding(severity="ok", what="a run of it fits this machine"))
    return told
