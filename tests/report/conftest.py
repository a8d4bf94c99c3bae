"""A realistic report of a small made-up scene, the same at every call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from st_ray.report import (
    Budget,
    ClassParts,
    ClassPixels,
    ClassScores,
    CurriculumSummary,
    DroppedBand,
    EpochSummary,
    PartCounts,
    Report,
    SceneSummary,
    Scores,
    Seconds,
    SplitSummary,
    StageSummary,
)

STAGES = ((20, 5, 4), (40, 9, 3), (60, 13, 2))
BANDS, FULL_EPOCHS = 200, 30


@dataclass(frozen=True)
class Sample:
    """A report and the rasters it belongs to."""

    report: Report
    class_map: NDArray[np.int32]
    labels: NDArray[np.int32]
    parts: NDArray[np.uint8]
    false_colour: NDArray[np.uint8]

    @property
    def rasters(self) -> dict[str, Any]:
        """The rasters as write_report takes them."""
        names = ("class_map", "labels", "parts", "false_colour")
        return {name: getattr(self, name) for name in names}


def made_up_labels(height: int, width: int, classes: int) -> NDArray[np.int32]:
    """Rectangular fields of classes with gaps of unlabelled ground; ids 2, 4, 6, ..."""
    rows, columns = np.indices((height, width))
    fields = (rows // 6 * -(-width // 6) + columns // 6) % (classes + 1)
    return (2 * fields).astype(np.int32)


def make_sample(
    labels: NDArray[np.int32], names: dict[int, str], *, seed: int = 0, **changes: Any
) -> Sample:
    """A sample for these labels; ``changes`` replace fields of the report."""
    generator = np.random.default_rng(seed)
    ids = sorted(names)
    parts = np.zeros(labels.shape, np.uint8)
    draw = generator.random(labels.shape)
    parts[labels > 0] = np.digitize(draw[labels > 0], (0.1, 0.15)) + 1
    class_map = labels.copy()
    noise = generator.random(labels.shape) < 0.03
    class_map[noise] = generator.choice(ids, int(noise.sum()))
    class_map[labels == 0] = generator.choice(ids)
    test = parts == 3
    confusion = np.array(
        [[int((test & (labels == t) & (class_map == p)).sum()) for p in ids] for t in ids]
    )
    history, stages = _trained()
    fields: dict[str, Any] = {
        "created": "2026-11-21T12:34:56+00:00",
        "scene": SceneSummary(
            name="indian_pines",
            path="site-packages/tensorly/datasets/data/Indian_pines_corrected.npy",
            shape=(*labels.shape, BANDS),
            bands_dropped=(DroppedBand(band=103, reason="constant"),),
            classes=tuple(
                ClassPixels(id=i, name=names[i], pixels=int((labels == i).sum())) for i in ids
            ),
        ),
        "split": _split(labels, parts, names),
        "backbone": "ssftt",
        "parameters": 148_032,
        "curriculum": CurriculumSummary(
            name="default", axis="components", whitening=0.5, basis_pixels="train", rank=60
        ),
        "budget": Budget(
            full_epochs=FULL_EPOCHS,
            beta=0.3,
            epochs=len(history),
            cost=sum(stage.cost for stage in stages),
            full_cost=float(FULL_EPOCHS),
        ),
        "seed": seed,
        "workers": 2,
        "device": "cpu",
        "overall_accuracy": float(np.trace(confusion) / confusion.sum()),
        "average_accuracy": float(np.mean(np.diag(confusion) / confusion.sum(axis=1))),
        "kappa": 0.9712,
        "validation": Scores(overall_accuracy=0.9786, average_accuracy=0.9641, kappa=0.9755),
        "per_class": _per_class(ids, names, confusion),
        "confusion": tuple(tuple(int(n) for n in row) for row in confusion),
        "seconds": Seconds(
            total=74.2, startup=8.1, statistics=1.4, ingest=2.9, train=51.0, evaluate=2.2, map=6.3
        ),
        "stages": stages,
        "history": history,
        "versions": {"st_ray": "0.1.0", "python": "3.11.7", "torch": "2.13.0", "ray": None},
        "command": "st-ray train indian_pines --backbone ssftt --seed 0 --out runs/first",
        "warnings": ("class 'Oats' has 2 training pixels: its accuracy says little",),
    }
    stretched = generator.integers(0, 256, (*labels.shape, 3), dtype=np.uint8)
    return Sample(Report(**{**fields, **changes}), class_map, labels, parts, stretched)


def _trained() -> tuple[tuple[EpochSummary, ...], tuple[StageSummary, ...]]:
    history: list[EpochSummary] = []
    stages: list[StageSummary] = []
    total = sum(epochs for _, _, epochs in STAGES)
    for index, (components, size, epochs) in enumerate(STAGES):
        for _ in range(epochs):
            done = len(history) / total
            history.append(
                EpochSummary(
                    epoch=len(history) + 1,
                    stage=index,
                    loss=2.6 * float(np.exp(-5 * done)) + 0.02,
                    learning_rate=0.001 * (1 + float(np.cos(np.pi * done))) / 2,
                    validation_loss=2.5 * float(np.exp(-4 * done)) + 0.07,
                    validation_accuracy=1 - 0.7 * float(np.exp(-4 * done)),
                    seconds=0.5 * (index + 1) ** 2,
                )
            )
        stages.append(
            StageSummary(
                components=components,
                patch_size=size,
                epochs=epochs,
                batch_size=64,
                seconds=0.5 * epochs * (index + 1) ** 2,
                samples_per_second=2050.0 / (index + 1) ** 2,
                loss=history[-1].loss,
                validation_accuracy=history[-1].validation_accuracy,
                cost=epochs * (size / 13) ** 2 * components / BANDS,
            )
        )
    return tuple(history), tuple(stages)


def _split(
    labels: NDArray[np.int32], parts: NDArray[np.uint8], names: dict[int, str]
) -> SplitSummary:
    order = ("unused", "train", "validation", "test")
    counts = tuple(
        ClassParts(
            id=i,
            name=names[i],
            **{part: int(((labels == i) & (parts == n)).sum()) for n, part in enumerate(order)},
        )
        for i in sorted(names)
    )
    totals = PartCounts(**{p: sum(getattr(entry, p) for entry in counts) for p in order})
    return SplitSummary(
        kind="random",
        seed=0,
        train_fraction=0.1,
        validation_fraction=0.05,
        guard=None,
        patch_size=13,
        counts=counts,
        totals=totals,
        leakage=0.999,
        footprint_overlap=1.0,
        notes=("2 classes were raised to one training pixel",),
    )


def _per_class(
    ids: list[int], names: dict[int, str], confusion: NDArray[np.int64]
) -> tuple[ClassScores, ...]:
    rows, columns, right = confusion.sum(1), confusion.sum(0), np.diag(confusion)
    return tuple(
        ClassScores(
            id=i,
            name=names[i],
            pixels=int(rows[n]),
            accuracy=float(right[n] / rows[n]),
            precision=float(right[n] / columns[n]),
            f1=float(2 * right[n] / (rows[n] + columns[n])),
        )
        for n, i in enumerate(ids)
    )


@pytest.fixture
def sample_of() -> Callable[..., Sample]:
    """Makes a sample of a made-up 36 x 48 scene with five classes; takes changes to the report."""
    names = {2: "Alfalfa", 4: "Corn & maize", 6: "Oats", 8: "Stone <tower>", 10: "Woods"}
    labels = made_up_labels(36, 48, len(names))

    def build(**changes: Any) -> Sample:
        chosen = changes.pop("names", names)
        return make_sample(labels, chosen, **changes)

    return build


@pytest.fixture
def sample(sample_of: Callable[..., Sample]) -> Sample:
    """The plain sample."""
    return sample_of()
