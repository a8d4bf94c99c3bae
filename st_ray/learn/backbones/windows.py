"""All windows of a tile at once: what neighbouring patches have in common is computed once.

Two patches whose centres are neighbours share all pixels but a column. A convolution without
spatial padding gives both the same value where they overlap, so it is evaluated once over the
tile and a patch's features are a window of the result. A padded convolution sees zeros beyond
the patch's edge, and its value depends on where in the patch it stands; but only near the edge.
Along an axis, the positions of a window therefore fall into kinds: runs of positions that share
one row of values, and near the edges single positions with a row of their own, one more on each
side after every padded layer. `Windows` holds the rows of all kinds one after another, and a
layer is one product with its weights, whose results are added up where each kind needs them.

Everything here is exact: each value is the sum of the same products as patch by patch, in another
order.

Shape letters: N windows of a tile, F channels, L spectral positions, Y X rows and columns of all
kinds, S window side, K components, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

from st_ray.learn.backbones.axis import Axis, Step, add_up, join, places, take, window_sum
from st_ray.learn.backbones.layers import SpectralConv3d


@runtime_checkable
class OverWindows(Protocol):
    """A layer that knows how to go over windows, where going through its children does not do."""

    def over_windows(self, windows: Windows) -> Windows:
        """What ``forward`` does to patches, for all windows."""


@dataclass(frozen=True, slots=True)
class Windows:
    """Features of all windows of a tile.

    Attributes:
        features: (1, F, Y, X), or (1, F, L, Y, X) with a spectral axis.
        rows: Of the windows.
        cols: Of the windows.
    """

    features: Tensor
    rows: Axis
    cols: Axis

    @classmethod
    def of(cls, features: Tensor, side: int) -> Windows:
        """All windows of ``side`` x ``side`` pixels of a tile (1, F, Y, X)."""
        height, width = features.shape[-2:]
        whole = ((0, side - 1),)
        return cls(features, Axis(height - side + 1, whole), Axis(width - side + 1, whole))

    def each(self, function: Callable[[Tensor], Tensor]) -> Windows:
        """Apply what treats every pixel alike and by itself."""
        return replace(self, features=function(self.features))

    def through(self, module: nn.Module) -> Windows:
        """What the module does to every patch, in evaluation mode.

        Raises:
            TypeError: It is of a kind that was not thought of here.
        """
        if isinstance(module, OverWindows):
            return module.over_windows(self)
        if isinstance(module, nn.Sequential):
            windows, layers = self, list(module)
            while layers:
                layer = layers.pop(0)
                if isinstance(layer, _CONVOLUTIONS) and layers and isinstance(layers[0], _NORMS):
                    windows = windows._convolve(layer, layers.pop(0))
                else:
                    windows = windows.through(layer)
            return windows
        if isinstance(module, _CONVOLUTIONS):
            return self._convolve(module)
        if isinstance(module, _PIXELWISE):
            return self.each(module)
        raise TypeError(f"no rule for {type(module).__name__} over windows")

    def _convolve(
        self, layer: nn.Conv2d | SpectralConv3d, norm: nn.Module | None = None
    ) -> Windows:
        """One convolution of square kernels, stride 1 along both spatial axes."""
        conv = layer if isinstance(layer, nn.Conv2d) else layer.conv
        taps, padding = conv.kernel_size[-1], _padding(layer)
        rows, down = self.rows.convolved(taps, padding)
        cols, across = self.cols.convolved(taps, padding)
        if taps == 1 or (padding == 0 and self.rows.shared and self.cols.shared):
            values = layer(self.features)
            return Windows(values if norm is None else norm(values), rows, cols)
        volume = self.features
        if isinstance(layer, SpectralConv3d):
            volume = F.pad(volume, (0, 0, 0, 0, *layer.reach(volume.shape[2])))
        weight, bias = _folded(conv, norm)
        # First the tap that every position sees, then those that see something.
        order = sorted((tap for tap in range(taps) if down[tap]), key=lambda tap: tap != padding)
        # The taps of one row of the kernel are channels of their own: one product for all.
        weights = [weight[..., tap, :].movedim(-1, 0)[order].flatten(0, 1) for tap in order]
        steps = [join(down[tap]) for tap in order]
        if isinstance(conv, nn.Conv2d):
            lines = _rows_2d(volume, weights, steps, rows.length)
        else:
            lines = _rows_3d(volume, weights, steps, rows.length, conv.stride[0])
        by_tap = lines.split(conv.out_channels, dim=1)
        joined = [join(across[tap]) for tap in order]
        out = add_up(list(zip(joined, by_tap, strict=True)), cols.length, dim=-1)
        return Windows(out.add_(bias), rows, cols)

    def plus(self, finer: Windows) -> Windows:
        """The sum with what layers, each with padding, have made of these windows."""
        lines = add_up(
            [(join(self.rows.refined(finer.rows)), self.features)], finer.rows.length, dim=-2
        )
        total = add_up([(join(self.cols.refined(finer.cols)), lines)], finer.cols.length, dim=-1)
        return replace(finer, features=total.add_(finer.features))

    def mean(self) -> Tensor:
        """The mean over each window's pixels: (N, F), or (N, F, L)."""
        lines = window_sum(self.features, self.rows, dim=-2)
        total = window_sum(lines, self.cols, dim=-1) / (self.rows.side * self.cols.side)
        return total[0].flatten(-2).movedim(-1, 0)

    def pixels(self) -> Tensor:
        """Each window's pixels, row by row: (N, S*S, F)."""
        down = places(self.rows)[:, None, :, None]
        across = places(self.cols)[None, :, None, :]
        index = (down * self.cols.length + across).flatten().to(self.features.device)
        values = self.features[0].flatten(1).T.contiguous().index_select(0, index)
        return values.view(self.rows.count * self.cols.count, -1, values.shape[1])

    def in_blocks(self, side: int, function: Callable[[Windows], Tensor]) -> Tensor:
        """Apply a function that gives each window's logits (n, C), some windows at a time.

        Args:
            side: Most windows of a block, along each axis.
            function: What to apply.

        Returns:
            (N, C), the windows row by row.
        """
        strips = []
        for rows, down in self.rows.cut(side):
            strip = []
            for cols, across in self.cols.cut(side):
                part = take(take(self.features, down, dim=-2), across, dim=-1)
                logits = function(Windows(part, rows, cols))
                strip.append(logits.view(rows.count, cols.count, -1))
            strips.append(torch.cat(strip, dim=1).flatten(0, 1))
        return torch.cat(strips)


