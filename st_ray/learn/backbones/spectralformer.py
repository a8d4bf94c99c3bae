"""spectralformer: one token per component, embedded with its neighbours and the whole patch."""

from __future__ import annotations

from math import isqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from st_ray.errors import SpecError
from st_ray.learn.backbones.layers import EncoderBlock, normal_parameter, prepend_token
from st_ray.learn.backbones.registry import register_backbone
from st_ray.learn.presets import CurriculumShape, StageShape


class GroupEmbedding(nn.Conv1d):
    """Groupwise spectral embedding (Hong et al. 2022, eq. 8-9): a component with its neighbours.

    A convolution along the components whose channels are the patch's pixels; these keep their
    place when the patch grows.

    Args:
        patch_size: S.
        dim: Width of a token.
        group: Components per token, odd: the token's own and its neighbours on both sides.
    """

    def __init__(self, patch_size: int, dim: int, group: int) -> None:
        super().__init__(patch_size**2, dim, group, padding=group // 2)
        self.patch_size = patch_size

    def forward(self, patches: Tensor) -> Tensor:
        """(M, K, S, S) -> (M, K, dim)."""
        return super().forward(patches.flatten(2).transpose(1, 2)).transpose(1, 2)

    def carry_parameter(self, name: str, old: Tensor) -> Tensor | None:
        """Put the old pixels' weights (dim, S*S, group) in the centre, zeros around them."""
        if name != "weight":
            return None
        dim, pixels, group = old.shape
        side = isqrt(pixels)
        edge = (self.patch_size - side) // 2
        old = old.reshape(dim, side, side, group)
        return F.pad(old, (0, 0, edge, edge, edge, edge)).flatten(1, 2)


class SpectralFormer(nn.Module):
    """Group embedding, class token, encoder with cross-layer fusion (Hong et al. 2022, fig. 2).

    The patch-wise form with cross-layer adaptive fusion (eq. 11): from the third layer on, a
    layer's input is a learned weighting of the tokens now and two layers before.

    Departures: the neighbours of the first and last component are zeros, where the authors' code
    wraps around to the other end of the spectrum; the fusion has the two weights of eq. 11 per
    layer, where the authors' code mixes all tokens as well, which does not carry over to more.
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
        group: int,
        dropout: float,
    ) -> None:
        super().__init__()
        if group % 2 == 0:
            raise SpecError(f"backbone spectralformer: group must be odd, got {group}")
        self.embed = GroupEmbedding(patch_size, dim, group)
        self.class_token = normal_parameter(dim)
        self.class_position = normal_parameter(dim)
        self.positions = normal_parameter(components, dim)
        self.dropout = nn.Dropout(dropout)
        self.encoder = nn.ModuleList(
            EncoderBlock(dim, heads, hidden, dropout) for _ in range(depth)
        )
        self.fusion = nn.Parameter(torch.full((max(depth - 2, 0), 2), 0.5))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, classes)

    def forward(self, patches: Tensor) -> Tensor:
        """(M, K, S, S) -> (M, C)."""
        spectrum = self.embed(patches) + self.positions
        tokens = self.dropout(prepend_token(self.class_token + self.class_position, spectrum))
        inputs: list[Tensor] = []
        for index, layer in enumerate(self.encoder):
            inputs.append(tokens)
            if index > 1:
                near, far = self.fusion[index - 2]
                tokens = near * tokens + far * inputs[index - 2]
            tokens = layer(tokens)
        logits: Tensor = self.head(self.norm(tokens[:, 0]))
        return logits


@register_backbone(
    "spectralformer",
    paper=(
        "Hong et al. 2022, 'SpectralFormer: Rethinking Hyperspectral Image Classification With "
        "Transformers', IEEE TGRS 60, doi:10.1109/TGRS.2021.3130716"
    ),
    whitening=0.0,
    full_epochs=90,
    learning_rate=3e-3,
    batch_size=32,
    # A token holds the whole patch, so that a small one costs accuracy and saves nothing.
    shape=CurriculumShape(0.3, (StageShape(30, 1.0, 1.0),)),
    growth=(
        "more components keep every weight but add tokens to attend to, so the logits change; "
        "exact when the patch grows, whose new pixels start with zero weights"
    ),
    exact_every=None,
    exact_in_patch=True,
)
def spectralformer(
    *,
    components: int,
    patch_size: int,
    classes: int,
    dim: int = 64,
    depth: int = 5,
    heads: int = 4,
    hidden: int = 8,
    group: int = 3,
    dropout: float = 0.1,
) -> nn.Module:
    """Build spectralformer; the defaults are those of the authors' code.

    Args:
        components: K; there are K tokens.
        patch_size: S.
        classes: C.
        dim: Width of a token, a multiple of ``heads``.
        depth: Encoder layers.
        heads: Attention heads.
        hidden: Units of the encoder's hidden layers.
        group: Neighbouring components per token, odd.
        dropout: Share dropped in embedding and encoder.
    """
    return SpectralFormer(
        components, patch_size, classes, dim, depth, heads, hidden, group, dropout
    )
