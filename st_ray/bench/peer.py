"""The network of the SSFTT authors' script, for the arm that repeats their recipe."""

from __future__ import annotations

from torch import nn

from st_ray.learn.backbones.layers import EncoderBlock
from st_ray.learn.backbones.ssftt import Ssftt, ssftt


def published_ssftt(*, components: int, patch_size: int, classes: int) -> nn.Module:
    """Build ssftt with what the authors' code does beside the paper.

    There the scores of attention are divided by the root of the tokens' width, not of a head's;
    attention and head start from Xavier's uniform weights and biases of zero; the class token
    starts at zero. (Read in SSFTTnet.py, https://github.com/zgr6010/HSI_SSFTT.) The departures
    that `Ssftt` names remain.

    Args:
        components: K.
        patch_size: S.
        classes: C.
    """
    network = ssftt(components=components, patch_size=patch_size, classes=classes)
    assert isinstance(network, Ssftt)
    dim = network.class_token.numel()
    for block in network.encoder:
        assert isinstance(block, EncoderBlock)
        attention = block.attention
        attention.scale = dim**-0.5
        attention.query_key_value = nn.Linear(dim, 3 * dim)
        _begin(attention.query_key_value)
        _begin(attention.project)
    _begin(network.head)
    nn.init.zeros_(network.class_token)
    return network


def _begin(layer: nn.Linear) -> None:
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
