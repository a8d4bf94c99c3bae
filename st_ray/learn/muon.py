"""Muon: momentum whose steps have all their singular values near one, whatever the gradient's.

Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks",
https://kellerjordan.github.io/posts/muon; the length of the steps after Liu et al. 2025, "Muon is
Scalable for LLM Training", arXiv 2502.16982, eq. 4. `torch.optim.Muon` (from torch 2.9 on) does
the same for matrices; it takes no kernels of convolutions and no parameters beside them, and
multiplies in bfloat16, which CPUs without instructions for it are slow at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import AdamW, Optimizer

MOMENTUM = 0.95
# Of one Newton-Schulz step, a X + b (X X') X + c (X X')² X; five of them take any singular value
# of a matrix of norm 1 that is not tiny to between 0.7 and 1.2.
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_STEPS = 5


class Muon(Optimizer):
    """Muon for hidden weights, AdamW for the rest.

    Hidden weights are all parameters of two dimensions or more but the last of them, which is
    taken for that of the classifying layer; a kernel of a convolution counts as a matrix of one
    row an output. The learning rate is that of AdamW: a step of Muon is as long as one of AdamW's
    usually is. Every worker orthogonalises for itself, to the same result on machines that round
    alike.

    Args:
        parameters: Of a model, in the order of its layers.
        lr: Learning rate.
        weight_decay: Decoupled, of both.
    """

    def __init__(self, parameters: Iterable[Parameter], lr: float, weight_decay: float) -> None:
        held = list(parameters)
        weights = [parameter for parameter in held if parameter.ndim >= 2][:-1]
        chosen = {id(weight) for weight in weights}
        rest = [parameter for parameter in held if id(parameter) not in chosen]
        self._adamw = AdamW(rest, lr=lr, weight_decay=weight_decay, fused=True)
        hidden = {"params": weights, "lr": lr, "weight_decay": weight_decay}
        super().__init__([hidden, *self._adamw.param_groups], {})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step.

        Args:
            closure: Evaluates the loss anew; as a rule none.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        hidden, rest = self.param_groups
        for weight in hidden["params"]:
            if weight.grad is not None:
                self._step_hidden(weight, hidden["lr"], hidden["weight_decay"])
        self._adamw.param_groups, self._adamw.state = [rest], self.state
        self._adamw.step()
        return loss

    def _step_hidden(self, weight: Tensor, lr: float, weight_decay: float) -> None:
        gradient, state = weight.grad, self.state[weight]
        assert gradient is not None
        if not state:
            state["momentum_buffer"] = torch.zeros_like(weight)
        momentum = state["momentum_buffer"].lerp_(gradient, 1 - MOMENTUM)
        update = gradient.lerp(momentum, MOMENTUM).reshape(len(weight), -1)  # Nesterov's
        step = orthogonalise(update).reshape(weight.shape)
        weight.mul_(1 - lr * weight_decay)
        weight.add_(step, alpha=-lr * 0.2 * max(update.shape) ** 0.5)


def orthogonalise(matrix: Tensor) -> Tensor:
    """A matrix (R, C) with its singular vectors kept and its singular values set near one."""
    a, b, c = _COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x: Tensor = matrix.T if tall else matrix
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(_STEPS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x
