"""Losses and optimizers by name, or a user's own by import path."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, cast

from torch import nn
from torch.nn import Parameter
from torch.optim import SGD, Adam, AdamW, Optimizer

from st_ray.errors import SpecError, unknown_name
from st_ray.learn.backbones import load_factory
from st_ray.learn.fit import BuildOptimizer
from st_ray.learn.loop import Loss

LOSSES: dict[str, Callable[..., Any]] = {"cross_entropy": nn.functional.cross_entropy}


def adamw(parameters: Iterable[Parameter], rate: float, weight_decay: float) -> Optimizer:
    """AdamW (Loshchilov & Hutter 2019)."""
    return AdamW(parameters, lr=rate, weight_decay=weight_decay)


def adam(parameters: Iterable[Parameter], rate: float, weight_decay: float) -> Optimizer:
    """Adam (Kingma & Ba 2015)."""
    return Adam(parameters, lr=rate, weight_decay=weight_decay)


def sgd(parameters: Iterable[Parameter], rate: float, weight_decay: float) -> Optimizer:
    """Stochastic gradient descent with Nesterov momentum 0.9."""
    return SGD(parameters, lr=rate, weight_decay=weight_decay, momentum=0.9, nesterov=True)


OPTIMIZERS = {"adam": adam, "adamw": adamw, "sgd": sgd}


def resolve_loss(name: str) -> Loss:
    """A loss by name or import path.

    Raises:
        SpecError: There is none.
    """
    return cast(Loss, _resolve("loss", name, LOSSES))


def resolve_optimizer(name: str, weight_decay: float) -> BuildOptimizer:
    """An optimizer factory (parameters, rate) by name or import path.

    Raises:
        SpecError: There is none.
    """
    factory = _resolve("optimizer", name, OPTIMIZERS)
    if name in OPTIMIZERS:
        return cast(BuildOptimizer, partial(factory, weight_decay=weight_decay))
    return cast(BuildOptimizer, factory)


def _resolve(kind: str, name: str, known: dict[str, Callable[..., Any]]) -> Callable[..., Any]:
    if name in known:
        return known[name]
    if ":" in name:
        return load_factory(name)
    raise SpecError(unknown_name(kind, name, known) + ", or package.module:function")
