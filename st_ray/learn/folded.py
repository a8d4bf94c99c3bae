"""A network with its spectral basis folded in: from the bands that a sensor measures to logits.

Shape letters: N patches, B bands, K components, S patch side, C classes.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from st_ray.spectral.basis import SpectralBasis


class Folded(nn.Module):
    """The basis as a first layer, the network behind it.

    As `SpectralBasis.project` has it: the mean is taken off before the product, not made a bias
    after it, which would lose digits of values far from zero; and a pixel that lacks any band
    stands at the mean.

    Args:
        basis: What spectra are projected on.
        model: (N, K, S, S) -> (N, C).
        components: K.
    """

    mean: Tensor
    weight: Tensor

    def __init__(self, basis: SpectralBasis, model: nn.Module, components: int) -> None:
        super().__init__()
        weights_KB = basis.weights_KB[:components]
        self.register_buffer("mean", _float32(basis.mean_B)[:, None, None])
        self.register_buffer("weight", _float32(weights_KB)[:, :, None, None])
        self.model = model

    def forward(self, spectra: Tensor) -> Tensor:
        """(N, B, S, S), not finite where there is no value -> (N, C)."""
        centred = spectra - self.mean
        valid = torch.isfinite(centred).all(dim=1, keepdim=True)
        components = F.conv2d(torch.where(valid, centred, 0.0), self.weight)
        logits: Tensor = self.model(components)
        return logits


def _float32(values: NDArray[np.floating]) -> Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float32, order="C"))
