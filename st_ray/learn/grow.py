"""Growth: carry weights and optimizer state from one stage's model to the next, larger one.

The old weights become the leading block of the new. New input slices start at zero, so a model
whose input layer is dense in the components gives the same logits as before; new outputs keep
their fresh initialisation, since nothing reads them yet with a weight other than zero.

A module whose parameter is laid out otherwise (a table of pixel positions, which grows on both
sides) defines ``carry_parameter(self, name, old) -> Tensor | None``: the old parameter (or a
moment of it) at the new shape, its entries copied to their new places and the others zero or
copies too; None for the rule above. ``name`` is relative to the module.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from st_ray.errors import SpecError


@torch.no_grad()
def grow(old: Mapping[str, Tensor], new: nn.Module) -> None:
    """Carry the weights and buffers of an old model into a new one, in place.

    Either everything is carried or, on an error, nothing.

    Args:
        old: The old model's ``state_dict()``.
        new: A freshly initialised model, each dimension of each parameter as large or larger.

    Raises:
        SpecError: A parameter is missing, extra, smaller than before or of another rank.
    """
    targets = new.state_dict()
    _check_names(old, targets)
    carried = {name: _carry(new, name, tensor, targets[name]) for name, tensor in old.items()}
    for name, tensor in carried.items():
        targets[name].copy_(tensor)


@torch.no_grad()
def grow_optimizer(
    old_state: Mapping[str, Any],
    old: Mapping[str, Tensor],
    new_optimizer: Optimizer,
    new: nn.Module,
) -> None:
    """Carry an optimizer's state to the optimizer of the grown model, in place.

    Every tensor of the shape of its parameter (momentum, first and second moments) is extended
    with zeros as the parameter was; everything else, such as the step count, is kept. So is the
    new optimizer's own setting of learning rate and the like.

    The step count is Adam's, too: with its bias correction gone, the first step of a new weight
    is (1 - beta1) / sqrt(1 - beta2) learning rates long, 3.2 by default, whatever its gradient.

    Args:
        old_state: The old optimizer's ``state_dict()``.
        old: The old model's ``state_dict()``.
        new_optimizer: An optimizer of the same kind over ``new``'s parameters, in the order in
            which the old one was given the old model's.
        new: The grown model.

    Raises:
        SpecError: The two optimizers do not hold the same parameters.
    """
    names = {id(parameter): name for name, parameter in new.named_parameters()}
    parameters = [p for group in new_optimizer.param_groups for p in group["params"]]
    held = sum(len(group["params"]) for group in old_state["param_groups"])
    if held != len(parameters):
        raise SpecError(
            f"the old optimizer holds {held} parameters, the new one {len(parameters)}; "
            "build both alike"
        )
    state: dict[int, dict[str, Any]] = {}
    for index, entries in old_state["state"].items():
        parameter = parameters[index]
        name = names[id(parameter)]
        state[index] = {
            key: _carry_state(new, name, value, parameter, old[name])
            for key, value in entries.items()
        }
    settings = new_optimizer.state_dict()["param_groups"]
    new_optimizer.load_state_dict({"state": state, "param_groups": settings})


def _carry_state(model: nn.Module, name: str, value: Any, new: Tensor, old: Tensor) -> Any:
    """One entry of an optimizer's state, detached from the old optimizer."""
    if not isinstance(value, Tensor):
        return value
    if value.shape != old.shape:
        return value.clone()
    return _carry(model, name, value, torch.zeros_like(new, dtype=value.dtype)).clone()


def _carry(model: nn.Module, name: str, old: Tensor, fresh: Tensor) -> Tensor:
    """The old tensor at the shape of ``fresh``, whose values new outputs keep."""
    if old.shape == fresh.shape:
        return old
    if old.ndim != fresh.ndim or any(a > b for a, b in zip(old.shape, fresh.shape, strict=True)):
        raise SpecError(
            f"parameter {name} has shape {tuple(fresh.shape)} in the new model, expected at least "
            f"the {tuple(old.shape)} of the old one in every dimension; a stage must not shrink "
            "its model: let components and patch size only grow, or carry nothing over"
        )
    path, _, local = name.rpartition(".")
    hook = getattr(model.get_submodule(path), "carry_parameter", None)
    carried = None if hook is None else hook(local, old)
    if carried is not None:
        if carried.shape != fresh.shape:
            raise SpecError(
                f"carry_parameter of {name} returned shape {tuple(carried.shape)}, expected "
                f"{tuple(fresh.shape)}"
            )
        return carried  # type: ignore[no-any-return]
    grown = fresh.clone()
    grown[: old.shape[0]] = 0
    grown[tuple(slice(size) for size in old.shape)] = old.to(grown)
    return grown


def _check_names(old: Mapping[str, Tensor], new: Mapping[str, Tensor]) -> None:
    for kind, names in (
        ("missing from", [name for name in old if name not in new]),
        ("new in", [name for name in new if name not in old]),
    ):
        if names:
            raise SpecError(
                f"parameter {names[0]} is {kind} the larger model ({len(names)} such in all); "
                "a backbone must have the same parameters at every number of components and "
                "patch size"
            )