_CONVOLUTIONS = (nn.Conv2d, SpectralConv3d)
_NORMS = (_BatchNorm,)
_PIXELWISE = (_BatchNorm, nn.ReLU, nn.Dropout)


def _padding(layer: nn.Conv2d | SpectralConv3d) -> int:
    return layer.padding if isinstance(layer, SpectralConv3d) else int(layer.padding[0])


def _rows_2d(
    features: Tensor, weights: list[Tensor], steps: list[list[Step]], length: int
) -> Tensor:
    """Sums over the rows of a kernel, (1, F, Y, X) -> (1, F', Y', X); weights (F', F) of each.

    Products are added up where they are made: with few channels, moving them takes longer.
    """
    pixels_YXF = features[0].movedim(0, -1).contiguous()
    _, width, channels = pixels_YXF.shape
    flat = pixels_YXF.view(-1, channels)
    total = flat.new_empty(length * width, len(weights[0]))
    for number, (weight, along) in enumerate(zip(weights, steps, strict=True)):
        for source, target in along:
            what = flat[source.start * width : source.stop * width]
            into = total[target.start * width : target.stop * width]
            torch.addmm(into, what, weight.T, beta=min(number, 1), out=into)
    return total.view(length, width, -1).movedim(-1, 0)[None]


def _rows_3d(
    features: Tensor, weights: list[Tensor], steps: list[list[Step]], length: int, stride: int
) -> Tensor:
    """The same along a spectral axis, (1, F, L, Y, X); weights (F', F, kernel) of each."""
    products = [
        F.conv3d(features, weight[..., None, None], stride=(stride, 1, 1)) for weight in weights
    ]
    return add_up(list(zip(steps, products, strict=True)), length, dim=-2)


def _folded(conv: nn.Conv2d | nn.Conv3d, norm: nn.Module | None) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution with the normalisation after it."""
    weight, bias = conv.weight, conv.bias
    if isinstance(norm, _NORMS):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        weight, bias = fuse_conv_bn_weights(
            weight, bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
    if bias is None:
        bias = weight.new_zeros(len(weight))
    return weight, bias.view(-1, *(1,) * (weight.ndim - 2))
