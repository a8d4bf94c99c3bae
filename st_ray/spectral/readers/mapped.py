"""Windows of memory-mapped arrays."""

from __future__ import annotations

import mmap
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from st_ray.spectral.readers.base import SlicedReader

_LARGE = 1 << 28  # bytes; what is smaller may stay in memory
_SHORT = 1 << 14  # bytes; a line as short as this is rather fetched whole than in parts


class MappedReader(SlicedReader):
    """Windows of a mapped array; what was read is given back."""

    array: NDArray[np.generic]

    def expect(self, rows: slice, cols: slice) -> None:
        """See `Reader.expect`."""
        wanted = {"r": rows, "c": cols, "b": slice(None)}
        read_ahead(self.array, [wanted[axis] for axis in self.layout])

    def forget(self) -> None:
        """See `Reader.forget`."""
        forget(self.array)


def forget(mapped: NDArray[np.generic]) -> None:
    """Give back the memory that reading a large mapped array has filled.

    The system would do so itself, but not before memory is short.
    """
    mapping = _large_mapping(mapped)
    if mapping is not None:
        mapping.madvise(mmap.MADV_DONTNEED)


def read_ahead(mapped: NDArray[np.generic], window: Sequence[slice]) -> None:
    """Have the system fetch a window of a large mapped array while something else is done.

    A window is many short reads, each of which would wait for the disk. Arrays whose first axis
    is not the slowest are left to the system.

    Args:
        mapped: The array.
        window: A slice of each axis.
    """
    mapping = _large_mapping(mapped)
    if mapping is None or not mapped.flags.c_contiguous:
        return
    first = mapped.ctypes.data - np.frombuffer(mapping, np.uint8, 1).ctypes.data
    spans = [part.indices(size)[:2] for part, size in zip(window, mapped.shape, strict=True)]
    inner = _inner_axis(mapped, spans)
    step = mapped.strides[inner]
    for place in np.ndindex(*(stop - start for start, stop in spans[:inner])):
        outer = zip(place, spans, mapped.strides, strict=False)
        base = first + sum((index + span[0]) * stride for index, span, stride in outer)
        begin, end = base + spans[inner][0] * step, base + spans[inner][1] * step
        page = begin - begin % mmap.PAGESIZE
        mapping.madvise(mmap.MADV_WILLNEED, page, end - page)


def _inner_axis(mapped: NDArray[np.generic], spans: list[tuple[int, int]]) -> int:
    """The axis along which a window's pieces lie in one: later ones are, or become, whole."""
    axis = mapped.ndim - 1
    while axis > 0:
        start, stop = spans[axis]
        whole = (start, stop) == (0, mapped.shape[axis])
        if not whole and mapped.shape[axis] * mapped.strides[axis] > _SHORT:
            break
        spans[axis] = (0, mapped.shape[axis])
        axis -= 1
    return axis


def _large_mapping(mapped: NDArray[np.generic]) -> mmap.mmap | None:
    mapping: mmap.mmap | None = getattr(mapped, "_mmap", None)  # NumPy's own name for it
    # The whole file's size counts, of which the array may be a part.
    large = mapping is not None and len(mapping) > _LARGE and hasattr(mapping, "madvise")
    return mapping if large else None
