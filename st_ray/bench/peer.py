"""The network of the SSFTT authors' script, for the arm that repeats their recipe."""

from __future__ import annotations

from torch import nn

from st_ray.learn.backbones.layers import EncoderBlock, SpectralConv3d
from st_ray.learn.backbones.ssftt import Ssftt, ssftt


def published_ssftt(*, components: int, patch_size: int, classes: int) -> nn.Module:
    """Build ssftt as in the authors' code.

    Beside ssftt here, that scales the scores of attention by 1/sqrt(dim), not by a head's width;
    starts attention and head from Xavier-uniform weights without bias and the class token from
    zero; and does not pad the spectral axis. (As read in copies of SSFTTnet.py,
    https://github.com/zgr6010/HSI_SSFTT.)

    Args:
        components: K, at least 3.
        patch_size: S, at least 7.
        classes: C.
    """
    network = ssftt(components=components, patch_size=patch_size, classes=classes)
    assert isinstance(network, Ssftt)
    volume, plane = network.volume[0], network.plane[0]
    assert isinstance(volume, SpectralConv3d)
    assert isinstance(plane, nn.Conv2d)
    volume.before = 0
    channels = volume.conv.out_channels * (components - 2)  # its kernels are 3 long
    network.plane[0] = nn.Conv2d(channels, plane.out_channels, 3, bias=False)
    nn.init.zeros_(network.class_token)
    _begin(network.head)
    dim = network.class_token.numel()
    for block in network.encoder:
        assert isinstance(block, EncoderBlock)
        block.attention.scale = dim**-0.5
        block.attention.query_key_value = nn.Linear(dim, 3 * dim)
        _begin(block.attention.query_key_value)
        _begin(block.attention.project)
    return network


def _begin(layer: nn.Linear) -> None:
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
