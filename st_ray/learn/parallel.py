"""Exact data parallelism: N workers compute what one worker would.

Averaged gradients alone are not enough: BatchNorm must see the statistics of the global batch,
and Dropout must drop the same units however the batch is split. `globalise` swaps both for
versions that do, without changing parameter names.

Shape letters: M global batch, m this worker's share of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from st_ray.learn.batchnorm import global_batch_norm
from st_ray.learn.peers import Peers

if TYPE_CHECKING:
    from st_ray.learn.backbones.windows import Windows

_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


@dataclass(slots=True)
class Share:
    """Which rows of the global batch the next forward pass holds; the loop keeps it up to date.

    Attributes:
        total: Global batch M.
        start: First global row of this worker's share.
        count: Rows m of this worker's share.
    """

    total: int = 0
    start: int = 0
    count: int = 0


class GlobalDropout(nn.Module):
    """Dropout whose mask is drawn for the global batch, of which a worker takes its rows.

    All workers' generators must be in the same state; they stay so, since each draws the same
    numbers. Tokens folded into the batch axis (M * f rows) keep batch-major order.
    """

    def __init__(self, rate: float, share: Share, per_channel: bool) -> None:
        super().__init__()
        self.rate = rate
        self.share = share
        self.per_channel = per_channel

    def forward(self, x: Tensor) -> Tensor:
        """Drop units of x (m * f, ...) in training, and rescale the others."""
        if not self.training or self.rate == 0.0:
            return x
        rest = x.shape[1:2] + (1,) * (x.ndim - 2) if self.per_channel else x.shape[1:]
        fold = x.shape[0] // max(self.share.count, 1)
        if fold * self.share.count != x.shape[0]:
            raise ValueError(
                f"dropout over {x.shape[0]} rows cannot be split for a batch of "
                f"{self.share.count}: keep the batch as the first axis"
            )
        noise = torch.rand((self.share.total * fold, *rest), device=x.device)
        rows = slice(self.share.start * fold, self.share.start * fold + x.shape[0])
        keep = (noise[rows] >= self.rate).to(x.dtype)
        return x * keep / ((1.0 - self.rate) or 1.0)

    def over_windows(self, windows: Windows) -> Windows:
        """Nothing is dropped in evaluation."""
        return windows


def globalise(model: nn.Module, share: Share, peers: Peers) -> nn.Module:
    """Swap Dropout, and BatchNorm when there are several workers, for their global versions.

    A layer that is held in several places stays one layer. See `local_randomness` for what is
    left alone.

    Args:
        model: Any model; changed in place, parameters and their names stay.
        share: Updated by the loop before every forward pass.
        peers: The workers.

    Returns:
        The model (a new one if its root itself was swapped).
    """
    swapped: dict[nn.Module, nn.Module] = {}
    for path, layer in list(model.named_modules(remove_duplicate=False)):
        if layer not in swapped:
            swapped[layer] = _global_version(layer, share, peers)
        if swapped[layer] is not layer:
            if not path:
                return swapped[layer]
            parent, _, name = path.rpartition(".")
            setattr(model.get_submodule(parent), name, swapped[layer])
    return model


def local_randomness(model: nn.Module) -> tuple[str, ...]:
    """The layers whose random numbers differ between workers, as "name (type)".

    With several workers they still regularise, but not as one worker would have.
    """
    return tuple(
        f"{name or 'model'} ({type(layer).__name__})"
        for name, layer in model.named_modules()
        if type(layer) not in _DROPOUTS and _draws(layer)
    )


def _draws(layer: nn.Module) -> bool:
    match layer:
        case _DropoutNd():
            return layer.p > 0
        case nn.MultiheadAttention():
            return bool(layer.dropout > 0)
        case nn.RNNBase():
            return layer.dropout > 0 and layer.num_layers > 1
        case nn.RReLU():
            return layer.lower < layer.upper
        case nn.FractionalMaxPool2d() | nn.FractionalMaxPool3d():
            return True
        case _:
            return False


def _global_version(layer: nn.Module, share: Share, peers: Peers) -> nn.Module:
    if isinstance(layer, _DropoutNd) and type(layer) in _DROPOUTS:
        new = GlobalDropout(layer.p, share, per_channel=type(layer) is not nn.Dropout)
        return new.train(layer.training)
    if isinstance(layer, _BatchNorm) and peers.world > 1:
        return global_batch_norm(layer, peers)
    return layer
