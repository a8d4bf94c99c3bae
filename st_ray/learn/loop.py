"""One epoch of training: functions of explicit state, for one or many workers.

Shape letters: N samples, M global batch, K components, S patch side, C classes.
"""

from __future__ import annotations

import math
import random
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from st_ray.learn.objectives import Loss, is_sample_mean
from st_ray.learn.parallel import Share
from st_ray.learn.peers import Peers
from st_ray.learn.placement import Batch
from st_ray.spectral.patches import Samples, TileStack
from st_ray.spectral.work import ahead


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochStats:
    """What one epoch did.

    Attributes:
        loss: Training loss, the mean over batches weighted by their size.
        samples: Samples seen by all workers.
        seconds: Wall-clock.
    """

    loss: float
    samples: int
    seconds: float


@dataclass(frozen=True, slots=True)
class PatchSource:
    """Patches of one stage, gathered on the stack's device.

    Attributes:
        windows: View (P, S, S, k) of the tile stack: what lies around every position, counted
            row by row. Nothing is copied before `gather`, and a patch is then copied in runs of
            all its components, at about the rate of memory.
        positions_N: int64 positions in it.
        targets_N: Class indices.
        edge: Padded side E of a tile.
        channels_last: Whether patches stay as they are gathered, their components side by side in
            memory; else they are laid out anew, as a model expects that was not told.
        ahead: Whether `stream`, though not `block`, reads a batch while the one before it trains:
            for stacks on disk.
    """

    windows: Tensor
    positions_N: Tensor
    targets_N: Tensor
    edge: int
    channels_last: bool = False
    ahead: bool = False

    @classmethod
    def of(
        cls,
        stack: Tensor,
        halo: int,
        samples: Samples,
        patch_size: int,
        components: int,
        model: nn.Module | None = None,
        first_row: int = 0,
    ) -> PatchSource:
        """A stage's view of a stack (R, E, K) already on its device, for the model that reads it.

        The stack may be the part of a larger one that begins at `first_row`; then only samples
        inside it can be gathered.

        The model may say what it reads of a patch, and in which layout, in the attributes
        ``reads`` and ``channels_last``; see `st_ray.learn.backbones.registry`.
        """
        patch_size = min(patch_size, int(getattr(model, "reads", patch_size)))
        rows, edge, rank = stack.shape
        corner = (halo - patch_size // 2) * (edge + 1)
        last = corner + (patch_size - 1) * (edge + 1)  # the lower right pixel of position 0
        windows = stack.as_strided(
            (rows * edge - last, patch_size, patch_size, components),
            (rank, edge * rank, rank, 1),
            stack.storage_offset() + corner * rank,
        )
        positions_N = (samples.centres_N2[:, 0] - first_row) * edge + samples.centres_N2[:, 1]
        return cls(
            windows,
            torch.from_numpy(positions_N).to(stack.device),
            torch.from_numpy(samples.targets_N).to(stack.device),
            edge,
            bool(getattr(model, "channels_last", False)),
        )

    def __len__(self) -> int:
        return len(self.targets_N)

    def gather(self, index_M: Tensor) -> tuple[Tensor, Tensor]:
        """Patches (M, k, S, S) and targets (M,)."""
        patches_MSSk = self.windows.index_select(0, self.positions_N[index_M])
        patches = patches_MSSk.permute(0, 3, 1, 2)
        return patches if self.channels_last else patches.contiguous(), self.targets_N[index_M]

    def block(self, first: int, height: int, width: int) -> Tensor:
        """View (h + S - 1, w + S - 1, k) of what lies around h rows of w positions of one tile."""
        _, _, patch_size, components = self.windows.shape
        rank, line, _, _ = self.windows.stride()
        return self.windows.as_strided(
            (height + patch_size - 1, width + patch_size - 1, components),
            (line, rank, 1),
            self.windows.storage_offset() + first * rank,
        )

    def stream(self, batches: Sequence[NDArray[np.int64]]) -> Iterator[tuple[Tensor, Tensor]]:
        """What `gather` gives of each batch; the next is read ahead where reading may wait."""
        indices = (torch.from_numpy(index_M).to(self.targets_N.device) for index_M in batches)
        if not self.ahead:
            yield from map(self.gather, indices)
            return
        yield from ahead(self.gather, indices)


def stack_tensor(stack: TileStack, device: torch.device) -> Tensor:
    """The stack's values as a tensor; on the CPU it shares memory with the array.

    An array out of Ray's object store is read-only, which torch warns of; nothing writes to it.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(stack.values_REK).to(device)


def seed_everything(seed: int, epoch: int) -> None:
    """Put every global generator in the state of this seed and epoch.

    Done at the start of every epoch, so an epoch's random numbers do not depend on whether the
    epochs before it ran in this process: a resumed run equals an uninterrupted one.
    """
    state = np.random.SeedSequence([seed, epoch]).generate_state(3)
    torch.manual_seed(int(state[0]))
    np.random.seed(int(state[1]))
    random.seed(int(state[2]))


def epoch_order(
    targets_N: NDArray[np.int64], least: int, seed: int, epoch: int
) -> NDArray[np.int64]:
    """The order of samples in an epoch: the same for any number of workers.

    Args:
        targets_N: Their classes.
        least: A class with fewer samples is seen this many times: its samples repeat, equally
            often up to one, those with one more drawn anew every epoch. 0: nothing repeats.
        seed: Of the run.
        epoch: 0-based over the run.

    Returns:
        Indices, at least N of them, each at least once.
    """
    rng = np.random.default_rng([seed, epoch, 1])
    indices = [np.arange(len(targets_N))]
    for label in np.unique(targets_N):
        own = np.flatnonzero(targets_N == label)
        times, rest = divmod(max(0, least - len(own)), len(own))
        indices += [np.tile(own, times), rng.permutation(own)[:rest]] if times or rest else []
    return rng.permutation(np.concatenate(indices))


def epoch_turns(batches: int, seed: int, epoch: int) -> list[int]:
    """Under which of a square's symmetries (see `turned`) each batch of an epoch is seen."""
    rng = np.random.default_rng([seed, epoch, 2])
    return [int(turn) for turn in rng.integers(0, 8, batches)]


def turned(patches: Tensor, turn: int, *, channels_last: bool = False) -> Tensor:
    """Patches (M, k, S, S) under one of the square's 8 symmetries, in the layout they had.

    Args:
        patches: In rows or, with `channels_last`, with their components side by side.
        turn: Bits: 1 and 2 mirror rows and columns, 4 transposes before; 0 changes nothing.
        channels_last: See `PatchSource`.
    """
    sides = [side for side, bit in ((2, 1), (3, 2)) if turn & bit]
    patches = patches.transpose(2, 3) if turn & 4 else patches
    patches = patches.flip(sides) if sides else patches
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return patches.contiguous(memory_format=layout)


def schedule(progress: float, warmup: float, shape: str) -> float:
    """The learning rate's factor: linear warm-up, then a way down to zero, or a constant.

    Args:
        progress: Share of the whole budget's steps done, 0..1.
        warmup: Share of the budget spent warming up.
        shape: "linear", "cosine" (half of one) or "constant".

    Returns:
        What each parameter group's own learning rate is multiplied by, 0..1.
    """
    if progress < warmup:
        return progress / warmup
    if shape == "constant":
        return 1.0
    if shape == "linear":
        return (1.0 - progress) / (1.0 - warmup)
    return 0.5 * (1.0 + math.cos(math.pi * (progress - warmup) / (1.0 - warmup)))


def remember_rates(optimizer: Optimizer) -> None:
    """Keep each group's learning rate as "initial_lr", which `train_epoch` scales."""
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])


