"""BatchNorm over a batch that several workers share.

Shape letters: M global batch, m this worker's share of it, C channels, W workers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from st_ray.learn.peers import Peers


def global_batch_norm(norm: _BatchNorm, peers: Peers) -> nn.Module:
    """The global version of a layer; it holds the very parameters and buffers of the old."""
    if any(tensor.is_cuda for tensor in (*norm.parameters(), *norm.buffers())):
        synced: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(norm)
        return synced
    new = GlobalBatchNorm(
        norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats, "meta"
    )
    for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
        setattr(new, name, getattr(norm, name))
    new.peers = peers
    return new.train(norm.training)


class GlobalBatchNorm(_BatchNorm):
    """BatchNorm over the global batch on any backend; torch's SyncBatchNorm is for GPUs only.

    Two collectives a training step: small ones cost about 2 ms each over gloo, whatever they
    carry, so a layer must not use more than it needs.

    Attributes:
        peers: The workers that share the batch.
    """

    peers: Peers

    def _check_input_dim(self, input: Tensor) -> None:
        del input

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (m, C, ...) by the statistics of all workers' (M, C, ...)."""
        if not self.training:
            return super().forward(input)
        normal, mean_C, var_C, count = _normalise_globally(input, self.eps, self.peers)
        self._track(mean_C, var_C, count)
        shape = _per_channel(input)
        if self.weight is not None:
            normal = normal * self.weight.view(shape)
        return normal if self.bias is None else normal + self.bias.view(shape)

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
    def forward(
        ctx: Any, x: Tensor, eps: float, peers: Peers
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        channels, shape = x.shape[1], _per_channel(x)
        var_C, mean_C = torch.var_mean(x, _other_axes(x), correction=0)
        count = x.new_full((1,), x.numel() / channels)
        mine = torch.cat([mean_C, var_C * count, count])
        all_WX = peers.collect(mine)
        means_WC, scatter_WC, counts_W1 = all_WX.split([channels, channels, 1], 1)
        total = counts_W1.sum()
        mean_C = (means_WC * counts_W1).sum(0) / total
        between_C = (counts_W1 * (means_WC - mean_C).square()).sum(0)
        var_C = (scatter_WC.sum(0) + between_C) / total
        scale_C = (var_C + eps).rsqrt()
        normal = (x - mean_C.view(shape)) * scale_C.view(shape)
        ctx.peers = peers
        ctx.save_for_backward(normal, scale_C, total)
        ctx.mark_non_differentiable(mean_C, var_C, total)
        return normal, mean_C, var_C, total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        normal, scale_C, total = ctx.saved_tensors
        grad, axes, shape = grads[0], _other_axes(normal), _per_channel(normal)
        sums = torch.cat([grad.sum(axes), (grad * normal).sum(axes)])
        mean_C, along_C = (ctx.peers.add(sums) / total).chunk(2)
        flat = grad - mean_C.view(shape) - normal * along_C.view(shape)
        return flat * scale_C.view(shape), None, None


def _normalise_globally(
    x: Tensor, eps: float, peers: Peers
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    out: tuple[Tensor, Tensor, Tensor, Tensor]
    out = _GlobalNormalisation.apply(x, eps, peers)  # type: ignore[no-untyped-call]
    return out


def _other_axes(x: Tensor) -> list[int]:
    return [axis for axis in range(x.ndim) if axis != 1]


def _per_channel(x: Tensor) -> list[int]:
    return [1, -1] + [1] * (x.ndim - 2)
