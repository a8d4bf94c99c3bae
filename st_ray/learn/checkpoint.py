"""Checkpoints of a run, one at every epoch's end: weights, optimizer, position, history.

The learning rate and every generator are functions of (seed, epoch), so the position restores
them too. A checkpoint appears by a rename: one that exists is whole.
"""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model
from torch import nn

from st_ray.errors import OutputError
from st_ray.learn.drafts import drafting

_KEEP = 2
CHECKPOINTS = "epoch_*"
POSITION = "position.json"  # a checkpoint with it is whole


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochRow:
    """One line of a run's history.

    Attributes:
        epoch: 1-based over the whole run.
        stage: 0-based.
        loss: Mean training loss.
        learning_rate: Of the first parameter group in the last step.
        validation_loss: Mean; NaN without validation pixels.
        validation_accuracy: Validation OA; NaN without validation pixels.
        seconds: Training only.
        samples: Samples trained on.
        scoring_seconds: Wall-clock of the validation score, beside `seconds`.
        scoring_cpu_seconds: CPU time of this process for it.
    """

    epoch: int
    stage: int
    loss: float
    learning_rate: float
    validation_loss: float
    validation_accuracy: float
    seconds: float
    samples: int
    scoring_seconds: float = 0.0
    scoring_cpu_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Position:
    """How far a run has come.

    Attributes:
        fingerprint: Hash of everything that decides the result.
        epoch: Epochs done.
        stage: Stage of the last epoch, 0-based.
        history: One row an epoch.
    """

    fingerprint: str
    epoch: int = 0
    stage: int = 0
    history: tuple[EpochRow, ...] = field(default=())


def checkpoint_folder(folder: Path, epoch: int) -> Path:
    """Where a run's checkpoint after so many epochs lies."""
    return folder / f"epoch_{epoch:05d}"


def save_checkpoint(
    folder: Path, model: nn.Module, optimizer_state: dict[str, Any], position: Position
) -> Path:
    """Write folder/epoch_NNNN and drop all but the newest two.

    Raises:
        OutputError: It cannot be written.
    """
    final = checkpoint_folder(folder, position.epoch)
    state = io.BytesIO()  # torch's own file writer tells a full disk as a RuntimeError
    torch.save(optimizer_state, state)
    with drafting(final) as draft:
        save_model(model, str(draft / "weights.safetensors"))
        (draft / "optimizer.pt").write_bytes(state.getbuffer())
        (draft / POSITION).write_text(json.dumps(asdict(position)), encoding="utf-8")
    for old in _checkpoints(folder)[:-_KEEP]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def latest_checkpoint(folder: Path, fingerprint: str) -> tuple[Path, Position] | None:
    """The newest checkpoint, or None if there is none yet.

    Raises:
        OutputError: It belongs to a run with other settings.
    """
    found = _checkpoints(folder)
    if not found:
        return None
    table = json.loads((found[-1] / POSITION).read_text(encoding="utf-8"))
    history = tuple(EpochRow(**row) for row in table.pop("history"))
    position = Position(**table, history=history)
    if position.fingerprint != fingerprint:
        raise OutputError(
            "the checkpoints there were written by a run with other settings; resume with the "
            "same ones, or train into another --out"
        )
    return found[-1], position


def load_weights(checkpoint: Path, model: nn.Module) -> None:
    """Read a checkpoint's (or a bundle's) weights into a model of the same shape."""
    load_model(model, str(checkpoint / "weights.safetensors"))


def load_optimizer_state(checkpoint: Path) -> dict[str, Any]:
    """A checkpoint's optimizer state; unpickles tensors and plain values only."""
    state: dict[str, Any] = torch.load(
        checkpoint / "optimizer.pt", weights_only=True, map_location="cpu"
    )
    return state


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob(CHECKPOINTS) if (path / POSITION).is_file())
