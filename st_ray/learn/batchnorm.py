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

    Two small exchanges a training step.

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
        channels = input.shape[1]
        weight_C: Tensor = self.weight if self.affine else input.new_ones(channels)
        bias_C: Tensor = self.bias if self.affine else input.new_zeros(channels)
        normal, *facts = _normalise_globally(input, weight_C, bias_C, self.eps, self.peers)
        self._track(*facts)
        return normal

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
    """(x - mean) / sqrt(var + eps) * weight + bias over the global batch, and its gradient.

    Means and variances of the workers are merged exactly (Chan et al. 1983, as the spectral
    moments are); the gradient is that of Ioffe & Szegedy 2015, section 3, with global sums. The
    passes over x are torch's own kernels for a single process: for statistics alone, and for
    evaluation, which takes any.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight_C: Tensor, bias_C: Tensor, eps: float, peers: Peers
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        channels = x.shape[1]
        mean_C, var_C = torch.ops.aten.batch_norm_update_stats(x, None, None, 0.0)
        count = x.new_full((1,), x.numel() / channels)
        mine = torch.cat([mean_C, var_C * count, count])
        all_WX = peers.collect(mine)
        means_WC, scatter_WC, counts_W1 = all_WX.split([channels, channels, 1], 1)
        total = counts_W1.sum()
        mean_C = (means_WC * counts_W1).sum(0) / total
        between_C = (counts_W1 * (means_WC - mean_C).square()).sum(0)
        var_C = (scatter_WC.sum(0) + between_C) / total
        normal, *_ = torch.native_batch_norm(x, weight_C, bias_C, mean_C, var_C, False, 0.0, eps)
        ctx.eps, ctx.peers = eps, peers
        ctx.save_for_backward(x, weight_C, mean_C, var_C, total)
        ctx.mark_non_differentiable(mean_C, var_C, total)
        return normal, mean_C, var_C, total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight_C, mean_C, var_C, total = ctx.saved_tensors
        _, along_C, sum_C = torch.ops.aten.native_batch_norm_backward(
            grads[0], x, weight_C, mean_C, var_C, None, None, False, ctx.eps, [False, True, True]
        )
        mean_grad_C, mean_along_C = (ctx.peers.add(torch.cat([sum_C, along_C])) / total).chunk(2)
        scale_C = (var_C + ctx.eps).rsqrt()
        slope_C = weight_C * scale_C.square() * mean_along_C
        offset_C = weight_C * scale_C * mean_grad_C - slope_C * mean_C
        zero_C, one_C = torch.zeros_like(mean_C), torch.ones_like(mean_C)
        through, *_ = torch.native_batch_norm(
            x, -slope_C, -offset_C, zero_C, one_C, False, 0.0, 0.0
        )
        through.addcmul_(grads[0], (weight_C * scale_C).view([1, -1] + [1] * (x.ndim - 2)))
        return through, along_C, sum_C, None, None


def _normalise_globally(
    x: Tensor, weight_C: Tensor, bias_C: Tensor, eps: float, peers: Peers
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    out: tuple[Tensor, Tensor, Tensor, Tensor]
    out = _GlobalNormalisation.apply(  # type: ignore[no-untyped-call]
        x, weight_C, bias_C, eps, peers
    )
    return out
