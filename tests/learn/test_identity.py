"""Identities: different for what computes differently, equal in every process."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from st_ray.learn.backbones import build_backbone
from st_ray.learn.identity import identity
from st_ray.learn.objectives import resolve_loss, resolve_optimizer


def scaled(factor: float) -> Any:
    return lambda logits, targets: logits.sum() * factor


def weighing(weight: object) -> Any:
    return lambda logits, targets: (logits * weight).sum()


def known(names: frozenset[str] = frozenset()) -> Any:
    def loss(logits: Any, targets: Any) -> Any:
        return logits if "a" in {"a", "b", "c", "d"} else names

    return loss


def recursive(depth: int) -> Any:
    def inner(logits: Any, targets: Any) -> Any:
        return inner(logits, targets) if depth else logits

    return inner


class Margin:
    def __init__(self, margin: float) -> None:
        self.margin = margin

    def __call__(self, logits: Any, targets: Any) -> Any:
        return logits.sum() - self.margin

    def method(self, logits: Any, targets: Any) -> Any:
        return logits.sum()


@dataclass(frozen=True, slots=True)
class Slotted:
    width: int

    def __call__(self, **sizes: int) -> None:
        return None


class Nested(nn.Module):
    def __init__(self, rate: float, buffer: float = 0.0) -> None:
        super().__init__()
        self.inner = nn.CrossEntropyLoss(label_smoothing=rate)
        self.register_buffer("prior", torch.tensor([buffer]), persistent=False)


def decorated(power: int) -> Any:
    @functools.wraps(scaled)
    def outer(*args: Any) -> Any:
        return args[0] ** power

    return outer


MAKERS: dict[str, list[Any]] = {
    "smoothing": [
        lambda: nn.CrossEntropyLoss(label_smoothing=0.9),
        lambda: nn.CrossEntropyLoss(label_smoothing=0.0),
        lambda: nn.CrossEntropyLoss(reduction="sum"),
    ],
    "weights": [
        lambda: nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0])),
        lambda: nn.CrossEntropyLoss(weight=torch.tensor([1.0, 3.0])),
        lambda: nn.CrossEntropyLoss(weight=torch.tensor([1.0, 3.0]).double()),
        lambda: nn.CrossEntropyLoss(),
    ],
    "modules inside": [lambda: Nested(0.1), lambda: Nested(0.2), lambda: Nested(0.1, 1.0)],
    "lambdas": [
        lambda: lambda logits, targets: logits.sum() * 2,
        lambda: lambda logits, targets: logits.sum() * 3,
        lambda: lambda logits, targets: logits.mean() * 2,
        lambda: lambda logits, targets: [x * 2 for x in logits],
        lambda: lambda logits, targets: [x * 3 for x in logits],
    ],
    "closures": [
        lambda: scaled(1.0),
        lambda: scaled(2.0),
        lambda: scaled("2.0"),
        lambda: weighing((1, 2)),
        lambda: weighing([1, 2]),
        lambda: weighing([1, 3]),
        lambda: weighing(torch.tensor([1.0])),
        lambda: weighing(torch.tensor([2.0])),
        lambda: weighing(np.array([1.0])),
        lambda: weighing(scaled(1.0)),
        lambda: weighing(scaled(2.0)),
    ],
    "sets": [lambda: known(), lambda: known(frozenset("abcdefg")), lambda: known(frozenset("ab"))],
    "recursion": [lambda: recursive(1), lambda: recursive(2)],
    "defaults": [
        lambda: lambda logits, targets, margin=1: margin,
        lambda: lambda logits, targets, margin=2: margin,
        lambda: lambda logits, targets, *, margin=2: margin,
    ],
    "partials": [
        lambda: partial(scaled, 1.0),
        lambda: partial(scaled, 2.0),
        lambda: partial(scaled, factor=2.0),
        lambda: partial(partial(scaled, a=1), b=2, c=3),
        lambda: resolve_optimizer("adamw", 0.1),
        lambda: resolve_optimizer("adamw", 0.2),
        lambda: resolve_optimizer("adam", 0.2),
        lambda: partial(build_backbone, "vit", width=8),
        lambda: partial(build_backbone, "vit", width=9),
    ],
    "objects": [
        lambda: Margin(1.0),
        lambda: Margin(2.0),
        lambda: Margin(2.0).method,
        lambda: Margin(3.0).method,
        lambda: Slotted(1),
        lambda: Slotted(2),
        lambda: Margin,
        lambda: torch.optim.AdamW,
        lambda: torch.optim.Adam,
    ],
    "wrapped": [
        lambda: functools.lru_cache(scaled),
        lambda: functools.lru_cache(known),
        lambda: decorated(1),
        lambda: decorated(2),
    ],
    "built in": [lambda: resolve_loss("cross_entropy"), lambda: torch.sum, lambda: torch.mean],
}


@pytest.mark.parametrize("kind", MAKERS)
def test_what_differs_has_another_identity_and_what_is_made_twice_the_same(kind: str) -> None:
    once = [identity(make()) for make in MAKERS[kind]]
    assert once == [identity(make()) for make in MAKERS[kind]]
    assert len(set(once)) == len(once)
    assert not any(re.search(r"0x[0-9a-f]+|\bat \d", text) for text in once)


def test_names_are_in_it_and_order_of_keywords_is_not() -> None:
    assert identity(resolve_loss("cross_entropy")) == "torch.nn.functional.cross_entropy"
    assert "st_ray.learn.objectives.adamw" in identity(resolve_optimizer("adamw", 0.1))
    assert identity(partial(dict, a=1, b=2)) == identity(partial(dict, b=2, a=1))


def test_training_mode_and_use_do_not_change_it() -> None:
    loss = nn.CrossEntropyLoss(weight=torch.ones(3))
    before = identity(loss)
    loss.eval()(torch.randn(4, 3, requires_grad=True), torch.zeros(4, dtype=torch.long)).backward()
    assert identity(loss) == before


def everything() -> str:
    return "\n".join(identity(make()) for makers in MAKERS.values() for make in makers)


def test_other_processes_agree() -> None:
    code = "import test_identity; print(test_identity.everything())"
    folder = str(Path(__file__).parent)
    other = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": folder},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert other.stdout.rstrip("\n") == everything()
