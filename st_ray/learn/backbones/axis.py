"""An axis of windows: which positions share their values, and what convolutions add to what.

See `st_ray.learn.backbones.windows`, which has the idea.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

# From the slice of a layer's input to the slice of its output that it is added to.
Step = tuple[slice, slice]


@dataclass(frozen=True, slots=True)
class Axis:
    """The positions of windows along one axis, by what they share.

    Attributes:
        count: Windows side by side, each one pixel further than the one before.
        kinds: First and last position of each run that shares one row of values, in order; they
            cover positions 0 to S - 1. A kind of r positions holds ``count + r - 1`` values:
            position p of window w is value ``w + p - first``.
    """

    count: int
    kinds: tuple[tuple[int, int], ...]

    @property
    def side(self) -> int:
        """Positions S of a window."""
        return self.kinds[-1][1] + 1

    @property
    def shared(self) -> bool:
        """Whether all positions share one row: neighbours are windows of it."""
        return len(self.kinds) == 1

    @property
    def length(self) -> int:
        """Values of all kinds together."""
        return sum(self.count + last - first for first, last in self.kinds)

    def starts(self) -> Iterator[int]:
        """Where the values of each position begin; there are `count` of them."""
        begin = 0
        for first, last in self.kinds:
            yield from range(begin, begin + last - first + 1)
            begin += self.count + last - first

    def convolved(self, taps: int, padding: int) -> tuple[Axis, list[list[Step]]]:
        """The axis of a convolution's output, and for each tap what it adds to what.

        Args:
            taps: Length of the kernel.
            padding: Zeros at each end of a window.
        """
        kind_of = [index for index, (a, b) in enumerate(self.kinds) for _ in range(a, b + 1)]

        def seen(position: int) -> tuple[int | None, ...]:
            inside = (position + tap - padding for tap in range(taps))
            return tuple(kind_of[p] if 0 <= p < self.side else None for p in inside)

        runs = [list(run) for _, run in groupby(range(self.side + 2 * padding - taps + 1), seen)]
        after = Axis(self.count, tuple((run[0], run[-1]) for run in runs))
        return after, [self._steps(after, tap - padding) for tap in range(taps)]

    def refined(self, finer: Axis) -> list[Step]:
        """From these values to those of an axis whose kinds are parts of these."""
        return self._steps(finer, 0)

    def cut(self, most: int) -> Iterator[tuple[Axis, list[slice]]]:
        """This axis by blocks of windows, and where the values of each block are."""
        for begin in range(0, self.count, most):
            part = Axis(min(most, self.count - begin), self.kinds)
            starts = list(self.starts())
            yield (
                part,
                [
                    slice(starts[first] + begin, starts[first] + begin + part.count + last - first)
                    for first, last in self.kinds
                ],
            )

    def _steps(self, after: Axis, shift: int) -> list[Step]:
        """From each position to the one that lies `shift` before it, where both are."""
        begins, steps, into = list(self.starts()), [], 0
        for first, last in after.kinds:
            width = self.count + last - first
            if first + shift >= 0 and last + shift < self.side:
                begin = begins[first + shift]
                source, target = slice(begin, begin + width), slice(into, into + width)
                steps.append((source, target))
            into += width
        return steps


def join(steps: list[Step]) -> list[Step]:
    """The same with neighbours made one."""
    joined: list[Step] = []
    for source, target in steps:
        if joined and (joined[-1][0].stop, joined[-1][1].stop) == (source.start, target.start):
            before, onto = joined.pop()
            joined.append((slice(before.start, source.stop), slice(onto.start, target.stop)))
        else:
            joined.append((source, target))
    return joined


def add_up(parts: list[tuple[list[Step], Tensor]], length: int, dim: int) -> Tensor:
    """Sums of slices along one axis; the first part's steps fill all of it."""
    first = parts[0][1]
    shape = list(first.shape)
    shape[dim] = length
    layout = torch.channels_last if len(shape) == 4 else torch.channels_last_3d
    total = torch.empty(shape, dtype=first.dtype, device=first.device, memory_format=layout)
    for number, (steps, values) in enumerate(parts):
        for source, target in steps:
            into = total.narrow(dim, target.start, target.stop - target.start)
            what = values.narrow(dim, source.start, source.stop - source.start)
            into.add_(what) if number else into.copy_(what)
    return total


def take(values: Tensor, slices: list[slice], dim: int) -> Tensor:
    """Some slices along one axis, one after another; a single one is not copied."""
    parts = [values.narrow(dim, part.start, part.stop - part.start) for part in slices]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)


def window_sum(values: Tensor, axis: Axis, dim: int) -> Tensor:
    """The sum over the positions of each window along one axis."""
    starts = list(axis.starts())
    total = values.narrow(dim, starts[0], axis.count).clone()
    for start in starts[1:]:
        total += values.narrow(dim, start, axis.count)
    return total


def places(axis: Axis) -> Tensor:
    """Where each window's positions are, (count, S)."""
    return torch.arange(axis.count)[:, None] + torch.tensor(list(axis.starts()))
