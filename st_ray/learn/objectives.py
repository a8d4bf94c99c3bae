"""Losses and optimizers by name, or a user's own by import path; a rehearsal of either."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim import SGD, Adam, AdamW, Optimizer

from st_ray.errors import SpecError, unknown_name
from st_ray.learn.backbones import load_factory, one_line
from st_ray.learn.muon import Muon

# (logits (M, C), targets (M,)) -> scalar loss of the global batch.
Loss = Callable[[Tensor, Tensor], Tensor]
# (parameters, learning rate) -> optimizer.
BuildOptimizer = Callable[[Iterable[Parameter], float], Optimizer]

LOSSES: dict[str, Callable[..., Any]] = {"cross_entropy": nn.functional.cross_entropy}

_REHEARSED = 4


def adamw(parameters: Iterable[Parameter], rate: float, weight_decay: float) -> Optimizer:
    """AdamW (Loshchilov & Hutter 2019)."""
    return AdamW(parameters, lr=rate, weight_decay=weight_decay, fused=True)


def adam(parameters: Iterable[Parameter], rate: float, weight_decay: float) -> Optimizer:
    """Adam (Kingma & Ba 2015)."""
    return Adam(parameters, lr=rate, weight_decay=weight_decay, fused=True)


def sgd(parameters: Iterable[Parameter], rate: float, weight_decay: float) -> Optimizer:
    """Stochastic gradient descent with Nesterov momentum 0.9."""
    return SGD(
        parameters, lr=rate, weight_decay=weight_decay, momentum=0.9, nesterov=True, fused=True
    )


def muon(parameters: Iterable[Parameter], rate: float, weight_decay: float) -> Optimizer:
    """Muon (Jordan et al. 2024), with AdamW for what is no hidden weight."""
    return Muon(parameters, lr=rate, weight_decay=weight_decay)


# `fused`: one call for all parameters, up to a tenth of a step where they are many and small.
OPTIMIZERS = {"adam": adam, "adamw": adamw, "muon": muon, "sgd": sgd}


def resolve_loss(name: str) -> Loss:
    """A loss by name or import path.

    Raises:
        SpecError: There is none, or it is a class.
    """
    loss = _resolve("loss", name, LOSSES)
    _check_no_class(loss, name)
    return cast(Loss, loss)


def resolve_optimizer(name: str, weight_decay: float) -> BuildOptimizer:
    """An optimizer factory (parameters, rate) by name or import path.

    Raises:
        SpecError: There is none.
    """
    factory = _resolve("optimizer", name, OPTIMIZERS)
    if name in OPTIMIZERS:
        return cast(BuildOptimizer, partial(factory, weight_decay=weight_decay))
    return cast(BuildOptimizer, factory)


def is_sample_mean(loss: Loss) -> bool:
    """Whether a batch's loss is known to be the mean of its samples' own losses."""
    if loss is nn.functional.cross_entropy:
        return True
    return (
        type(loss) is nn.CrossEntropyLoss
        and loss.reduction == "mean"
        and loss.weight is None
        and loss.ignore_index < 0  # no class index: nothing is ignored
    )


def to_device(loss: Loss, device: torch.device) -> Loss:
    """The loss with its tensors on a device: a module's, moved in place, and a partial's."""

    def moved(part: Any) -> Any:
        if isinstance(part, nn.Module | Tensor):
            return part.to(device)
        if isinstance(part, partial):
            keywords = {key: moved(value) for key, value in part.keywords.items()}
            return partial(moved(part.func), *map(moved, part.args), **keywords)
        return part

    return cast(Loss, moved(loss))


def check_objective(
    model: nn.Module,
    loss: Loss,
    optimizer: BuildOptimizer,
    *,
    components: int,
    patch_size: int,
    classes: int,
    learning_rate: float,
) -> None:
    """Rehearse one step of training on a few random patches, on the model's device.

    Args:
        model: To be thrown away: it is trained. A loss that is a module is copied.
        loss: (logits (M, C), targets (M,)) -> scalar loss.
        optimizer: (parameters, learning rate) -> optimizer.
        components: K of the patches.
        patch_size: S of the patches.
        classes: C.
        learning_rate: Of the step.

    Raises:
        SpecError: The model fails in training mode, the loss is not one number with a gradient,
            or the optimizer does not step the model's parameters.
    """
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    shape = (_REHEARSED, components, patch_size, patch_size)
    with torch.random.fork_rng(devices=[device.index or 0] if device.type == "cuda" else []):
        try:
            logits = model.train()(torch.randn(shape, device=device))
        except Exception as error:
            raise SpecError(
                f"the backbone failed in training mode on patches of shape {shape}: "
                f"{one_line(error)}"
            ) from error
        targets = torch.arange(_REHEARSED, device=device) % classes
        _rehearse_loss(loss, logits, targets)
        _rehearse_optimizer(optimizer, model, learning_rate)


def _rehearse_loss(loss: Loss, logits: Tensor, targets: Tensor) -> None:
    called = f"loss {_called(loss)}"
    _check_no_class(loss, _called(loss))
    asked = f"logits {tuple(logits.shape)} and targets {tuple(targets.shape)}"
    try:
        own = copy.deepcopy(loss) if isinstance(loss, nn.Module) else loss
        value: Any = to_device(own, logits.device)(logits, targets)
    except Exception as error:
        raise SpecError(f"{called} failed on {asked}: {one_line(error)}") from error
    expected = f"{called}: expected one number for a batch, got"
    if not isinstance(value, Tensor):
        raise SpecError(f"{expected} {type(value).__name__}; return a tensor of shape ()")
    if value.ndim:
        raise SpecError(f"{expected} shape {tuple(value.shape)}; return its mean")
    if not value.is_floating_point():
        raise SpecError(f"{expected} {value.dtype}; return a floating-point tensor")
    if not value.requires_grad:
        raise SpecError(
            f"{expected} one without a gradient; compute it from the logits by torch operations, "
            "and leave some of the model's parameters trainable"
        )
    try:
        value.backward()
    except Exception as error:
        raise SpecError(f"{called} has no gradient on {asked}: {one_line(error)}") from error


def _rehearse_optimizer(build: BuildOptimizer, model: nn.Module, learning_rate: float) -> None:
    called = f"optimizer {_called(build)}"
    try:
        made: Any = build(model.parameters(), learning_rate)
    except Exception as error:
        raise SpecError(
            f"{called} failed when called as function(parameters, {learning_rate}): "
            f"{one_line(error)}"
        ) from error
    if not isinstance(made, Optimizer):
        raise SpecError(
            f"{called}: expected a torch.optim.Optimizer, got {type(made).__name__}; return one "
            "from a function of (parameters, learning rate)"
        )
    held = {id(parameter) for group in made.param_groups for parameter in group["params"]}
    if not held or held - {id(parameter) for parameter in model.parameters()}:
        raise SpecError(
            f"{called}: expected an optimizer of the model's parameters and no others, which are "
            "neither saved nor carried over; give it those it is called with"
        )
    if not all("lr" in group for group in made.param_groups):
        raise SpecError(
            f"{called}: expected a learning rate 'lr' in every parameter group, which training "
            "scales; use an optimizer with one, such as torch.optim.AdamW"
        )
    closure = inspect.signature(made.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise SpecError(
            f"{called}: {type(made).__name__}.step needs a closure, expected one that steps "
            "without; use another, such as torch.optim.AdamW"
        )
    try:
        made.step()
    except Exception as error:
        raise SpecError(f"{called} failed in its first step: {one_line(error)}") from error


def _check_no_class(loss: object, name: str) -> None:
    if inspect.isclass(loss):
        raise SpecError(
            f"loss {name} is a class, expected a function of (logits, targets); give an instance "
            f"of it, such as LOSS = {loss.__name__}() in a module of yours"
        )


def _called(thing: Any) -> str:
    """The name of what the user wrote: package.module.function."""
    while isinstance(thing, partial):
        thing = thing.func
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{named.__module__}.{named.__qualname__}"


def _resolve(kind: str, name: str, known: dict[str, Callable[..., Any]]) -> Callable[..., Any]:
    if name in known:
        return known[name]
    if ":" in name:
        return load_factory(name)
    raise SpecError(unknown_name(kind, name, known) + ", or package.module:function")
