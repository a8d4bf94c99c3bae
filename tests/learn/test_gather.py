"""Patches gathered for a model are the slices of the stack, in the layout it asks for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from st_ray.learn.backbones import backbones, build_backbone
from st_ray.learn.loop import PatchSource, epoch_turns, turned
from st_ray.spectral.patches import Samples, TileStack, extract_patches

TILES, SIDE, HALO, RANK = 3, 8, 3, 10
EDGE = SIDE + 2 * HALO


@pytest.fixture(scope="module")
def stack() -> TileStack:
    values = np.random.default_rng(0).normal(size=(TILES * EDGE, EDGE, RANK))
    return TileStack(values_REK=values.astype(np.float32), halo=HALO)


@pytest.fixture(scope="module")
def samples() -> Samples:
    """Every pixel of every core."""
    tile, row, col = np.indices((TILES, SIDE, SIDE)).reshape(3, -1)
    centres = np.stack([tile * EDGE + row, col], axis=1)
    return Samples(centres_N2=centres, targets_N=np.arange(len(centres)) % 4)


@pytest.mark.parametrize("size", [1, 3, 7])
@pytest.mark.parametrize("components", [1, 4, RANK])
@pytest.mark.parametrize("channels_last", [False, True])
def test_gathered_patches_are_slices(stack, samples, size, components, channels_last) -> None:
    model = nn.Identity()
    model.channels_last = channels_last
    values = torch.from_numpy(stack.values_REK)
    source = PatchSource.of(values, HALO, samples, size, components, model)
    chosen = torch.from_numpy(np.random.default_rng(1).permutation(len(samples))[:50])
    patches, targets = source.gather(chosen)
    expected = extract_patches(stack, samples.centres_N2[chosen], size, components)
    assert np.array_equal(patches.numpy(), expected)
    assert np.array_equal(targets.numpy(), samples.targets_N[chosen])
    layout = torch.channels_last if channels_last else torch.contiguous_format
    assert patches.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("channels_last", [False, True])
def test_turns_are_the_eight_symmetries_of_a_square(channels_last) -> None:
    layout = torch.channels_last if channels_last else torch.contiguous_format
    patches = torch.arange(2 * 3 * 25.0).reshape(2, 3, 5, 5).contiguous(memory_format=layout)
    seen = [turned(patches, turn, channels_last=channels_last) for turn in range(8)]
    assert torch.equal(seen[0], patches)
    images = {tuple(image[0, 0].flatten().tolist()) for image in seen}
    squares = [np.rot90(patches[0, 0], times) for times in range(4)]
    assert images == {tuple(s.ravel()) for one in squares for s in (one, one.T)}
    for image in seen:
        assert torch.equal(image[:, :, 2, 2], patches[:, :, 2, 2])
        assert torch.equal(image - image[:1, :1], patches - patches[:1, :1])  # all alike
        assert image.is_contiguous(memory_format=layout)


def test_every_turn_comes_and_others_in_every_epoch() -> None:
    assert set(epoch_turns(100, 0, 0)) == set(range(8))
    assert epoch_turns(100, 0, 0) != epoch_turns(100, 0, 1)
    assert epoch_turns(100, 5, 1) == epoch_turns(100, 5, 1)


def test_a_part_of_a_larger_tensor_is_a_stack_too(stack, samples) -> None:
    whole = torch.from_numpy(np.concatenate([stack.values_REK[:EDGE], stack.values_REK]))
    source = PatchSource.of(whole[EDGE:], HALO, samples, 5, 4)
    expected = extract_patches(stack, samples.centres_N2, 5, 4)
    assert np.array_equal(source.gather(torch.arange(len(samples)))[0].numpy(), expected)


@pytest.mark.parametrize("name", sorted(backbones()))
def test_a_backbone_gives_the_same_in_the_layout_it_asks_for(stack, samples, name) -> None:
    torch.manual_seed(0)
    model = build_backbone(name, components=8, patch_size=5, classes=4).eval()
    values = torch.from_numpy(stack.values_REK)
    patches, _ = PatchSource.of(values, HALO, samples, 5, 8, model).gather(torch.arange(20))
    with torch.inference_mode():
        torch.testing.assert_close(model(patches), model(patches.contiguous()))


@pytest.mark.parametrize("ahead", [False, True])
def test_a_stream_gives_the_batches_in_their_order(stack, samples, ahead) -> None:
    values = torch.from_numpy(stack.values_REK)
    source = replace(PatchSource.of(values, HALO, samples, 3, 4), ahead=ahead)
    batches = np.array_split(np.random.default_rng(2).permutation(len(samples)), 7)
    streamed = list(source.stream(batches))
    assert len(streamed) == len(batches)
    for (patches, targets), index in zip(streamed, batches, strict=True):
        expected, labels = source.gather(torch.from_numpy(index))
        assert torch.equal(patches, expected)
        assert torch.equal(targets, labels)
    assert list(source.stream([])) == []
