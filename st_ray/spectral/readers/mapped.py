"""Windows of arrays that lie in a file as they are: mapped, or read piece by piece."""

from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import psutil
from numpy.typing import NDArray

from st_ray.spectral.readers.base import USUAL, Reader, SlicedReader, cut_bands

_LARGE = 1 << 28  # bytes; what is smaller may stay in memory
_SHORT = 1 << 14  # bytes; a line as short as this is rather fetched whole than in parts
_KEPT = 0.6  # of the memory: a larger file is gone from it when it is read again
_DIRECT = hasattr(os, "preadv") and hasattr(os, "posix_fadvise")


def open_windows(mapped: NDArray[np.generic], layout: str) -> Reader:
    """Windows of a mapped array; large ones of whole spectra are read past the mapping.

    Args:
        mapped: The array.
        layout: Order of its axes.
    """
    place = _Place.of(mapped) if layout == USUAL and _DIRECT else None
    return MappedReader(mapped, layout) if place is None else PieceReader(mapped, place)


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


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an array lies in its file.

    Attributes:
        path: The file.
        start: Its first byte there.
        size: Bytes of the file to the array's end.
    """

    path: str
    start: int
    size: int

    @classmethod
    def of(cls, mapped: NDArray[np.generic]) -> _Place | None:
        """Of a large array (H, W, B) whose values follow one another; else None."""
        mapping = _large_mapping(mapped)
        if mapping is None or not isinstance(mapped, np.memmap) or not mapped.flags.c_contiguous:
            return None
        begin = mapped.offset - mapped.offset % mmap.ALLOCATIONGRANULARITY  # of the mapping
        return cls(str(mapped.filename), begin + _within(mapped, mapping), begin + len(mapping))


class PieceReader:
    """Windows (h, w, B) of a large file of whole spectra, row by row into memory of our own.

    A page of a mapping that is touched for the first time costs the system more than reading it
    does: 4 GB from the disk took 6 s of processor time mapped and 3 s so, and 2 s where the pages
    behind are given back, so that the same memory serves all along. Only those of a file that
    memory would not hold are given back: of another, the next reading finds them there.

    Args:
        array: The mapped array, for its shape and type.
        place: Where it lies.
    """

    def __init__(self, array: NDArray[np.generic], place: _Place) -> None:
        self._shape, self._dtype, self._start = array.shape, array.dtype, place.start
        self._spectrum = array.shape[2] * array.dtype.itemsize
        self._file = os.open(place.path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)
        self._gives_back = place.size > _KEPT * psutil.virtual_memory().total
        self._line = array.shape[1] * self._spectrum
        self._first: int | None = None  # line that was read and is not given back yet

    def read(self, rows: slice, cols: slice, bands: Sequence[int] | None) -> NDArray[np.generic]:
        """See `Reader.read`."""
        height, width = (
            len(range(*part.indices(size)))
            for part, size in zip((rows, cols), self._shape, strict=False)
        )
        values = np.empty((height, width, self._shape[2]), self._dtype)
        room = values.reshape(-1).view(np.uint8).data
        for start, stop in self._pieces(rows, cols):
            self._fill(room[: stop - start], start)
            room = room[stop - start :]
        if self._gives_back:
            self._give_back(rows.indices(self._shape[0])[0])
        return cut_bands(lambda run: values[:, :, run], bands)

    def expect(self, rows: slice, cols: slice) -> None:
        """Nothing: on a local disk, asking for every line took twice as long as waiting."""

    def forget(self) -> None:
        """Nothing: what was read is a copy."""

    def _pieces(self, rows: slice, cols: slice) -> Iterator[tuple[int, int]]:
        """First byte of each run of a window, and the byte after its last."""
        top, bottom, _ = rows.indices(self._shape[0])
        left, right, _ = cols.indices(self._shape[1])
        if (left, right) == (0, self._shape[1]):
            yield self._start + top * self._line, self._start + bottom * self._line
            return
        for row in range(top, bottom):
            at = self._start + row * self._line
            yield at + left * self._spectrum, at + right * self._spectrum

    def _fill(self, room: memoryview, start: int) -> None:
        while room:
            count = os.preadv(self._file, [room], start)
            if count == 0:
                raise EOFError("the file has become shorter")
            room, start = room[count:], start + count

    def _give_back(self, row: int) -> None:
        """Have the system drop the lines that were read before this one.

        All that lies between at once: of pages that it has joined, it drops no part.
        """
        if self._first is not None and row > self._first:
            at, length = self._start + self._first * self._line, (row - self._first) * self._line
            os.posix_fadvise(self._file, at, length, os.POSIX_FADV_DONTNEED)
        self._first = row


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
    first = _within(mapped, mapping)
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


def _within(mapped: NDArray[np.generic], mapping: mmap.mmap) -> int:
    """Bytes of the mapping before the array."""
    return mapped.ctypes.data - int(np.frombuffer(mapping, np.uint8, 1).ctypes.data)
