"""What a look at a scene says of a run on it: findings, each with its remedy.

Shape letters: B bands, C classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from st_ray.doctor.looking import Look
from st_ray.doctor.orientation import AS_IS, LEAST, TURNS, better
from st_ray.report.words import compact, plain_share
from st_ray.spectral.bands import BandVerdict, counted
from st_ray.spectral.metadata import Metadata
from st_ray.spectral.scene import Scene

Severity = Literal["ok", "note", "warning"]
_SHOWN = 8  # bands or classes named in one line
_LISTED = 50  # classes that are still told apart
_SATURATED = 0.001  # of the pixels, at a band's very maximum
_FEWEST = 16  # of them
_STRAY = 12.0  # standard deviations
_FEW_TRAINED = 5  # pixels of a class that train: fewer are luck
_NEARLY_ALL = 0.5  # of the test patches


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing to know.

    Attributes:
        severity: "ok": looked at, nothing wrong; "note": to know; "warning": it would make the
            score wrong, or the run fail.
        what: What was found.
        remedy: What to do; "" where nothing is to be done.
    """

    severity: Severity
    what: str
    remedy: str = ""


def of_bands(scene: Scene, look: Look, verdict: BandVerdict) -> Iterator[Finding]:
    """Unusable, saturated and unmeasured values."""
    pixels = int(look.survey.seen) + int(look.survey.empty)
    if verdict.bad:
        listed = _some(f"{band} ({reason})" for band, reason in verdict.bad.items())
        yield Finding(
            severity="warning",
            what=f"{counted(len(verdict.bad), 'band')} cannot be used: {listed}",
            remedy="training leaves them out; --set scene.bad_bands=error stops instead",
        )
    else:
        yield Finding(severity="ok", what="no band is constant, empty or mostly invalid")
    usable = np.array([band not in verdict.bad for band in scene.cube.band_indices])
    lacking = int((look.survey.invalid[usable] > 0).sum())
    if lacking:
        yield Finding(
            severity="note",
            what=f"values are missing (NaN or nodata) in {counted(lacking, 'usable band')}",
            remedy="pixels without a value there are left out of training and map",
        )
    if look.survey.empty:
        share = int(look.survey.empty) / pixels
        yield Finding(
            severity="note",
            what=f"{int(look.survey.empty):,} pixels ({_percent(share)}) hold no valid value",
            remedy="they are neither trained on nor mapped",
        )
    if len(verdict.masked):
        yield Finding(
            severity="warning",
            what="a usable band's value is missing in "
            f"{counted(len(verdict.masked), 'labelled pixel')}",
            remedy="training leaves them out; check that labels and image belong together",
        )
    yield from _flat(look, scene.cube.meta, pixels)
    yield from _saturated(scene, look, verdict)
    yield from _stray(look)


def _flat(look: Look, meta: Metadata, pixels: int) -> Iterator[Finding]:
    for value, count in sorted(look.flat.items(), key=lambda pair: -pair[1])[:3]:
        stored = (value - meta.offset[0]) / meta.scale[0]
        yield Finding(
            severity="warning",
            what=f"the value is {value:g} in every band of {counted(count, 'pixel')} "
            f"({_percent(count / pixels)}), as it is where nothing was measured",
            remedy=f"if it stands for nodata: --set scene.nodata={stored:g}",
        )


def _saturated(scene: Scene, look: Look, verdict: BandVerdict) -> Iterator[Finding]:
    seen = np.maximum(int(look.survey.seen) - look.survey.invalid, 1)
    least = np.maximum(_SATURATED * seen, _FEWEST)
    own = scene.cube.band_indices
    found = [i for i in np.flatnonzero(look.at_maximum > least) if own[i] not in verdict.bad]
    if not found:
        yield Finding(severity="ok", what="no band is saturated")
        return
    listed = _some(
        f"{own[i]} ({_percent(look.at_maximum[i] / seen[i])} at {look.survey.maximum[i]:g})"
        for i in found
    )
    yield Finding(
        severity="warning",
        what=f"many pixels have the very maximum of {counted(len(found), 'band')}, as in "
        f"saturation: {listed}",
        remedy="check the sensor's range; bright classes cannot be told apart there",
    )


def _stray(look: Look) -> Iterator[Finding]:
    known = look.deviation > 0
    far = np.maximum(look.survey.maximum - look.mean, look.mean - look.survey.minimum)[known]
    found = int((far > _STRAY * look.deviation[known]).sum())
    if found:
        yield Finding(
            severity="note",
            what=f"there are values more than {_STRAY:.0f} standard deviations from the mean of "
            f"{counted(found, 'band')}: a dead or stray pixel, or a very bright target",
            remedy="look for it in the false colour; if it is labelled, unlabel it",
        )


