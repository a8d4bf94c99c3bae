"""Windows of large files: all of a window's bytes, and little else."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import numpy as np
import pytest

from st_ray.errors import SceneError
from st_ray.spectral.readers import mapped
from st_ray.spectral.scene import SceneSpec, open_cube

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


@pytest.fixture
def values(monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """A cube that counts as large, and of which what was read is given back."""
    monkeypatch.setattr(mapped, "_LARGE", 0)
    monkeypatch.setattr(mapped, "_KEPT", 0.0)
    return np.arange(20 * 30 * 7, dtype=np.uint16).reshape(20, 30, 7)


WINDOWS = [
    (slice(0, 20), slice(0, 30)),
    (slice(3, 9), slice(0, 30)),
    (slice(3, 9), slice(11, 12)),
    (slice(19, 25), slice(28, 40)),
    (slice(0, 1), slice(0, 1)),
    (slice(4, 4), slice(0, 30)),
]


@pytest.mark.skipif(not mapped._DIRECT, reason="this system has no preadv or posix_fadvise")
@pytest.mark.parametrize("bands", [None, (0, 1, 6), (5, 2)])
def test_pieces_of_a_large_file_are_windows_of_its_array(
    values: np.ndarray, tmp_path: Path, bands: tuple[int, ...] | None
) -> None:
    np.save(tmp_path / "a.npy", values)
    np.save(tmp_path / "many.npy", np.stack([values + 1, values]))
    (tmp_path / "raw").write_bytes(b"x" * 5001 + values.tobytes())
    arrays = (
        np.load(tmp_path / "a.npy", mmap_mode="r"),
        np.load(tmp_path / "many.npy", mmap_mode="r")[1],
        np.memmap(tmp_path / "raw", np.uint16, "r", 5001, values.shape),
    )
    for array in arrays:
        reader = mapped.open_windows(array, "rcb")
        assert isinstance(reader, mapped.PieceReader)
        for rows, cols in WINDOWS * 2:
            reader.expect(rows, cols)
            window = reader.read(rows, cols, bands)
            kept = values if bands is None else values[:, :, bands]
            np.testing.assert_array_equal(window, kept[rows, cols])


@pytest.mark.skipif(not mapped._DIRECT, reason="this system has no preadv or posix_fadvise")
def test_a_large_file_that_became_shorter_is_one_line(
    values: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "a.npy", values)
    cube = open_cube(SceneSpec(name=str(tmp_path / "a.npy")))[0]
    with (tmp_path / "a.npy").open("r+b") as file:
        reader = mapped.open_windows(np.load(tmp_path / "a.npy", mmap_mode="r"), "rcb")
        file.truncate(2000)
        with pytest.raises(EOFError, match="shorter"):
            reader.read(slice(0, 20), slice(0, 30), None)
    monkeypatch.setattr(type(cube), "_reader", lambda self: reader)  # opened before it was cut
    with pytest.raises(SceneError, match="a.npy.*shorter") as told:
        cube.read(slice(0, 20), slice(0, 30))
    assert str(told.value).count("\n") == 0


@pytest.mark.skipif(not mapped._DIRECT, reason="this system has no preadv or posix_fadvise")
def test_lines_behind_a_pass_are_given_back_of_files_that_memory_would_not_hold(
    values: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "raw").write_bytes(b"x" * 5001 + values.tobytes())
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda file, at, size, what: given.append((at, size)))
    array = np.memmap(tmp_path / "raw", np.uint16, "r", 5001, values.shape)
    line = 30 * 7 * 2
    for kept, expected in (
        (0.0, [(5001 + 4 * line, 4 * line), (5001 + 8 * line, line)]),
        (1.0, []),
    ):
        monkeypatch.setattr(mapped, "_KEPT", kept)
        reader = mapped.open_windows(array, "rcb")
        for row in (4, 4, 8, 9, 4):
            reader.read(slice(row, row + 4), slice(0, 12), None)
        assert given == expected
        given.clear()


def test_arrays_in_another_order_and_small_ones_stay_mapped(
    values: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "a.npy", values)
    np.save(tmp_path / "turned.npy", np.asfortranarray(values))
    array, turned = (np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("a", "turned"))
    assert isinstance(mapped.open_windows(array, "brc"), mapped.MappedReader)
    assert isinstance(mapped.open_windows(turned, "rcb"), mapped.MappedReader)
    monkeypatch.setattr(mapped, "_LARGE", 1 << 28)
    assert isinstance(mapped.open_windows(array, "rcb"), mapped.MappedReader)
