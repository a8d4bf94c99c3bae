"""Exact data parallelism: N workers compute what one worker would.

Averaged gradients alone are not enough: BatchNorm must see the statistics of the global batch,
and Dropout must drop the same units however the batch is split. `globalise` swaps both for
versions that do, without changing parameter names.

Shape letters: M global batch, m this worker's share of it, C classes, W workers.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.parallel import DistributedDataParallel

from st_ray.errors import StRayError
from st_ray.learn.batchnorm import global_batch_norm

_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
_SYNC_BUFFERS = ("forward_sync_buffers", "broadcast_buffers")


@dataclass(frozen=True, kw_only=True, slots=True)
class Peers:
    """This process's place among the workers of a run.

    Attributes:
        rank: 0 .. world - 1.
        world: Number of workers; above 1 torch.distributed's default group must be set up.
    """

    rank: int = 0
    world: int = 1

    def add(self, tensor: Tensor) -> Tensor:
        """The tensor summed over all workers."""
        if self.world == 1:
            return tensor
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model with gradients averaged over the workers (torch's DDP)."""
        if self.world == 1:
            return model
        known = inspect.signature(DistributedDataParallel).parameters
        # The buffers are equal already; torch renamed the switch in 2.13.
        switch = next(name for name in _SYNC_BUFFERS if name in known)
        options: dict[str, Any] = {switch: False}
        return DistributedDataParallel(model, static_graph=True, **options)

    def rows(self, total: int) -> tuple[int, int]:
        """First and last-plus-one of this worker's rows of `total`; shares differ by at most 1."""
        return total * self.rank // self.world, total * (self.rank + 1) // self.world

    def gather(self, rows_mC: Tensor, cuts: Sequence[int]) -> Tensor:
        """The rows (M, C) of all workers in order; only this worker's own carry a gradient.

        Args:
            rows_mC: This worker's.
            cuts: W + 1 offsets: worker w's are cuts[w] to cuts[w + 1].
        """
        if self.world == 1:
            return rows_mC
        counts = [stop - start for start, stop in pairwise(cuts)]
        most = max(counts)
        padded = rows_mC.new_zeros(most, *rows_mC.shape[1:])
        padded[: len(rows_mC)] = rows_mC.detach()
        all_W = [torch.empty_like(padded) for _ in range(self.world)]
        dist.all_gather(all_W, padded)
        held = [rows[:count] for rows, count in zip(all_W, counts, strict=True)]
        held[self.rank] = rows_mC
        return torch.cat(held)

    def on_first(self, act: Callable[[], object]) -> None:
        """Act on rank 0 while the others wait.

        Raises:
            StRayError: On every worker, if the act raised one: nobody is left waiting.
        """
        failure: list[StRayError | None] = [None]
        if self.rank == 0:
            try:
                act()
            except StRayError as error:
                failure = [error]
        if self.world > 1:
            dist.broadcast_object_list(failure)
        if failure[0] is not None:
            raise failure[0]


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
        return global_batch_norm(layer)
    return layer
