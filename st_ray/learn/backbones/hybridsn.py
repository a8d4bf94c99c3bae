"""hybridsn: three 3D convolutions, then a 2D one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from st_ray.learn.backbones.layers import (
    SpectralConv3d,
    spatial_padding,
    spectral_major,
)
from st_ray.learn.backbones.registry import register_backbone
from st_ray.learn.backbones.windows import Windows
from st_ray.learn.presets import CurriculumShape, StageShape

# Windows on a side that are evaluated at a time where layers are padded, which takes memory.
_PADDED_BLOCK = 8


class HybridSN(nn.Module):
    """3D convolutions 8, 16, 32, a 2D convolution 64, dense 256 and 128 (Roy et al. 2020, tab. I).

    Departures: the spectral padding is causal; the edges are padded where a 3D convolution
    would leave less than 3x3 pixels (of the paper's 25x25 it does not); the 17x17 pixels that
    the paper flattens into the first dense layer are averaged, so that it does not depend on
    the patch.
    """

    def __init__(self, components: int, patch_size: int, classes: int, dropout: float) -> None:
        super().__init__()
        volume: list[nn.Module] = []
        side, inputs = patch_size, 1
        for outputs, kernel in ((8, 7), (16, 5), (32, 3)):
            padding = spatial_padding(side)
            volume += [
                SpectralConv3d(inputs, outputs, kernel=kernel, window=3, padding=padding),
                nn.ReLU(),
            ]
            side, inputs = side - 2 + 2 * padding, outputs
        self.volume = nn.Sequential(*volume)
        padding = spatial_padding(side, least=1)
        self.plane = nn.Conv2d(inputs * components, 64, 3, padding=padding)
        self.dense = nn.Sequential(
            nn.Linear(64, 256),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(256, 128),
            nn.ReLU(),
            nn.Dropout(dropout),
        )
        self.head = nn.Linear(128, classes)

    def dense_gain(self, patch_size: int) -> float:
        """See `st_ray.learn.dense`; of a small patch all layers but the first are padded."""
        return patch_size**2 / 10 if patch_size > 7 else patch_size / 7

    def forward(self, patches: Tensor) -> Tensor:
        """(M, K, S, S) -> (M, C)."""
        volume = self.volume(patches.unsqueeze(1))
        features = self.plane(spectral_major(volume)).relu().mean((2, 3))
        logits: Tensor = self.head(self.dense(features))
        return logits

    def over_windows(self, windows: Windows) -> Tensor:
        """`forward`, for all windows of a tile: (N, C)."""
        padded = any(layer.padding for layer in self.volume if isinstance(layer, SpectralConv3d))
        whole = max(windows.rows.count, windows.cols.count)
        return windows.in_blocks(_PADDED_BLOCK if padded else whole, self._over_block)

    def _over_block(self, windows: Windows) -> Tensor:
        volume = windows.each(lambda values: values.unsqueeze(1)).through(self.volume)
        features = volume.each(spectral_major).through(self.plane).each(torch.relu).mean()
        logits: Tensor = self.head(self.dense(features))
        return logits


@register_backbone(
    "hybridsn",
    paper=(
        "Roy et al. 2020, 'HybridSN: Exploring 3-D-2-D CNN Feature Hierarchy for Hyperspectral "
        "Image Classification', IEEE GRSL 17(2), doi:10.1109/LGRS.2019.2918719"
    ),
    whitening=0.5,
    full_epochs=30,
    learning_rate=3e-3,
    optimizer="muon",
    shape=CurriculumShape(0.37, (StageShape(60, 1.0, 1.0),)),
    growth=(
        "exact from any number of components; a larger patch changes no weight but the pixels "
        "that are averaged"
    ),
    exact_every=1,
)
def hybridsn(*, components: int, patch_size: int, classes: int, dropout: float = 0.4) -> nn.Module:
    """Build hybridsn.

    Args:
        components: K.
        patch_size: S.
        classes: C.
        dropout: Share of units dropped after each dense layer; 0.4 in the paper.
    """
    return HybridSN(components, patch_size, classes, dropout)
