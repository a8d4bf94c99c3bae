"""Report: everything a finished run has to say, as plain data; report.json is its file."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from st_ray.errors import OutputError, writing
from st_ray.report.sections import (
    Budget,
    ClassScores,
    CurriculumSummary,
    EpochSummary,
    Measured,
    SceneScores,
    SceneSummary,
    Scores,
    Seconds,
    SplitSummary,
    StageSummary,
    Versions,
)
from st_ray.spectral.files import replacing
from st_ray.storage import read_text

FORMAT = 1
"""The version of report.json's layout that this module reads and writes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """The result of one run. The three scores are of the test part, scored once, at the end.

    Attributes:
        created: When the run ended, ISO 8601 with its time zone.
        parameters: Trainable parameters of the backbone at the last stage.
        workers: Training workers; 0 is in-process, without Ray.
        overall_accuracy: Share of the test pixels classified correctly.
        average_accuracy: Mean of the per-class accuracies.
        kappa: Cohen's kappa.
        confusion: C x C test pixels, rows truth, columns prediction, both in the order of
            ``per_class``.
        stages: One record per curriculum stage.
        history: One record per epoch.
        command: The command that repeats the run.
        warnings: What the reader must know, one line each.
        by_scene: The score by scene, where scenes have one label each and a map was made.
    """

    format: int = FORMAT
    created: str
    scene: SceneSummary
    split: SplitSummary
    backbone: str
    parameters: int
    curriculum: CurriculumSummary
    budget: Budget
    seed: int
    workers: int
    device: str
    overall_accuracy: Measured
    average_accuracy: Measured
    kappa: Measured
    validation: Scores
    per_class: tuple[ClassScores, ...]
    confusion: tuple[tuple[int, ...], ...]
    seconds: Seconds
    stages: tuple[StageSummary, ...]
    history: tuple[EpochSummary, ...]
    versions: Versions
    command: str
    warnings: tuple[str, ...] = ()
    by_scene: SceneScores | None = None

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-able dicts and lists; NaN and infinities become ``None``."""
        return {field.name: plain(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Report:
        """Build a report from plain data, checking every field.

        Args:
            data: What ``to_dict`` gives; ``None`` stands for a number not measured. Keys that
                this version does not know are ignored, so that a later one may add some.

        Raises:
            OutputError: A field is missing or of the wrong type, or the format is not
                the one this version reads.
        """
        if data.get("format", FORMAT) != FORMAT:
            raise OutputError(
                f"report format {data['format']!r}: this st_ray reads format {FORMAT}; "
                "open it with the version that wrote it (see its 'versions')"
            )
        try:
            return _adapter().validate_python(dict(data))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise OutputError(
                f"not a valid report: {where}: {first['msg']}; "
                f"{error.error_count()} field(s) differ from format {FORMAT}"
            ) from error

    def save(self, path: Path) -> None:
        """Write the report as JSON; the file appears whole or not at all.

        Raises:
            OutputError: The file cannot be written.
        """
        text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)
        with writing(path), replacing(path) as file:
            file.write((text + "\n").encode())

    @classmethod
    def load(cls, path: Path | str) -> Report:
        """Read a report.json, at a path or URI.

        Raises:
            OutputError: The file is missing, not JSON, or not a report of this format.
        """
        try:
            data = json.loads(read_text(path))
        except OSError as error:
            raise OutputError(
                f"cannot read {path}: {error.strerror}; give the report.json of a finished run"
            ) from error
        except ValueError as error:
            raise OutputError(f"{path} is not JSON: {error}; run the training again") from error
        if not isinstance(data, dict):
            raise OutputError(f"{path}: expected a JSON object, got {type(data).__name__}")
        return cls.from_dict(data)


@cache
def _adapter() -> TypeAdapter[Report]:
    """The validator of plain data (built on first use: it takes some milliseconds)."""
    return TypeAdapter(Report)


def write_json(table: Mapping[str, Any], path: Path) -> None:
    """Write a table of records and numbers as a JSON file.

    Raises:
        OutputError: It cannot be written.
    """
    with writing(path), replacing(path) as file:
        file.write((json.dumps(plain(table), indent=1) + "\n").encode())


def plain(value: object) -> object:
    """Records, mappings, sequences and NumPy values as what ``json`` writes; NaN as None."""
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value
