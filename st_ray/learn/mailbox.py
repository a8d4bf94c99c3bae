"""Exchange of small tensors between the workers of one machine, through memory that they share.

A collective over gloo costs a millisecond or two on a CPU, whatever it carries, for it wakes
threads and crosses sockets; a model with BatchNorm needs dozens in a step. Here each worker writes
into its own slot, counts up, and reads the others' slots when they have counted as far.

Shape letters: W workers.
"""

from __future__ import annotations

import mmap
import os
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

_SLOT = 4 << 20  # bytes; larger tensors go in pieces
_LINE = 64  # bytes: counters on cache lines of their own
_SPINS = 2000  # looks at a counter before the core is offered to others
_PATIENCE_S = 600.0
# Where a store is seen by others in program order, which the counters rely on.
_ORDERED = ("x86_64", "AMD64")


TYPES = (torch.float32, torch.float64, torch.float16, torch.int32, torch.int64)


class Mailbox:
    """Slots that all workers of one machine see.

    It takes what is in `TYPES`. Two sets of slots take turns: who writes into one again knows that
    everyone has counted past the other, and so has read this one.
    """

    def __init__(self, mapping: mmap.mmap, rank: int, world: int) -> None:
        self._rank, self._world, self._count = rank, world, 0
        lines = np.frombuffer(mapping, np.int64, world * _LINE // 8).reshape(world, -1)
        self._counters_W, self._sizes_W2 = lines[:, 0], lines[:, 1:3]
        slots = np.frombuffer(mapping, np.uint8, 2 * world * _SLOT, world * _LINE)
        self._slots_2WS = slots.reshape(2, world, _SLOT)

    @classmethod
    def open(cls, rank: int, world: int) -> Mailbox | None:
        """A mailbox of the workers of torch.distributed's default group, each of which calls this.

        Returns:
            None on all of them if they are not on one machine, or it has no room or no memory
            order for this.
        """
        shared = Path("/dev/shm")
        folder = shared if shared.is_dir() else Path(tempfile.gettempdir())
        name: list[str | None] = [None]
        if rank == 0 and platform.machine() in _ORDERED:
            name = [_make(folder, world * (_LINE + 2 * _SLOT))]
        dist.broadcast_object_list(name)
        mapping = _map(name[0]) if name[0] is not None else None
        found = torch.tensor([float(mapping is not None)])
        dist.all_reduce(found, op=dist.ReduceOp.MIN)
        if rank == 0 and name[0] is not None:
            Path(name[0]).unlink()  # it stays for as long as it is mapped
        return cls(mapping, rank, world) if mapping is not None and found.item() else None

    def gather(self, mine: Tensor) -> Tensor:
        """The tensors (W, ...) of all workers, which are alike in shape and type.

        Raises:
            RuntimeError: A worker does not answer, or sends something else.
        """
        values = mine.detach().contiguous().reshape(-1).numpy()
        out_WN = np.empty((self._world, values.size), values.dtype)
        step = max(1, _SLOT // values.itemsize)
        for start in range(0, values.size, step):
            part = values[start : start + step]
            self._count += 1
            turn = self._count % 2
            slots_WS = self._slots_2WS[turn]
            typed_Wn = slots_WS[:, : part.nbytes].view(values.dtype)
            typed_Wn[self._rank] = part
            self._sizes_W2[self._rank, turn] = part.nbytes
            self._counters_W[self._rank] = self._count
            self._wait()
            if (self._sizes_W2[:, turn] != part.nbytes).any():
                raise RuntimeError("the workers exchange different things")
            out_WN[:, start : start + step] = typed_Wn
        return torch.from_numpy(out_WN).reshape(self._world, *mine.shape)

    def _wait(self) -> None:
        counters_W, count = self._counters_W, self._count
        looks, since = 0, 0.0
        while counters_W.min() < count:
            looks += 1
            if looks < _SPINS:
                continue
            now = time.monotonic()
            since = since or now
            if now - since > _PATIENCE_S:
                raise RuntimeError("a worker does not answer")
            time.sleep(0.0 if now - since < 0.01 else 1e-4)


def _make(folder: Path, size: int) -> str | None:
    """A new file of zeros with all its room taken; None if there is too little."""
    try:
        handle, path = tempfile.mkstemp(prefix="st_ray-", dir=folder)
    except OSError:
        return None
    try:
        os.posix_fallocate(handle, 0, size)
    except (OSError, AttributeError):  # no room, or a system that cannot tell
        Path(path).unlink()
        return None
    finally:
        os.close(handle)
    return path


def _map(path: str) -> mmap.mmap | None:
    """The file as memory; None where it is another machine's."""
    try:
        with Path(path).open("r+b") as file:
            return mmap.mmap(file.fileno(), 0)
    except OSError:
        return None
