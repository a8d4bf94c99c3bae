"""resnet2d: a small residual network over the patch, components as channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from st_ray.learn.backbones.layers import channels_last
from st_ray.learn.backbones.registry import register_backbone
from st_ray.learn.backbones.windows import Windows
from st_ray.learn.presets import CurriculumShape, StageShape


class ResidualBlock2d(nn.Module):
    """Two 3x3 convolutions around an identity shortcut (He et al. 2016, fig. 2), BatchNorm each."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(M, width, H, W) -> (M, width, H, W)."""
        residual: Tensor = self.body(features)
        return (features + residual).relu()

    def over_windows(self, windows: Windows) -> Windows:
        """`forward`, for all windows of a tile."""
        return windows.plus(windows.through(self.body)).each(torch.relu)


class ResNet2d(nn.Module):
    """Stem, residual blocks of one width, global average pooling, linear head.

    He et al. 2016 downsample photographs from 224 pixels to 7 in four widths; a patch is that
    small to begin with, so that one width without downsampling remains of it.
    """

    channels_last = True

    def __init__(
        self, components: int, classes: int, width: int, blocks: int, dropout: float
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(components, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        self.blocks = nn.Sequential(*(ResidualBlock2d(width) for _ in range(blocks)))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, classes)

    def forward(self, patches: Tensor) -> Tensor:
        """(M, K, S, S) -> (M, C)."""
        features = self.blocks(self.stem(patches)).mean((2, 3))
        logits: Tensor = self.head(self.dropout(features))
        return logits

    def dense_gain(self, patch_size: int) -> float:
        """See `st_ray.learn.dense`; all is padded: in a small patch no positions share values."""
        return patch_size**2 / 110

    def over_windows(self, windows: Windows) -> Tensor:
        """`forward`, for all windows of a tile: (N, C)."""
        return windows.in_blocks(
            16, lambda part: self.head(part.through(self.stem).through(self.blocks).mean())
        )


@register_backbone(
    "resnet2d",
    paper=(
        "He et al. 2016, 'Deep Residual Learning for Image Recognition', CVPR, "
        "doi:10.1109/CVPR.2016.90"
    ),
    whitening=0.5,
    full_epochs=52,
    learning_rate=3e-3,
    shape=CurriculumShape(0.35, (StageShape(60, 0.82, 0.7), StageShape(60, 1.0, 0.3))),
    growth=(
        "exact from any number of components, in training mode too (the stem is dense in them); "
        "a larger patch changes no weight but the pixels that are averaged"
    ),
    exact_every=1,
)
def resnet2d(
    *,
    components: int,
    patch_size: int,  # noqa: ARG001 - any size
    classes: int,
    width: int = 64,
    blocks: int = 2,
    dropout: float = 0.0,
) -> nn.Module:
    """Build resnet2d.

    Args:
        components: K.
        patch_size: S, not used: the network takes any.
        classes: C.
        width: Channels throughout.
        blocks: Residual blocks, two convolutions each.
        dropout: Share of pooled features dropped before the head.
    """
    return channels_last(ResNet2d(components, classes, width, blocks, dropout))