def of_metadata(meta: Metadata) -> Iterator[Finding]:
    """Wavelengths."""
    if not meta.wavelengths:
        yield Finding(
            severity="note",
            what="the file names no wavelengths",
            remedy="a model of this scene cannot check that another one has the same bands",
        )
        return
    steps = np.diff(meta.wavelengths)
    if (steps <= 0).any():
        bands = np.flatnonzero(steps <= 0) + 1
        yield Finding(
            severity="warning",
            what=f"wavelengths do not ascend, first at band {int(bands[0])}",
            remedy="models that convolve along the spectrum need neighbours side by side",
        )


def of_labels(scene: Scene, look: Look, train_fraction: float) -> Iterator[Finding]:
    """Counts of classes."""
    names = {index: _named(scene, index) for index in scene.classes}
    pixels = list(zip(scene.classes, look.pixels.tolist(), strict=True))
    if len(pixels) < 2:
        yield Finding(
            severity="warning",
            what=f"only one class is labelled: {names[scene.classes[0]]}",
            remedy="a classifier needs two",
        )
        return
    hopeless = [index for index, count in pixels if count < 3]
    if hopeless:
        yield Finding(
            severity="warning",
            what=f"fewer than 3 pixels, too few for three parts: {_some(map(names.get, hopeless))}",
            remedy=f"leave out with --set scene.ignore_classes={hopeless}"
            if len(hopeless) <= _LISTED
            else "see whether the raster holds class ids at all",
        )
    tiny = [
        f"{names[index]} ({count})"
        for index, count in pixels
        if count >= 3 and round(train_fraction * count) < _FEW_TRAINED
    ]
    if tiny:
        yield Finding(
            severity="note",
            what=f"fewer than {_FEW_TRAINED} pixels would train: {_some(tiny)}",
            remedy="their accuracy is luck: compare over several seeds, or --train-fraction",
        )
    if not hopeless and not tiny:
        yield Finding(severity="ok", what="every class has enough pixels to train, tune and test")
    counts = [count for _, count in pixels]
    ratio = max(counts) / max(1, min(counts))
    if ratio > _UNEVEN:
        yield Finding(
            severity="note",
            what=f"the largest class has {compact(ratio)} times the pixels of the smallest",
            remedy="look at AA beside OA; training repeats the rare ones (train.class_floor)",
        )


_UNEVEN = 20.0


def of_orientation(shares: dict[str, float]) -> Finding:
    """Whether the labels lie as they should."""
    own = shares[AS_IS]
    turned = better(shares)
    others = [share for name, share in shares.items() if name != AS_IS]
    if turned is None and own < LEAST:
        return Finding(
            severity="warning",
            what=f"classes explain only {_percent(own)} of the spectra's variance, however the "
            "labels are laid",
            remedy="check that labels and image belong together, and are not shifted",
        )
    if turned is None:
        return Finding(
            severity="ok",
            what=f"the labels lie right: classes explain {_percent(own)} of the variance, at most "
            f"{_percent(max(others))} if the labels were turned or transposed",
        )
    return Finding(
        severity="warning",
        what=f"the labels seem to lie wrong: classes explain {_percent(own)} of the variance, and "
        f"{_percent(shares[turned])} with the labels {turned}",
        remedy=f"save the labels anew as {TURNS[turned][0]} (NumPy) and inspect again",
    )


def of_splits(rows: Iterable[dict[str, object]], patch_size: int) -> Iterator[Finding]:
    """What the splits would do to a score."""
    for row in rows:
        kind, error = row["kind"], row.get("error")
        if error:
            yield Finding(severity="warning", what=f"split {kind}: {error}")
            continue
        leakage = float(row["leakage"])  # type: ignore[arg-type]
        patch = f"{patch_size}x{patch_size} patches"
        if leakage > 0:
            yield Finding(
                severity="warning" if leakage > _NEARLY_ALL else "note",
                what=f"split {kind}: {_percent(leakage)} of the test {patch} hold a training pixel",
                remedy="a score on it says little about unseen ground; use --split disjoint",
            )
        else:
            yield Finding(
                severity="ok", what=f"split {kind}: no test {patch[:-2]} holds a training pixel"
            )


def _named(scene: Scene, index: int) -> str:
    name = scene.class_names[index]
    return name if name == f"class {index}" else f"{index} {name}"


def _some(items: Iterable[object]) -> str:
    listed = [str(item) for item in items]
    more = len(listed) - _SHOWN
    return ", ".join(listed[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _percent(share: float) -> str:
    return f"{plain_share(float(share))} %"
