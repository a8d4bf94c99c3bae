"""cnn1d: a spectral network on the centre pixel."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from st_ray.learn.backbones.layers import spectral_major
from st_ray.learn.backbones.registry import register_backbone
from st_ray.learn.presets import CurriculumShape, StageShape


class Cnn1d(nn.Module):
    """One convolution along the spectrum, max-pooling, one hidden layer (Hu et al. 2015, fig. 2).

    Departures: the paper sets the kernel and the pool by the number of bands (ceil(B / 9), and
    the pool so that 30 to 40 outputs remain); here both are fixed, so that they carry over to a
    model with more components. The pool is 1, none, by default: neighbouring components, unlike
    the paper's neighbouring bands, do not resemble each other, and pooling 5 of them cost 8
    points of accuracy in a trial on Indian Pines. The convolution is causal, not unpadded, and the
    last pool may be incomplete, for fewer components than the kernel is long.
    """

    reads = 1

    def __init__(
        self, components: int, classes: int, filters: int, kernel: int, pool: int, hidden: int
    ) -> None:
        super().__init__()
        self.before = kernel - 1
        self.conv = nn.Conv1d(1, filters, kernel)
        self.pool = nn.MaxPool1d(pool, ceil_mode=True)
        self.hidden = nn.Linear(filters * -(-components // pool), hidden)
        self.head = nn.Linear(hidden, classes)

    def forward(self, patches: Tensor) -> Tensor:
        """(M, K, S, S) -> (M, C)."""
        centre = patches.shape[-1] // 2
        spectra = F.pad(patches[:, None, :, centre, centre], (self.before, 0))
        features = self.pool(self.conv(spectra).tanh())
        logits: Tensor = self.head(self.hidden(spectral_major(features)).tanh())
        return logits


@register_backbone(
    "cnn1d",
    paper=(
        "Hu et al. 2015, 'Deep Convolutional Neural Networks for Hyperspectral Image "
        "Classification', Journal of Sensors 2015, doi:10.1155/2015/258619"
    ),
    whitening=0.5,
    full_epochs=90,
    learning_rate=3e-3,
    shape=CurriculumShape(0.58, (StageShape(66, 1.0, 1.0),), axis="groups"),
    growth=(
        "exact from any number of components (with a pool, from its multiples); a larger patch "
        "changes nothing, since only the centre pixel is read"
    ),
    exact_every=1,
    exact_in_patch=True,
)
def cnn1d(
    *,
    components: int,
    patch_size: int,  # noqa: ARG001 - the centre pixel is all that is read
    classes: int,
    filters: int = 20,
    kernel: int = 24,
    pool: int = 1,
    hidden: int = 100,
) -> nn.Module:
    """Build cnn1d.

    Args:
        components: K.
        patch_size: S, not used.
        classes: C.
        filters: Channels of the convolution; 20 in the paper.
        kernel: Its length, in components.
        pool: Length of the max-pooling, in components; 1: none.
        hidden: Units of the hidden layer; 100 in the paper.
    """
    return Cnn1d(components, classes, filters, kernel, pool, hidden)
