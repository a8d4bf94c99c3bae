"""Logits of the pixels of one tile: the only place where a map's network runs.

Shape letters: h w a tile's core, E its padded edge, K components, S patch side, C classes,
n wanted pixels.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from st_ray.learn.dense import dense_logits, dense_pays
from st_ray.learn.loop import PatchSource
from st_ray.spectral.patches import Samples

# Patches at a time. More do not make a CPU's or a GPU's forward pass faster, and hold more memory.
_BATCH = {"cpu": 512, "cuda": 4096}
# Share of a tile's pixels from which on it is evaluated densely, which takes all of them.
_DENSE_SHARE = 0.5


@dataclass(slots=True)
class Stopwatch:
    """How long a network's forward passes took, however they are timed on its device."""

    _seconds: float = 0.0
    _pairs: list[tuple[torch.cuda.Event, torch.cuda.Event]] = field(default_factory=list)

    @contextmanager
    def running(self, device: torch.device) -> Iterator[None]:
        """Time what is inside. A GPU is not waited for here."""
        if device.type == "cuda":
            pair = (torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True))
            pair[0].record()
            yield
            pair[1].record()
            self._pairs.append(pair)
            return
        begun = time.perf_counter()
        yield
        self._seconds += time.perf_counter() - begun

    def take(self) -> float:
        """Seconds since the last call; what was timed on a GPU is waited for."""
        for begun, ended in self._pairs:
            ended.synchronize()
            self._seconds += begun.elapsed_time(ended) / 1e3
        self._pairs.clear()
        seconds, self._seconds = self._seconds, 0.0
        return seconds


@torch.inference_mode()
def tile_logits(
    model: nn.Module,
    values_EEK: Tensor,
    wanted_hw: NDArray[np.bool_],
    *,
    patch_size: int,
    watch: Stopwatch,
    dense: bool = True,
) -> Tensor:
    """Logits of the wanted pixels of a tile's core.

    Args:
        model: In evaluation mode, on the device of the values.
        values_EEK: The tile's components with a margin of ``patch_size // 2`` pixels around the
            core, which begins at that row and column; to the right of and below a core that is
            cut off by the scene's border it may be wider.
        wanted_hw: Which pixels of the core are scored.
        patch_size: S.
        watch: Times the forward passes.
        dense: Whether what neighbouring patches share may be computed once, where that is faster
            (see `st_ray.learn.dense`); else every patch is evaluated by itself.

    Returns:
        (n, C), the wanted pixels row by row, on the device of the values.
    """
    if dense and wanted_hw.mean() >= _DENSE_SHARE and dense_pays(model, patch_size):
        height, width = (side + patch_size - 1 for side in wanted_hw.shape)
        with watch.running(values_EEK.device):
            logits = dense_logits(model, values_EEK[:height, :width], patch_size)
        return logits[torch.from_numpy(wanted_hw.ravel()).to(logits.device)]
    rows_n, cols_n = np.nonzero(wanted_hw)
    everyone = Samples(
        centres_N2=np.stack([rows_n, cols_n], axis=1), targets_N=np.zeros(len(rows_n), np.int64)
    )
    components = values_EEK.shape[2]
    source = PatchSource.of(values_EEK, patch_size // 2, everyone, patch_size, components, model)
    index_n = torch.arange(len(rows_n), device=values_EEK.device)
    parts = []
    for index_M in index_n.split(_BATCH[values_EEK.device.type]):
        patches, _ = source.gather(index_M)
        with watch.running(values_EEK.device):
            parts.append(model(patches))
    return torch.cat(parts)
