"""What training leaves behind: the scores and the weights, in one folder that appears whole."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from safetensors.torch import save_model
from torch import nn

from st_ray.learn.checkpoint import EpochRow
from st_ray.learn.drafts import drafting
from st_ray.learn.metrics import Confusion

OUTCOME = "outcome"
SCORES = "outcome.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """The result of a curriculum.

    Attributes:
        fingerprint: Hash of everything that decided it.
        history: One row an epoch.
        validation: Confusion on the validation part after the last epoch.
        test: Confusion on the test part, scored once.
        parameters: Number of trainable weights of the last stage's model.
        evaluate_seconds: Wall-clock of the last scoring.
    """

    fingerprint: str
    history: tuple[EpochRow, ...]
    validation: Confusion
    test: Confusion
    parameters: int
    evaluate_seconds: float

    def save(self, folder: Path, model: nn.Module) -> None:
        """Write folder/outcome with the weights beside the scores.

        Raises:
            OutputError: It cannot be written.
        """
        table = {
            **asdict(self),
            "validation": self.validation.counts_CC.tolist(),
            "test": self.test.counts_CC.tolist(),
        }
        with drafting(folder / OUTCOME) as draft:
            save_model(model, str(draft / "weights.safetensors"))
            (draft / SCORES).write_text(json.dumps(table), encoding="utf-8")

    @classmethod
    def exists(cls, folder: Path, fingerprint: str) -> bool:
        """Whether a run with these settings has finished here."""
        path = folder / OUTCOME / SCORES
        return path.is_file() and cls.load(folder).fingerprint == fingerprint

    @classmethod
    def load(cls, folder: Path) -> Outcome:
        """Read what `save` wrote."""
        table = json.loads((folder / OUTCOME / SCORES).read_text(encoding="utf-8"))
        history = tuple(EpochRow(**row) for row in table.pop("history"))
        for name in ("validation", "test"):
            table[name] = Confusion(np.array(table[name], dtype=np.int64))
        return cls(**table, history=history)

    @staticmethod
    def weights(folder: Path) -> Path:
        """The file with the weights."""
        return folder / OUTCOME / "weights.safetensors"
