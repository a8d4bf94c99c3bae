"""Layers that several backbones share.

Two of them make a hand-over to more components or a larger patch possible:

* `SpectralConv3d` is causal along the spectral axis: an output depends on its own component and
  earlier ones only. Components added at the end therefore leave the old outputs as they were,
  and a dense layer behind it, fed through `spectral_major`, ignores the new ones as long as its
  new weights are zero. The convolutions of the papers are unpadded ("valid") there, which has
  the same property but runs out of components when there are few; the causal form is the valid
  one plus as many outputs at the start as the kernel is long, less one.
* `spatial_padding` is "valid" as in the papers while that leaves 3x3 pixels, "same" after: over
  a single pixel all of a 3x3 kernel but its centre would see only padding, learn nothing, and
  disturb the logits once the patch grows.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from st_ray.errors import SpecError

Model = TypeVar("Model", bound=nn.Module)


def spatial_padding(side: int, *, least: int = 3) -> int:
    """Zero pixels per edge for a 3x3 convolution of ``side`` x ``side`` pixels.

    None while ``least`` x ``least`` are left without; else one, which leaves as many as before.
    """
    return 0 if side - 2 >= least else 1


def spectral_major(features: Tensor) -> Tensor:
    """Merge channels and spectral axis, spectral position slowest: (M, F, L, ...) -> (M, L*F, ...).

    Columns of new spectral positions come last, so that a dense layer behind it grows by a
    prefix copy.
    """
    return features.transpose(1, 2).flatten(1, 2)


class SpectralConv3d(nn.Module):
    """A 3D convolution of (M, F, L, H, W), causal along the spectral axis L.

    With stride s, output j of the ceil(L / s) sees positions up to s*j + s - 1, so that every
    block of s positions ends in one output; an incomplete last block is filled with zeros.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        kernel: Length along the spectral axis, at least ``stride``.
        window: Side along the two spatial axes.
        stride: Step along the spectral axis.
        padding: Zero pixels per spatial edge.
        bias: Whether to add a bias.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kernel: int,
        window: int = 1,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv3d(
            inputs, outputs, (kernel, window, window), stride=(stride, 1, 1), bias=bias
        )
        self.before = kernel - stride
        self.stride = stride
        self.padding = padding

    def forward(self, features: Tensor) -> Tensor:
        """(M, F, L, H, W) -> (M, F', ceil(L / stride), H', W')."""
        edge = (self.padding,) * 4
        convolved: Tensor = self.conv(F.pad(features, (*edge, *self.reach(features.shape[2]))))
        return convolved

    def reach(self, length: int) -> tuple[int, int]:
        """Zeros before and after so many spectral positions."""
        return self.before, -length % self.stride


def channels_last(model: Model) -> Model:
    """Lay out a model's convolutions with the channels last, in place.

    On CPUs cnn3d is a third faster for it, ssrn a fifth and resnet2d a sixth; ssftt and hybridsn,
    with 3D convolutions of a few channels, are slower.
    """
    for parameter in model.parameters():
        if parameter.ndim in _LAYOUTS:
            parameter.data = parameter.data.contiguous(memory_format=_LAYOUTS[parameter.ndim])
    return model


_LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}


class Attention(nn.Module):
    """Multi-head self-attention of (M, T, dim), with dropout on its output.

    Attributes:
        scale: Of the scores; None: one over the root of a head's width.
    """

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        if dim % heads:
            raise SpecError(f"dim={dim} must be a multiple of heads={heads}")
        self.heads = heads
        self.scale: float | None = None
        self.query_key_value = nn.Linear(dim, 3 * dim, bias=False)
        self.project = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """(M, T, dim) -> (M, T, dim)."""
        batch, count, dim = tokens.shape
        mixed = self.query_key_value(tokens).view(batch, count, 3, self.heads, dim // self.heads)
        query, key, value = mixed.permute(2, 0, 3, 1, 4).unbind(0)
        attended = F.scaled_dot_product_attention(query, key, value, scale=self.scale)
        merged = attended.transpose(1, 2).reshape(batch, count, dim)
        projected: Tensor = self.dropout(self.project(merged))
        return projected


class EncoderBlock(nn.Module):
    """A pre-norm transformer encoder layer (Dosovitskiy et al. 2021, eq. 2-3)."""

    def __init__(self, dim: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(dim)
        self.attention = Attention(dim, heads, dropout)
        self.norm_mlp = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(
            nn.Linear(dim, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, dim),
            nn.Dropout(dropout),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """(M, T, dim) -> (M, T, dim)."""
        tokens = tokens + self.attention(self.norm_attention(tokens))
        refined: Tensor = tokens + self.mlp(self.norm_mlp(tokens))
        return refined


def normal_parameter(*shape: int, std: float = 0.02) -> nn.Parameter:
    """A parameter drawn from N(0, std^2)."""
    return nn.Parameter(torch.randn(*shape) * std)


def prepend_token(token: Tensor, tokens: Tensor) -> Tensor:
    """Put the class token (dim,) in front of every sample's (M, T, dim)."""
    return torch.cat((token.expand(tokens.shape[0], 1, -1), tokens), dim=1)
