"""cnn3d: 3D convolutions with strided convolutions for spectral pooling."""

from __future__ import annotations

from torch import Tensor, nn

from st_ray.learn.backbones.layers import (
    SpectralConv3d,
    channels_last,
    spatial_padding,
    spectral_major,
)
from st_ray.learn.backbones.registry import register_backbone
from st_ray.learn.backbones.windows import Windows
from st_ray.learn.presets import CurriculumShape, StageShape


class Cnn3d(nn.Module):
    """Six 3D convolutions and one linear layer (Hamida et al. 2018, table IV, 5x5 patches).

    Departures: the spectral padding is causal; the last convolution does not halve the spectral
    axis again, which makes the hand-over exact from every fourth number of components instead
    of every eighth; patches of less than the paper's 5x5 are padded, and what larger ones leave
    of the spatial axes is averaged before the linear layer, so that it does not depend on them.
    """

    def __init__(self, components: int, patch_size: int, classes: int, width: int) -> None:
        super().__init__()
        wide = width * 7 // 4
        first = spatial_padding(patch_size)
        second = spatial_padding(patch_size - 2 + 2 * first, least=1)
        self.features = nn.Sequential(
            SpectralConv3d(1, width, kernel=3, window=3, padding=first),
            nn.ReLU(),
            SpectralConv3d(width, width, kernel=3, stride=2),
            nn.ReLU(),
            SpectralConv3d(width, wide, kernel=3, window=3, padding=second),
            nn.ReLU(),
            SpectralConv3d(wide, wide, kernel=3, stride=2),
            nn.ReLU(),
            SpectralConv3d(wide, wide, kernel=3),
            nn.ReLU(),
            SpectralConv3d(wide, wide, kernel=2),
            nn.ReLU(),
        )
        self.head = nn.Linear(wide * -(-components // 4), classes)

    def forward(self, patches: Tensor) -> Tensor:
        """(M, K, S, S) -> (M, C)."""
        features = self.features(patches.unsqueeze(1)).mean((3, 4))
        logits: Tensor = self.head(spectral_major(features))
        return logits

    def over_windows(self, windows: Windows) -> Tensor:
        """`forward`, for all windows of a tile: (N, C)."""
        volume = windows.each(lambda values: values.unsqueeze(1)).through(self.features)
        logits: Tensor = self.head(spectral_major(volume.mean()))
        return logits


@register_backbone(
    "cnn3d",
    paper=(
        "Hamida et al. 2018, '3-D Deep Learning Approach for Remote Sensing Image "
        "Classification', IEEE TGRS 56(8), doi:10.1109/TGRS.2018.2818945"
    ),
    whitening=0.5,
    full_epochs=30,
    learning_rate=1e-2,
    batch_size=32,
    optimizer="muon",
    flips=True,
    shape=CurriculumShape(1.0, (StageShape(30, 0.64, 20), StageShape(30, 1.0, 10))),
    growth=(
        "exact from a multiple of 4 components; from others the last block of 4 was filled with "
        "zeros and now sees new components; a larger patch changes no weight but the pixels "
        "that are averaged"
    ),
    exact_every=4,
)
def cnn3d(*, components: int, patch_size: int, classes: int, width: int = 20) -> nn.Module:
    """Build cnn3d.

    Args:
        components: K.
        patch_size: S.
        classes: C.
        width: Channels of the first two convolutions; the other four have 7/4 of it (20 and 35
            in the paper).
    """
    return channels_last(Cnn3d(components, patch_size, classes, width))
