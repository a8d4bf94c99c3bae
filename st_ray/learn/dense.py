"""Dense evaluation: a tile's logits from convolutions that neighbouring patches share.

A model offers it by a method ``over_windows``, from the `Windows` of a tile to their logits, which
must give what ``forward`` gives of each window as a patch. How many times faster than patch by
patch that is, on a tile of 64 x 64 pixels, it may say in a method ``dense_gain`` of the patch
size. Any other model, a user's own among them, is evaluated patch by patch.

It is exact for every backbone that convolves in space: cnn3d, hybridsn, ssftt and ssrn, whose
convolutions have no padding while the patch is large enough and are shared as a whole, and
resnet2d, whose every layer is padded. There a position's value depends on how far it is from the
patch's edge, and of five layers over 11 x 11 pixels the last has no two positions alike: what can
be shared saves about half of the work, not more. cnn1d reads one pixel, so that patches share
nothing. In vit and spectralformer attention compares a patch's own tokens, which is nearly all of
the work; the embedding of vit's pixels could be shared, for two percent of it.

Shape letters: h w pixels of a tile's core, S patch side, K components, C classes.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from st_ray.learn.backbones.windows import Windows

# Pixels on a side that are evaluated at a time: memory stays as it is for tiles of any size.
_SIDE = 64


@runtime_checkable
class Dense(Protocol):
    """A model that offers dense evaluation."""

    def over_windows(self, windows: Windows) -> Tensor:
        """Logits (N, C) of all windows of a tile (1, K, Y, X), row by row; evaluation mode."""


def offers_dense(model: nn.Module) -> bool:
    """Whether a model can be evaluated densely."""
    return isinstance(model, Dense)


def dense_pays(
    model: nn.Module,
    patch_size: int,
    *,
    wanted: int = _SIDE**2,
    height: int = _SIDE,
    width: int = _SIDE,
) -> bool:
    """Whether a model is faster densely, all pixels of a block, than by the patches of some.

    Without a ``dense_gain`` of its own it is taken for a tenth of a patch's pixels, which is about
    the least of networks of convolutions without padding: 8 times on 9 x 9, 12 on 11 x 11.

    Args:
        model: Any.
        patch_size: S.
        wanted: Pixels that are asked for.
        height: Of the block; its margins, which are computed too, come on top.
        width: Of the block.
    """
    if not offers_dense(model):
        return False
    gain = getattr(model, "dense_gain", lambda size: size**2 / 10)(patch_size)
    margin = patch_size - 1
    cost = (height + margin) * (width + margin) / (1 + margin / _SIDE) ** 2
    return bool(wanted * gain >= cost)


@torch.inference_mode()
def dense_logits(model: nn.Module, values_EEK: Tensor, patch_size: int) -> Tensor:
    """Logits of every pixel of a tile's core.

    Equal to those of its patches up to the order in which products are summed.

    Args:
        model: One that `offers_dense`; it is put in evaluation mode.
        values_EEK: Components (h + S - 1, w + S - 1, K) of the core and S // 2 pixels around it.
        patch_size: S.

    Returns:
        (h * w, C), the pixels row by row.

    Raises:
        TypeError: The model does not offer it.
    """
    if not isinstance(model, Dense):
        raise TypeError(f"{type(model).__name__} has no method over_windows")
    model.eval()
    tile = values_EEK.permute(2, 0, 1)[None]
    return Windows.of(tile, patch_size).in_blocks(_SIDE, model.over_windows)