def train_epoch(
    model: nn.Module,
    source: PatchSource,
    batches: Sequence[Batch],
    optimizer: Optimizer,
    loss_function: Loss,
    factor_at: Callable[[float], float],
    share: Share,
    peers: Peers,
    turns: Sequence[int] | None = None,
) -> EpochStats:
    """Train once over some global batches.

    The gradient is that of the global batch's loss however many workers share it. A mean over
    samples is a mean of the workers' means, which DDP takes; for any other loss every worker
    gathers the others' logits and computes the whole.

    Args:
        model: Wrapped by `Peers.wrap`, its layers by `globalise`.
        source: The stage's patches.
        batches: Global batches.
        optimizer: Holds the model's parameters; see `remember_rates`.
        loss_function: (logits (M, C), targets (M,)) -> scalar loss of the global batch.
        factor_at: Factor of the learning rate as a function of the epoch's progress, 0..1.
        share: The one the model's layers were given.
        peers: The workers.
        turns: See `epoch_turns`; None: patches are seen as they lie.
    """
    started = time.perf_counter()
    model.train()
    device = source.targets_N.device
    total = torch.zeros((), device=device)
    whole = peers.world > 1 and not is_sample_mean(loss_function)
    cuts = [(batch.cuts[peers.rank], batch.cuts[peers.rank + 1]) for batch in batches]
    mine = [batch.index_M[start:stop] for batch, (start, stop) in zip(batches, cuts, strict=True)]
    for step, (patches, targets_M) in enumerate(source.stream(mine)):
        batch, (start, stop) = batches[step], cuts[step]
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor_at((step + 0.5) / len(batches))
        if turns is not None:
            patches = turned(patches, turns[step], channels_last=source.channels_last)
        share.total, share.start, share.count = len(batch), start, stop - start
        optimizer.zero_grad(set_to_none=True)
        logits, scale = model(patches), share.count * peers.world / share.total
        if whole:
            logits, scale = peers.gather(logits, batch.cuts), float(peers.world)
            targets_M = source.targets_N[torch.from_numpy(batch.index_M).to(device)]
        loss = loss_function(logits, targets_M)
        (loss * scale).backward()
        optimizer.step()
        total += loss.detach() * share.count
    samples = sum(len(batch) for batch in batches)
    return EpochStats(
        loss=float(peers.add(total)) / samples,
        samples=samples,
        seconds=time.perf_counter() - started,
    )
