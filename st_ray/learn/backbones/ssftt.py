"""ssftt: a 3D and a 2D convolution, a few semantic tokens, one transformer layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from st_ray.learn.backbones.layers import (
    EncoderBlock,
    SpectralConv3d,
    normal_parameter,
    prepend_token,
    spatial_padding,
    spectral_major,
)
from st_ray.learn.backbones.registry import register_backbone
from st_ray.learn.backbones.windows import Windows
from st_ray.learn.presets import CurriculumShape, StageShape


class GaussianTokenizer(nn.Module):
    """Gaussian weighted feature tokenizer (Sun et al. 2022, eq. 4): pixels -> a few tokens.

    Each token is an average of the pixels' values, weighted by a softmax over the pixels.
    """

    def __init__(self, dim: int, tokens: int) -> None:
        super().__init__()
        # As in the authors' code: a third axis counts as width, which makes the weights smaller.
        weight, value = torch.empty(1, tokens, dim), torch.empty(1, dim, dim)
        self.weight = nn.Parameter(nn.init.xavier_normal_(weight)[0])
        self.value = nn.Parameter(nn.init.xavier_normal_(value)[0])

    def forward(self, pixels: Tensor) -> Tensor:
        """(M, P, dim) -> (M, tokens, dim)."""
        shares = (pixels @ self.weight.T).softmax(dim=1)
        return shares.transpose(1, 2) @ (pixels @ self.value)

    def over_windows(self, windows: Windows) -> Tensor:
        """`forward`, for all windows of a tile: (N, tokens, dim)."""
        scores = windows.each(lambda values: _linear(values, self.weight)).pixels()
        values = windows.each(lambda values: _linear(values, self.value.T)).pixels()
        return scores.softmax(dim=1).transpose(1, 2) @ values


def _linear(values: Tensor, weight: Tensor) -> Tensor:
    """Every pixel's channels times (outputs, channels): (1, F, Y, X) -> (1, outputs, Y, X)."""
    return F.conv2d(values, weight[..., None, None])


class Ssftt(nn.Module):
    """Convolutions, tokenizer, class token, encoder, linear head (Sun et al. 2022, fig. 1).

    Departures: the spectral padding is causal; the edges are padded where a convolution
    would leave less than 3x3 pixels for the tokens (of the paper's 13x13 it does not).
    """

    def __init__(
        self,
        components: int,
        patch_size: int,
        classes: int,
        dim: int,
        depth: int,
        heads: int,
        hidden: int,
        tokens: int,
        dropout: float,
    ) -> None:
        super().__init__()
        channels = 8
        first = spatial_padding(patch_size)
        second = spatial_padding(patch_size - 2 + 2 * first)
        self.volume = nn.Sequential(
            SpectralConv3d(1, channels, kernel=3, window=3, padding=first, bias=False),
            nn.BatchNorm3d(channels),
            nn.ReLU(),
        )
        self.plane = nn.Sequential(
            nn.Conv2d(channels * components, dim, 3, padding=second, bias=False),
            nn.BatchNorm2d(dim),
            nn.ReLU(),
        )
        self.tokenizer = GaussianTokenizer(dim, tokens)
        self.class_token = normal_parameter(dim)
        self.positions = normal_parameter(tokens + 1, dim)
        self.dropout = nn.Dropout(dropout)
        self.encoder = nn.Sequential(
            *(EncoderBlock(dim, heads, hidden, dropout) for _ in range(depth))
        )
        self.head = nn.Linear(dim, classes)

    def forward(self, patches: Tensor) -> Tensor:
        """(M, K, S, S) -> (M, C)."""
        features = self.plane(spectral_major(self.volume(patches.unsqueeze(1))))
        return self._classify(self.tokenizer(features.flatten(2).transpose(1, 2)))

    def over_windows(self, windows: Windows) -> Tensor:
        """`forward`, for all windows of a tile: (N, C)."""
        volume = windows.each(lambda values: values.unsqueeze(1)).through(self.volume)
        plane = volume.each(spectral_major).through(self.plane)
        return plane.in_blocks(16, lambda part: self._classify(self.tokenizer.over_windows(part)))

    def _classify(self, semantic: Tensor) -> Tensor:
        """(M, tokens, dim) -> (M, C)."""
        tokens = self.dropout(prepend_token(self.class_token, semantic) + self.positions)
        logits: Tensor = self.head(self.encoder(tokens)[:, 0])
        return logits


@register_backbone(
    "ssftt",
    paper=(
        "Sun et al. 2022, 'Spectral-Spatial Feature Tokenization Transformer for Hyperspectral "
        "Image Classification', IEEE TGRS 60, doi:10.1109/TGRS.2022.3144158"
    ),
    whitening=0.5,
    learning_rate=3e-3,
    flips=True,
    full_epochs=30,
    shape=CurriculumShape(0.47, (StageShape(60, 0.45, 8), StageShape(60, 1.0, 6))),
    growth=(
        "exact from any number of components; a larger patch changes no weight but the pixels "
        "that the tokens are drawn from"
    ),
    exact_every=1,
)
def ssftt(
    *,
    components: int,
    patch_size: int,
    classes: int,
    dim: int = 64,
    depth: int = 1,
    heads: int = 8,
    hidden: int = 8,
    tokens: int = 4,
    dropout: float = 0.1,
) -> nn.Module:
    """Build ssftt; the defaults are those of the authors' code.

    Args:
        components: K.
        patch_size: S.
        classes: C.
        dim: Channels of the 2D convolution and width of a token, a multiple of ``heads``.
        depth: Encoder layers.
        heads: Attention heads.
        hidden: Units of the encoder's hidden layers.
        tokens: Semantic tokens.
        dropout: Share dropped in embedding and encoder.
    """
    return Ssftt(components, patch_size, classes, dim, depth, heads, hidden, tokens, dropout)
