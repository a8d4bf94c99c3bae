"""How fast a model is here: the time of a sample or pixel, from a few steps on noise."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from st_ray.learn.dense import dense_logits, dense_pays
from st_ray.learn.job import BuildModel
from st_ray.learn.objectives import BuildOptimizer
from st_ray.learn.presets import USUAL_RATE

_TIMED_STEPS = 5


def time_sample(
    build: BuildModel,
    *,
    components: int,
    patch_size: int,
    classes: int,
    batch_size: int,
    optimizer: BuildOptimizer,
    train: bool = True,
    device: str = "cpu",
) -> float:
    """Seconds that one sample takes, the median of a few steps after a first one.

    Args:
        build: (components=, patch_size=, classes=) -> module.
        components: k of a patch.
        patch_size: Pixels on a side.
        classes: Outputs.
        batch_size: Samples of a step.
        optimizer: (parameters, learning rate) -> optimizer; some steps cost more than others.
        train: Whether the step trains; else it only scores.
        device: Of model and patches.
    """
    with torch.random.fork_rng(devices=[]):
        model = build(components=components, patch_size=patch_size, classes=classes).to(device)
        patches = torch.randn(batch_size, components, patch_size, patch_size).to(device)
        targets = torch.arange(batch_size, device=device) % classes
    if train:
        step = _training_step(model, patches, targets, optimizer(model.parameters(), USUAL_RATE))
    else:
        step = _scoring_step(model, patches)
    return _median(step) / batch_size


def time_pixel(
    build: BuildModel,
    *,
    components: int,
    patch_size: int,
    classes: int,
    side: int = 64,
    device: str = "cpu",
) -> float | None:
    """Seconds that a pixel takes where all of a tile are asked for.

    Args:
        build: As of `time_sample`.
        components: k of a patch.
        patch_size: Pixels on a side.
        classes: Outputs.
        side: Of the tile, pixels.
        device: Of model and tile.

    Returns:
        None where the model goes patch by patch; see `st_ray.learn.dense`.
    """
    with torch.random.fork_rng(devices=[]):
        model = build(components=components, patch_size=patch_size, classes=classes).to(device)
        if not dense_pays(model, patch_size):
            return None
        edge = side + patch_size - 1
        tile_EEK = torch.randn(edge, edge, components).to(device)
    return _median(lambda: float(dense_logits(model, tile_EEK, patch_size).sum())) / side**2


def _median(step: Callable[[], float]) -> float:
    """Seconds of a step, of a few after a first one."""
    spent = []
    for _ in range(1 + _TIMED_STEPS):
        begun = time.perf_counter()
        step()
        spent.append(time.perf_counter() - begun)
    return float(np.median(spent[1:]))


def _training_step(
    model: nn.Module, patches: torch.Tensor, targets: torch.Tensor, optimizer: Optimizer
) -> Callable[[], float]:
    model.train()

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(model(patches), targets)
        loss.backward()
        optimizer.step()
        return loss.item()  # waits for a GPU

    return step


def _scoring_step(model: nn.Module, patches: torch.Tensor) -> Callable[[], float]:
    model.eval()

    @torch.inference_mode()
    def step() -> float:
        return float(model(patches).sum())

    return step
