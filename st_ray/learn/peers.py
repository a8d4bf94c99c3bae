"""The workers of a run, and what they tell each other.

Shape letters: M global batch, m this worker's share of it, C classes, W workers.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from st_ray.errors import StRayError
from st_ray.learn.mailbox import TYPES, Mailbox

Result = TypeVar("Result")
_SYNC_BUFFERS = ("forward_sync_buffers", "broadcast_buffers")


@dataclass(frozen=True, kw_only=True, slots=True)
class Peers:
    """This process's place among the workers of a run.

    Attributes:
        rank: 0 .. world - 1.
        world: Number of workers; above 1 torch.distributed's default group must be set up.
        mailbox: What small exchanges go through where all workers are on one machine; else None.
    """

    rank: int = 0
    world: int = 1
    mailbox: Mailbox | None = None

    def collect(self, tensor: Tensor) -> Tensor:
        """The tensors (W, ...) of all workers, alike in shape; without gradients."""
        if self.mailbox is not None and _fits(tensor):
            return self.mailbox.gather(tensor)
        all_W = [torch.empty_like(tensor) for _ in range(self.world)]
        dist.all_gather(all_W, tensor.detach().contiguous())
        return torch.stack(all_W)

    def add(self, tensor: Tensor) -> Tensor:
        """The tensor summed over all workers."""
        if self.world == 1:
            return tensor
        if self.mailbox is not None and _fits(tensor):
            return self.mailbox.gather(tensor).sum(0)
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model with gradients averaged over the workers (torch's DDP)."""
        if self.world == 1:
            return model
        known = inspect.signature(DistributedDataParallel).parameters
        # The buffers are equal already; torch renamed the switch in 2.13.
        switch = next(name for name in _SYNC_BUFFERS if name in known)
        options: dict[str, Any] = {switch: False}
        wrapped = DistributedDataParallel(model, static_graph=True, **options)
        if self.mailbox is not None:
            # DDP reads annotations, and knows its own only if they are no text.
            wrapped.register_comm_hook(self, lambda peers, bucket: _average(peers, bucket))
        return wrapped

    def rows(self, total: int) -> tuple[int, int]:
        """First and last-plus-one of this worker's rows of `total`; shares differ by at most 1."""
        return total * self.rank // self.world, total * (self.rank + 1) // self.world

    def gather(self, rows_mC: Tensor, cuts: Sequence[int]) -> Tensor:
        """The rows (M, C) of all workers in order; only this worker's own carry a gradient.

        Args:
            rows_mC: This worker's.
            cuts: W + 1 offsets: worker w's are cuts[w] to cuts[w + 1].
        """
        if self.world == 1:
            return rows_mC
        counts = [stop - start for start, stop in pairwise(cuts)]
        most = max(counts)
        padded = rows_mC.new_zeros(most, *rows_mC.shape[1:])
        padded[: len(rows_mC)] = rows_mC.detach()
        all_W = self.collect(padded)
        held = [rows[:count] for rows, count in zip(all_W, counts, strict=True)]
        held[self.rank] = rows_mC
        return torch.cat(held)

    def on_first(self, act: Callable[[], object]) -> None:
        """Act on rank 0 while the others wait.

        Raises:
            StRayError: On every worker, if the act raised one: nobody is left waiting.
        """
        self.on_all(act if self.rank == 0 else lambda: None)

    def on_all(self, act: Callable[[], Result]) -> Result:
        """Act on every worker, and go on if none has failed; every worker calls this.

        Raises:
            StRayError: On every worker, the first that any raised: nobody is left waiting.
        """
        results: list[Result] = []
        failure: StRayError | None = None
        try:
            results.append(act())
        except StRayError as error:
            failure = error
        failures: list[StRayError | None] = [failure] * self.world
        if self.world > 1:
            dist.all_gather_object(failures, failure)
        for first in failures:
            if first is not None:
                raise first
        return results[0]


def _fits(tensor: Tensor) -> bool:
    """Whether it may go by mailbox."""
    return tensor.device.type == "cpu" and tensor.dtype in TYPES


def _average(peers: Peers, bucket: Any) -> torch.futures.Future[Tensor]:
    """DDP's hook for a bucket of gradients."""
    future: torch.futures.Future[Tensor] = torch.futures.Future()
    future.set_result(peers.add(bucket.buffer()) / peers.world)
    return future
