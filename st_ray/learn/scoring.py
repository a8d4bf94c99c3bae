"""Logits of a tile's pixels, for a map, and of labelled pixels, for a score.

What neighbouring patches share is computed once where enough of the neighbours are asked for.

Shape letters: h w a tile's core, E its padded edge, K components, S patch side, C classes,
n wanted pixels, N samples.
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

from st_ray.learn.dense import dense_logits, dense_pays, offers_dense
from st_ray.learn.loop import PatchSource
from st_ray.learn.metrics import Confusion
from st_ray.learn.objectives import Loss
from st_ray.learn.peers import Peers
from st_ray.learn.placement import Index
from st_ray.spectral.patches import Samples

# Patches at a time. More do not make a CPU's or a GPU's forward pass faster, and hold more memory.
_BATCH = {"cpu": 512, "cuda": 4096}
# Samples of a tile from which on it may be evaluated densely, by itself: fewer make small steps,
# of which a GPU wants large ones.
_CROWD = {"cpu": 32, "cuda": 2048}


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
    wanted, (height, width) = int(wanted_hw.sum()), wanted_hw.shape
    if dense and dense_pays(model, patch_size, wanted=wanted, height=height, width=width):
        height, width = height + patch_size - 1, width + patch_size - 1
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


def evaluate(
    model: nn.Module,
    source: PatchSource,
    mine_N: Index,
    loss_function: Loss,
    classes: int,
    peers: Peers,
) -> tuple[Confusion, float]:
    """Confusion matrix and loss over all samples: those of this worker, summed over the workers.

    The loss is the mean over the evaluation's batches weighted by their size: for a loss that is
    no mean over samples it depends, a little, on how they are cut.
    """
    device = source.targets_N.device
    sums = torch.zeros(classes * classes + 1, dtype=torch.float64)
    for logits, index_M in sample_logits(model, source, mine_N):
        targets_M = source.targets_N[index_M]
        pairs = targets_M * classes + logits.argmax(dim=1)
        sums[:-1] += torch.bincount(pairs, minlength=classes * classes).cpu()
        sums[-1] += float(loss_function(logits, targets_M)) * len(targets_M)
    sums = peers.add(sums.to(device)).cpu()
    counts_CC = sums[:-1].round().long().reshape(classes, classes).numpy()
    mean_loss = float(sums[-1]) / len(source) if len(source) else float("nan")
    return Confusion(counts_CC), mean_loss


@torch.inference_mode()
def sample_logits(
    model: nn.Module, source: PatchSource, chosen_N: Index
) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits (M, C) of the chosen samples, and which samples (M,) they are, in any order."""
    model.eval()
    device = source.targets_N.device
    apart = [chosen_N]
    if offers_dense(model):
        positions_N = source.positions_N.cpu().numpy()
        tile_N = positions_N[chosen_N] // source.edge**2
        few_N, crowds = _by_tile(chosen_N, tile_N, _CROWD[device.type])
        apart = [few_N]
        for index_M in crowds:
            rows_M, cols_M = np.divmod(positions_N[index_M], source.edge)
            top, left = int(rows_M.min()), int(cols_M.min())
            height, width = int(rows_M.max()) - top + 1, int(cols_M.max()) - left + 1
            patch_size = source.windows.shape[1]
            sizes = {"wanted": len(index_M), "height": height, "width": width}
            if not dense_pays(model, patch_size, **sizes):
                apart.append(index_M)
                continue
            block = source.block(top * source.edge + left, height, width)
            wanted_M = torch.from_numpy((rows_M - top) * width + cols_M - left).to(device)
            logits = dense_logits(model, block, patch_size)
            yield logits[wanted_M], torch.from_numpy(index_M).to(device)
    rest_N = np.concatenate(apart)
    starts = range(0, len(rest_N), _BATCH[device.type])
    batches = [rest_N[start : start + _BATCH[device.type]] for start in starts]
    for index_M, (patches, _) in zip(batches, source.stream(batches), strict=True):
        yield model(patches), torch.from_numpy(index_M).to(device)


def _by_tile(index_N: Index, tile_N: Index, crowd: int) -> tuple[Index, list[Index]]:
    """Samples of tiles that hold fewer than a crowd, together, and those of each other tile."""
    _, place_N, count_T = np.unique(tile_N, return_inverse=True, return_counts=True)
    crowded_N = count_T[place_N] >= crowd
    order = np.argsort(place_N[crowded_N], kind="stable")
    ends = np.cumsum(count_T[count_T >= crowd])
    crowds = np.split(index_N[crowded_N][order], ends)[:-1]  # the last is what is left: nothing
    return index_N[~crowded_N], crowds
