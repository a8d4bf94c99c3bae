"""ssrn: spectral residual blocks, then spatial ones."""

from __future__ import annotations

from torch import Tensor, nn

from st_ray.learn.backbones.layers import (
    SpectralConv3d,
    channels_last,
    spatial_padding,
    spectral_major,
)
from st_ray.learn.backbones.registry import register_backbone
from st_ray.learn.backbones.resnet2d import ResidualBlock2d
from st_ray.learn.backbones.windows import Windows
from st_ray.learn.presets import CurriculumShape, StageShape


class SpectralBlock(nn.Module):
    """Two spectral convolutions around an identity shortcut (Zhong et al. 2018, fig. 3)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            SpectralConv3d(width, width, kernel=7, bias=False),
            nn.BatchNorm3d(width),
            nn.ReLU(),
            SpectralConv3d(width, width, kernel=7, bias=False),
            nn.BatchNorm3d(width),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(M, width, L, H, W) -> (M, width, L, H, W)."""
        residual: Tensor = self.body(features)
        return (features + residual).relu()

    def over_windows(self, windows: Windows) -> Windows:
        """`forward`, which convolves along the spectral axis only, for all windows of a tile."""
        return windows.each(self)


class Ssrn(nn.Module):
    """Spectral-spatial residual network (Zhong et al. 2018, fig. 5).

    The convolution that spans all that is left of the spectral axis is written as the 1x1
    convolution that it is. Departures: the spectral padding is causal; the first
    spatial convolution is padded for patches of less than 5x5.
    """

    def __init__(
        self, components: int, patch_size: int, classes: int, width: int, spectral: int
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            SpectralConv3d(1, width, kernel=7, stride=2, bias=False),
            nn.BatchNorm3d(width),
            nn.ReLU(),
        )
        self.spectral = nn.Sequential(SpectralBlock(width), SpectralBlock(width))
        self.compress = nn.Sequential(
            nn.Conv2d(width * -(-components // 2), spectral, 1, bias=False),
            nn.BatchNorm2d(spectral),
            nn.ReLU(),
            nn.Conv2d(spectral, width, 3, padding=spatial_padding(patch_size), bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        self.spatial = nn.Sequential(ResidualBlock2d(width), ResidualBlock2d(width))
        self.head = nn.Linear(width, classes)

    def forward(self, patches: Tensor) -> Tensor:
        """(M, K, S, S) -> (M, C)."""
        volume = self.spectral(self.stem(patches.unsqueeze(1)))
        features = self.spatial(self.compress(spectral_major(volume)))
        logits: Tensor = self.head(features.mean((2, 3)))
        return logits

    def over_windows(self, windows: Windows) -> Tensor:
        """`forward`, for all windows of a tile: (N, C)."""
        volume = windows.each(lambda values: values.unsqueeze(1)).through(self.stem)
        plane = volume.through(self.spectral).each(spectral_major)
        return plane.in_blocks(
            16, lambda part: self.head(part.through(self.compress).through(self.spatial).mean())
        )


@register_backbone(
    "ssrn",
    paper=(
        "Zhong et al. 2018, 'Spectral-Spatial Residual Network for Hyperspectral Image "
        "Classification: A 3-D Deep Learning Framework', IEEE TGRS 56(2), "
        "doi:10.1109/TGRS.2017.2755542"
    ),
    whitening=0.5,
    full_epochs=30,
    learning_rate=3e-3,
    batch_size=32,
    optimizer="muon",
    # Convolutions along the spectrum want neighbours that resemble each other.
    shape=CurriculumShape(2 / 3, (StageShape(30, 0.45, 7), StageShape(30, 0.82, 3)), axis="groups"),
    growth=(
        "exact from an even number of components; from an odd one the last pair was filled with "
        "a zero and now sees a new component; a larger patch changes no weight but the pixels "
        "that are averaged"
    ),
    exact_every=2,
)
def ssrn(
    *, components: int, patch_size: int, classes: int, width: int = 24, spectral: int = 128
) -> nn.Module:
    """Build ssrn.

    Args:
        components: K.
        patch_size: S.
        classes: C.
        width: Channels of the spectral and spatial blocks; 24 in the paper.
        spectral: Channels that the spectral axis is compressed into; 128 in the paper.
    """
    return channels_last(Ssrn(components, patch_size, classes, width, spectral))
