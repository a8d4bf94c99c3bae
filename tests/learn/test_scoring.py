from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from st_ray.learn.backbones import build_backbone
from st_ray.learn.backbones.windows import Windows
from st_ray.learn.dense import offers_dense
from st_ray.learn.loop import PatchSource
from st_ray.learn.parallel import Share, globalise
from st_ray.learn.peers import Peers
from st_ray.learn.scoring import Stopwatch, evaluate, sample_logits, tile_logits
from st_ray.spectral.patches import Samples


@pytest.mark.parametrize("name", ["resnet2d", "cnn1d"])  # the second reads the centre only
def test_a_tiles_logits_are_those_of_patches_cut_by_hand(name: str) -> None:
    rng = np.random.default_rng(0)
    height, width, side = 6, 40, 5
    edge = width + side - 1
    values_EEK = torch.from_numpy(rng.normal(size=(edge, edge, 7)).astype(np.float32))
    model = build_backbone(name, components=7, patch_size=side, classes=3).eval()
    wanted_hw = rng.random((height, width)) < 0.6
    watch = Stopwatch()
    logits = tile_logits(model, values_EEK, wanted_hw, patch_size=side, watch=watch)
    cut = [
        values_EEK[row : row + side, col : col + side].permute(2, 0, 1)
        for row, col in np.argwhere(wanted_hw)
    ]
    with torch.inference_mode():
        torch.testing.assert_close(logits, model(torch.stack(cut)), rtol=1e-4, atol=1e-5)
    assert watch.take() > 0
    assert watch.take() == 0


SIDE, HALO, PATCH, COMPONENTS, CLASSES = 8, 3, 5, 6, 3
EDGE = SIDE + 2 * HALO


def samples_of_tiles() -> Samples:
    """All of a tile, a few of another, a rectangle of a third, every other of a fourth; mixed."""
    rng = np.random.default_rng(0)
    inside = np.stack(np.mgrid[:SIDE, :SIDE], -1).reshape(-1, 2)
    block = inside[(inside[:, 0] < 6) & (inside[:, 1] > 0)]
    chosen = [inside, inside[[3, 60]] + [EDGE, 0], block + np.array([2 * EDGE, 0])]
    chosen.append(inside[::2] + np.array([3 * EDGE, 0]))
    centres_N2 = rng.permutation(np.concatenate(chosen))
    targets_N = rng.integers(0, CLASSES, len(centres_N2))
    return Samples(centres_N2=centres_N2, targets_N=targets_N)


def source_of_tiles(model: nn.Module, components: int = COMPONENTS) -> PatchSource:
    generator = torch.Generator().manual_seed(0)
    stack = torch.randn(4 * EDGE, EDGE, COMPONENTS, generator=generator)
    return PatchSource.of(stack, HALO, samples_of_tiles(), PATCH, components, model)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", ["cnn3d", "hybridsn", "ssftt", "ssrn", "resnet2d", "vit", "cnn1d"])
def test_scores_are_those_of_each_sample_by_itself(
    name: str, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with the layers that several workers train with, which one process can evaluate."""
    components = 4  # of those that the stack holds
    model = build_backbone(name, components=components, patch_size=PATCH, classes=CLASSES)
    model = globalise(model, Share(), Peers(world=workers))
    if offers_dense(model):  # else resnet2d and hybridsn go patch by patch at this size
        monkeypatch.setattr(type(model), "dense_gain", lambda self, size: 2.5, raising=False)
    source = source_of_tiles(model, components)
    chosen_N = np.arange(len(source))[1:]
    with torch.inference_mode():
        expected = model.eval()(source.gather(torch.arange(len(source)))[0])
    logits, index_N = map(torch.cat, zip(*sample_logits(model, source, chosen_N), strict=True))
    assert index_N.sort().values.tolist() == chosen_N.tolist()
    torch.testing.assert_close(logits, expected[index_N], rtol=1e-4, atol=1e-5)
    loss = nn.functional.cross_entropy
    confusion, mean = evaluate(model, source, chosen_N, loss, CLASSES, Peers())
    pairs = source.targets_N[1:] * CLASSES + expected[1:].argmax(1)
    assert confusion.counts_CC.ravel().tolist() == pairs.bincount(minlength=CLASSES**2).tolist()
    total = float(loss(expected[1:], source.targets_N[1:])) * (len(source) - 1) / len(source)
    assert mean == pytest.approx(total, rel=1e-4)


class Counted(nn.Module):
    """Offers dense evaluation; keeps how many windows and patches it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.windows: list[int] = []
        self.patches: list[int] = []

    def forward(self, patches: Tensor) -> Tensor:
        self.patches.append(len(patches))
        return patches.mean((2, 3))

    def over_windows(self, windows: Windows) -> Tensor:
        self.windows.append(windows.rows.count * windows.cols.count)
        return windows.mean()


def test_samples_that_crowd_share_their_patches_work() -> None:
    model = Counted()
    source = source_of_tiles(model)
    list(sample_logits(model, source, np.arange(len(source))))
    assert model.windows == [SIDE * SIDE, 6 * (SIDE - 1)]
    assert model.patches == [2 + SIDE * SIDE // 2]


def test_patches_that_were_kept_go_in_batches() -> None:
    """Each is a tile of its own, of one pixel."""
    model, count = Counted(), 100
    stack = torch.randn(count * PATCH, PATCH, COMPONENTS)
    centres_N2 = np.stack([np.arange(count) * PATCH, np.zeros(count, np.int64)], axis=1)
    samples = Samples(centres_N2=centres_N2, targets_N=np.zeros(count, np.int64))
    source = PatchSource.of(stack, PATCH // 2, samples, PATCH, COMPONENTS, model)
    list(sample_logits(model, source, np.arange(count)))
    assert not model.windows
    assert model.patches == [count]


def test_no_samples_have_no_scores() -> None:
    model = Counted()
    confusion, mean = evaluate(
        model,
        source_of_tiles(model),
        np.empty(0, np.int64),
        nn.functional.cross_entropy,
        COMPONENTS,
        Peers(),
    )
    assert confusion.counts_CC.sum() == 0
    assert mean == 0.0
    assert not model.windows
    assert not model.patches
