from __future__ import annotations

import numpy as np
import pytest
import torch

from st_ray.learn.backbones import build_backbone
from st_ray.learn.scoring import Stopwatch, tile_logits


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
