"""The sections of a report: small frozen records of plain data, one per key of report.json.

Accuracies, shares and kappa are fractions (not percentages), times are seconds, counts are
pixels. A number that was not measured is NaN here and ``null`` in report.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from pydantic import BeforeValidator

Measured: TypeAlias = Annotated[
    float, BeforeValidator(lambda value: float("nan") if value is None else value)
]
"""A float that is NaN where nothing was measured; report.json writes NaN as ``null``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassPixels:
    """One class of the scene and its labelled pixels."""

    id: int
    name: str
    pixels: int


@dataclass(frozen=True, kw_only=True, slots=True)
class DroppedBand:
    """A band left out; ``band`` counts from 0 as in the file."""

    band: int
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneSummary:
    """The scene: ``shape`` is (H, W, B) of the bands kept, and of the sheet if it is several."""

    name: str
    path: str
    shape: tuple[int, int, int]
    bands_dropped: tuple[DroppedBand, ...]
    classes: tuple[ClassPixels, ...]
    scenes: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class PartCounts:
    """Labelled pixels in each part of the split."""

    train: int
    validation: int
    test: int
    unused: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassParts:
    """Labelled pixels of one class in each part of the split."""

    id: int
    name: str
    train: int
    validation: int
    test: int
    unused: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitSummary:
    """How the labelled pixels were split, and how much the test part knows of the training part.

    ``seed`` and the fractions are what the split was drawn with; ``None`` where a file fixes it.
    ``leakage`` is the share of test patches whose footprint holds a training pixel,
    ``footprint_overlap`` the share whose footprint meets a training patch's footprint; both for
    the largest patch, ``patch_size`` pixels on a side. ``guard`` is in pixels.
    """

    kind: str
    seed: int | None
    train_fraction: float | None
    validation_fraction: float | None
    guard: int | None
    patch_size: int
    counts: tuple[ClassParts, ...]
    totals: PartCounts
    leakage: Measured
    footprint_overlap: Measured
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class CurriculumSummary:
    """The curriculum; ``rank`` is the basis's.

    ``whitening`` is the exponent of the variances that components are divided by: 0 none, 0.5 full.
    """

    name: str
    axis: str
    whitening: float
    basis_pixels: str
    rank: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """The compute budget.

    ``cost`` is the sum over stages of e_i (B_i / B)^2 (k_i / D), in full-spectrum epochs;
    ``full_cost`` is that of the baseline, T0 epochs on all bands (SpectralTrain,
    arXiv 2511.16084).
    """

    full_epochs: int
    beta: float
    epochs: int
    cost: float
    full_cost: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """Overall accuracy, average (per-class mean) accuracy and Cohen's kappa."""

    overall_accuracy: Measured
    average_accuracy: Measured
    kappa: Measured


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneScores:
    """Test scenes with one label each: a scene is right if most of its pixels are."""

    scored: int
    right: int
    accuracy: Measured


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassScores:
    """One class on the test part; ``accuracy`` is recall, NaN for a class without test pixels."""

    id: int
    name: str
    pixels: int
    accuracy: Measured
    precision: Measured
    f1: Measured


@dataclass(frozen=True, kw_only=True, slots=True)
class Seconds:
    """Wall-clock seconds by phase; ``total`` is the whole run."""

    total: Measured
    startup: Measured
    statistics: Measured
    ingest: Measured
    train: Measured
    evaluate: Measured
    map: Measured


@dataclass(frozen=True, kw_only=True, slots=True)
class StageSummary:
    """One stage as trained; ``loss`` and ``validation_accuracy`` are those of its last epoch."""

    components: int
    patch_size: int
    epochs: int
    batch_size: int
    seconds: Measured
    samples_per_second: Measured
    loss: Measured
    validation_accuracy: Measured
    cost: float


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochSummary:
    """One epoch: ``epoch`` counts from 1 over the run, ``stage`` from 0."""

    epoch: int
    stage: int
    loss: Measured
    learning_rate: Measured
    validation_loss: Measured
    validation_accuracy: Measured
    seconds: Measured


Versions: TypeAlias = Mapping[str, str | None]
"""Package name to version; ``None`` for one that is not installed."""
