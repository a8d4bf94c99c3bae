"""vit: a vision transformer whose tokens are the patch's pixels."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from st_ray.learn.backbones.layers import EncoderBlock, normal_parameter, prepend_token
from st_ray.learn.backbones.registry import register_backbone
from st_ray.learn.presets import CurriculumShape, StageShape


class PixelPositions(nn.Module):
    """A learned table of positions (dim, S, S) that keeps its centre when the patch grows."""

    def __init__(self, patch_size: int, dim: int) -> None:
        super().__init__()
        self.table = normal_parameter(dim, patch_size, patch_size)

    def carry_parameter(self, name: str, old: Tensor) -> Tensor | None:  # noqa: ARG002
        """Centre the old table; new pixels start at the position of the nearest old one."""
        edge = (self.table.shape[-1] - old.shape[-1]) // 2
        return F.pad(old[None], (edge,) * 4, mode="replicate")[0]

    def forward(self, tokens: Tensor) -> Tensor:
        """Add its position to every pixel's token: (M, S*S, dim) -> (M, S*S, dim)."""
        return tokens + self.table.flatten(1).T


class ViT(nn.Module):
    """Linear embedding of each pixel, class token, encoder, linear head (Dosovitskiy et al. 2021).

    Departures: a token is one pixel, for the patch is smaller than one 16x16 token of the paper;
    the widths are those common for patches of this size, not ViT-Base's.
    """

    channels_last = True

    def __init__(
        self,
        components: int,
        patch_size: int,
        classes: int,
        dim: int,
        depth: int,
        heads: int,
        hidden: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(components, dim)
        self.positions = PixelPositions(patch_size, dim)
        self.class_token = normal_parameter(dim)
        self.dropout = nn.Dropout(dropout)
        self.encoder = nn.Sequential(
            *(EncoderBlock(dim, heads, hidden, dropout) for _ in range(depth))
        )
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, classes)

    def forward(self, patches: Tensor) -> Tensor:
        """(M, K, S, S) -> (M, C)."""
        pixels = self.positions(self.embed(patches.flatten(2).transpose(1, 2)))
        tokens = self.dropout(prepend_token(self.class_token, pixels))
        logits: Tensor = self.head(self.norm(self.encoder(tokens)[:, 0]))
        return logits


@register_backbone(
    "vit",
    paper=(
        "Dosovitskiy et al. 2021, 'An Image is Worth 16x16 Words: Transformers for Image "
        "Recognition at Scale', ICLR, arXiv:2010.11929"
    ),
    whitening=0.5,
    full_epochs=90,
    learning_rate=3e-3,
    # Attention's cost grows with the fourth power of the patch's side: a quarter of the time of
    # stages of 7 and 11 pixels, and no worse.
    shape=CurriculumShape(0.16, (StageShape(60, 0.45, 0.57), StageShape(60, 0.82, 0.43))),
    growth=(
        "exact from any number of components, in training mode too (the embedding is dense in "
        "them); a larger patch keeps every weight and the positions of the old pixels, but adds "
        "tokens to attend to"
    ),
    exact_every=1,
)
def vit(
    *,
    components: int,
    patch_size: int,
    classes: int,
    dim: int = 64,
    depth: int = 4,
    heads: int = 4,
    hidden: int = 128,
    dropout: float = 0.1,
) -> nn.Module:
    """Build vit.

    Args:
        components: K.
        patch_size: S; there are S*S tokens.
        classes: C.
        dim: Width of a token, a multiple of ``heads``.
        depth: Encoder layers.
        heads: Attention heads.
        hidden: Units of the encoder's hidden layers.
        dropout: Share dropped in embedding and encoder.
    """
    return ViT(components, patch_size, classes, dim, depth, heads, hidden, dropout)
