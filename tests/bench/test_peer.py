"""The network of the SSFTT authors' script."""

from __future__ import annotations

import torch
from torch import Tensor

from st_ray.bench.arms import ARMS
from st_ray.bench.cells import BenchSpec, Place, run_spec
from st_ray.bench.peer import published_ssftt
from st_ray.learn.backbones import build_backbone
from st_ray.learn.backbones.layers import Attention
from st_ray.learn.backbones.windows import Windows
from tests.bench.test_arms import ground


def as_published(attention: Attention, tokens_MTD: Tensor) -> Tensor:
    """Eight heads, scores over the root of the tokens' width."""
    dim = tokens_MTD.shape[-1]
    heads = []
    for head in range(8):
        query, key, value = (
            tokens_MTD @ weight[head * 8 : head * 8 + 8].T
            for weight in attention.query_key_value.weight.split(dim)
        )
        heads.append((query @ key.transpose(1, 2) / dim**0.5).softmax(-1) @ value)
    return torch.cat(heads, -1) @ attention.project.weight.T


def test_scores_are_divided_by_the_root_of_the_tokens_width() -> None:
    torch.manual_seed(0)
    attention = published_ssftt(components=6, patch_size=7, classes=4).eval().encoder[0].attention
    tokens = 5 * torch.randn(3, 5, 64)
    torch.testing.assert_close(attention(tokens), as_published(attention, tokens))


def test_it_has_the_parameters_of_the_authors_code() -> None:
    network = published_ssftt(components=30, patch_size=13, classes=16)
    theirs = 153_224 - (8 + 64)  # with biases in front of BatchNorm, which takes them out again
    assert sum(parameter.numel() for parameter in network.parameters()) == theirs


def test_it_starts_from_the_authors_weights() -> None:
    torch.manual_seed(0)
    network = published_ssftt(components=6, patch_size=7, classes=4)
    attention = network.encoder[0].attention
    for layer in (attention.query_key_value, attention.project, network.head):
        most = (6 / sum(layer.weight.shape)) ** 0.5
        assert 0.95 * most < layer.weight.abs().max() <= most
        assert not layer.bias.any()
    assert not network.class_token.any()


def test_its_maps_are_its_logits_patch_by_patch() -> None:
    torch.manual_seed(0)
    network = published_ssftt(components=6, patch_size=7, classes=4).eval()
    tile = torch.randn(6, 12, 10)
    patches = tile.unfold(1, 7, 1).unfold(2, 7, 1).permute(1, 2, 0, 3, 4).reshape(-1, 6, 7, 7)
    torch.testing.assert_close(
        network.over_windows(Windows.of(tile[None], 7)), network(patches), rtol=1e-4, atol=1e-5
    )


def test_the_script_trains_it_and_no_other_arm_does() -> None:
    bench, place = BenchSpec(), Place(scene="a", split="random", backbone="ssftt", seed=0)
    for name, arm in ARMS.items():
        spec = run_spec(bench, place, name, arm.fit(ground()), 1e-3)
        assert spec.backbone == (
            "st_ray.bench.peer:published_ssftt" if name == "ssftt_script" else "ssftt"
        )
    own = build_backbone("ssftt", components=6, patch_size=7, classes=4)
    assert own.encoder[0].attention.scale is None
