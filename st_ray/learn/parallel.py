"""Exact data parallelism: N workers compute what one worker would.

Averaged gradients alone are not enough: BatchNorm must see the statistics of the global batch,
and Dropout must drop the same units however the batch is split. `globalise` swaps both for
versions that do, without changing parameter names.

Shape letters: M global batch, m this worker's share of it, C channels.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.parallel import DistributedDataParallel

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

    def wait(self) -> None:
        """Return once every worker is here."""
        if self.world > 1:
            dist.barrier()


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
        return x * keep / (1.0 - self.rate)


class GlobalBatchNorm(_BatchNorm):
    """BatchNorm over the global batch on any backend; torch's SyncBatchNorm is for GPUs only.

    Two collectives a training step: small ones cost about 2 ms each over gloo, whatever they
    carry, so a layer must not use more than it needs.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        del input

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (m, C, ...) by the statistics of all workers' (M, C, ...)."""
        if not self.training:
            return super().forward(input)
        normal, mean_C, var_C, count = _normalise_globally(input, self.eps)
        self._track(mean_C, var_C, count)
        if not self.affine:
            return normal
        shape = _per_channel(input)
        return normal * self.weight.view(shape) + self.bias.view(shape)

    @torch.no_grad()
    def _track(self, mean_C: Tensor, var_C: Tensor, count: Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        if self.num_batches_tracked is not None:
            self.num_batches_tracked += 1
        rate = self.momentum
        if rate is None:
            rate = 1.0 / float(self.num_batches_tracked or 1)
        self.running_mean.lerp_(mean_C, rate)
        self.running_var.lerp_(var_C * (count / (count - 1)), rate)


class _GlobalNormalisation(torch.autograd.Function):
    """(x - mean) / sqrt(var + eps) over the global batch, and its gradient.

    Means and variances of the workers are merged exactly (Chan et al. 1983, as the spectral
    moments are); the gradient is that of Ioffe & Szegedy 2015, section 3, with global sums.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        channels, shape = x.shape[1], _per_channel(x)
        var_C, mean_C = torch.var_mean(x, _other_axes(x), correction=0)
        count = x.new_full((1,), x.numel() / channels)
        mine = torch.cat([mean_C, var_C * count, count])
        all_W = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
        dist.all_gather(all_W, mine)
        means_WC, scatter_WC, counts_W1 = torch.stack(all_W).split([channels, channels, 1], 1)
        total = counts_W1.sum()
        mean_C = (means_WC * counts_W1).sum(0) / total
        between_C = (counts_W1 * (means_WC - mean_C).square()).sum(0)
        var_C = (scatter_WC.sum(0) + between_C) / total
        scale_C = (var_C + eps).rsqrt()
        normal = (x - mean_C.view(shape)) * scale_C.view(shape)
        ctx.save_for_backward(normal, scale_C, total)
        ctx.mark_non_differentiable(mean_C, var_C, total)
        return normal, mean_C, var_C, total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        normal, scale_C, total = ctx.saved_tensors
        grad, axes, shape = grads[0], _other_axes(normal), _per_channel(normal)
        sums = torch.cat([grad.sum(axes), (grad * normal).sum(axes)])
        dist.all_reduce(sums)
        mean_C, along_C = (sums / total).chunk(2)
        flat = grad - mean_C.view(shape) - normal * along_C.view(shape)
        return flat * scale_C.view(shape), None


def _normalise_globally(x: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    out: tuple[Tensor, Tensor, Tensor, Tensor]
    out = _GlobalNormalisation.apply(x, eps)  # type: ignore[no-untyped-call]
    return out


def _other_axes(x: Tensor) -> list[int]:
    return [axis for axis in range(x.ndim) if axis != 1]


def _per_channel(x: Tensor) -> list[int]:
    return [1, -1] + [1] * (x.ndim - 2)


def globalise(model: nn.Module, share: Share, peers: Peers) -> nn.Module:
    """Swap Dropout, and BatchNorm when there are several workers, for their global versions.

    Args:
        model: Any model; changed in place, parameters and their names stay.
        share: Updated by the loop before every forward pass.
        peers: The workers.

    Returns:
        The model (a new one if its root itself was swapped).
    """
    if isinstance(model, _DropoutNd):
        return GlobalDropout(model.p, share, per_channel=not isinstance(model, nn.Dropout))
    if isinstance(model, _BatchNorm) and peers.world > 1:
        return _global_batch_norm(model)
    for name, child in model.named_children():
        swapped = globalise(child, share, peers)
        if swapped is not child:
            setattr(model, name, swapped)
    return model


def _global_batch_norm(norm: _BatchNorm) -> nn.Module:
    if norm.running_mean is not None and norm.running_mean.is_cuda:
        synced: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(norm)
        return synced
    new = GlobalBatchNorm(
        norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats
    )
    new.load_state_dict(norm.state_dict())
    return new.train(norm.training)
