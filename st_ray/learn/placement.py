"""Which worker holds which samples, and so how a global batch is cut between the workers.

Replicated: every worker holds all tiles, so any worker may take any sample, and a batch is cut
evenly; the shuffle does not depend on the number of workers. Sharded: a worker holds its own
tiles only, and takes its own samples of the shuffle; all take the same number of steps, each in
proportion to what it holds, and gradient, BatchNorm and dropout are still those of the global
batch (`st_ray.learn.parallel`).

Shape letters: N samples, M global batch, W workers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from st_ray.errors import SpecError
from st_ray.learn.peers import Peers
from st_ray.spectral.patches import Samples

Index = NDArray[np.int64]

# Why shards and a changing number of workers exclude each other, and what to do.
TIED = (
    "each worker holds tiles of its own, so none may be missing; leave out cluster.least_workers, "
    "or use cluster.placement=replicate"
)


@dataclass(frozen=True, slots=True)
class Batch:
    """A global batch.

    Attributes:
        index_M: Which samples, those of the first worker first.
        cuts: W + 1 offsets: worker w takes ``index_M[cuts[w]:cuts[w + 1]]``.
    """

    index_M: Index
    cuts: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.index_M)


class Placement(Protocol):
    """How the samples lie with the workers."""

    def batches(self, order_N: Index, samples: Samples, batch_size: int) -> list[Batch]:
        """Cut an epoch's order into global batches of at most `batch_size`, alike on all workers.

        Their sizes differ by little: a last batch of two samples would hurt BatchNorm.
        """

    def mine(self, samples: Samples) -> Index:
        """The samples that this worker scores; each sample has one worker."""


@dataclass(frozen=True, slots=True)
class Replicated:
    """Every worker holds everything."""

    peers: Peers

    def batches(self, order_N: Index, samples: Samples, batch_size: int) -> list[Batch]:
        """See `Placement.batches`; sizes, and the workers' shares, differ by at most one."""
        del samples
        world = self.peers.world
        return [
            Batch(part_M, tuple(len(part_M) * worker // world for worker in range(world + 1)))
            for part_M in np.array_split(order_N, max(1, math.ceil(len(order_N) / batch_size)))
        ]

    def mine(self, samples: Samples) -> Index:
        """See `Placement.mine`."""
        return np.arange(*self.peers.rows(len(samples)))


@dataclass(frozen=True, slots=True)
class Sharded:
    """Every worker holds some rows of the tile stack.

    Attributes:
        peers: The workers.
        bounds: W + 1 rows of the whole stack: worker w holds bounds[w] to bounds[w + 1].
    """

    peers: Peers
    bounds: tuple[int, ...]

    def batches(self, order_N: Index, samples: Samples, batch_size: int) -> list[Batch]:
        """See `Placement.batches`; a batch takes the same share of every worker's samples."""
        owner_N = self._owners(samples)[order_N]
        steps = max(1, math.ceil(len(order_N) / batch_size))
        parts = [
            np.array_split(order_N[owner_N == worker], steps) for worker in range(self.peers.world)
        ]
        return [
            Batch(np.concatenate(pieces), tuple(np.cumsum([0, *map(len, pieces)]).tolist()))
            for pieces in zip(*parts, strict=True)
        ]

    def mine(self, samples: Samples) -> Index:
        """See `Placement.mine`."""
        return np.flatnonzero(self._owners(samples) == self.peers.rank)

    def _owners(self, samples: Samples) -> Index:
        inner = np.asarray(self.bounds[1:-1])
        return np.searchsorted(inner, samples.centres_N2[:, 0], side="right")


def plan_shards(weights_T: Sequence[int], world: int, steps: int) -> tuple[int, ...]:
    """Cut tiles, in their order, into one run of neighbours for each worker, of equal weight.

    Args:
        weights_T: Training samples of each tile.
        world: Workers W.
        steps: Batches of an epoch: every worker must have a sample for each.

    Returns:
        W + 1 tile positions: worker w holds tiles cuts[w] to cuts[w + 1].

    Raises:
        SpecError: A worker would have too few samples.
    """
    done_T = np.concatenate([[0], np.cumsum(weights_T)])
    shares = [done_T[-1] * worker / world for worker in range(1, world)]
    cuts = (0, *(int(np.abs(done_T - share).argmin()) for share in shares), len(weights_T))
    held = [int(done_T[stop] - done_T[start]) for start, stop in pairwise(cuts)]
    if min(held) < steps:
        raise SpecError(
            f"cluster.placement=shard: a worker would hold {min(held)} training pixels for {steps} "
            "batches; use fewer workers, smaller tiles (--set tiles.side=32) or "
            "--set cluster.placement=replicate"
        )
    return cuts
