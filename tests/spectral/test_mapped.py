"""Fetching windows of mapped files ahead: all of a window's bytes, and little else."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pytest

from st_ray.spectral.readers import mapped

PAGE = mmap.PAGESIZE


class Noted(mmap.mmap):
    """A mapping that notes which bytes are asked for."""

    asked: list[tuple[int, int]]

    def madvise(self, option: int, start: int = 0, length: int = 0) -> None:
        assert option == mmap.MADV_WILLNEED
        self.asked.append((start, start + length))


@pytest.mark.parametrize(
    ("shape", "window"),
    [
        ((12, 300, 100), (slice(3, 9), slice(100, 250), slice(None))),  # rows, columns, bands
        ((12, 20, 9000), (slice(3, 9), slice(None), slice(40, 8000))),  # lines of bands
        ((20, 12, 9000), (slice(None), slice(3, 9), slice(None))),  # band by band, whole lines
        ((20, 12, 9000), (slice(None), slice(3, 9), slice(40, 8000))),
        ((20, 64, 512), (slice(None), slice(3, 9), slice(16, 17))),  # lines too short to cut
    ],
)
def test_a_windows_bytes_are_asked_for_and_few_others(
    shape: tuple[int, ...],
    window: tuple[slice, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    header, size = 128, 2 * int(np.prod(shape))
    path = tmp_path / "data"
    with path.open("wb") as file:
        file.truncate(header + size)
    with path.open("rb") as file:
        noted = Noted(file.fileno(), 0, access=mmap.ACCESS_READ)
    noted.asked = []
    array = np.frombuffer(noted, np.uint16, offset=header).reshape(shape)
    monkeypatch.setattr(mapped, "_large_mapping", lambda _: noted)
    mapped.read_ahead(array, window)
    wanted = np.zeros(shape, bool)
    wanted[window] = True
    asked = np.zeros(header + size, bool)
    for start, stop in noted.asked:
        assert start % PAGE == 0
        asked[start:stop] = True
    of_values = asked[header:].reshape(-1, 2).all(axis=1).reshape(shape)
    assert of_values[wanted].all()
    lines = np.zeros(shape, bool)
    lines[(*window[:2], slice(None)) if shape[2] == 512 else window] = True
    runs = int(np.diff(lines.ravel().astype(np.int8)).clip(min=0).sum()) + 1
    assert asked.sum() <= 2 * lines.sum() + runs * PAGE
    assert len(noted.asked) <= runs


def test_small_arrays_are_left_alone(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(60, dtype=np.uint8).reshape(3, 4, 5))
    small = np.load(tmp_path / "a.npy", mmap_mode="r")
    mapped.read_ahead(small, (slice(0, 1), slice(None), slice(None)))
    mapped.forget(small)
    assert small.sum() == np.arange(60).sum()
