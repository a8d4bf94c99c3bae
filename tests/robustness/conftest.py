"""What the tables of bad inputs share: a small good scene, a row, and what a row must give."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray

Words: TypeAlias = tuple[object, ...]
Make: TypeAlias = Callable[[Path], Words]

# A run of a moment, on the scene of `good`.
QUICK: Words = (
    *("--workers", 0, "--device", "cpu", "--epochs", 1, "--beta", 1, "--curriculum", "full"),
    *("--patch-size", 3, "--batch-size", 8, "--backbone", "cnn1d", "--set", "cluster.threads=1"),
    *("--set", "map=false"),
)


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        given: What is wrong, in words.
        make: Puts files into a folder and gives the command line after ``st-ray``.
        told: The one line that must come, as a regular expression; of a graceful result, what
            standard output must say.
        fine: Whether the result is graceful: exit code 0.
    """

    given: str
    make: Make
    told: str
    fine: bool = False


def cube() -> NDArray[np.float32]:
    """12 x 10 x 6 values of two classes that are told apart by level."""
    rng = np.random.default_rng(0)
    return (100 * labels()[..., None] + rng.normal(0, 9, (12, 10, 6))).astype(np.float32)


def labels() -> NDArray[np.int64]:
    """12 x 10 ids of classes 1 and 2."""
    return np.repeat([1, 2], [5, 5])[None].repeat(12, axis=0)


def saved(path: Path, values: NDArray[np.generic]) -> Path:
    """Save an array as .npy, pickled if it must be."""
    np.save(path, values, allow_pickle=True)
    return path


def train(scene: object, gt: object = None, *more: object) -> Words:
    """The command line of a run on a scene and its labels."""
    given = () if gt is None else ("--labels", gt)
    return ("train", scene, *given, *QUICK, "--out", "out", *more)


def on_cube(values: Callable[[], NDArray[np.generic]]) -> Make:
    """A run on a cube of these values, with good labels."""

    def make(folder: Path) -> Words:
        saved(folder / "gt.npy", labels())
        return train(saved(folder / "cube.npy", values()), folder / "gt.npy")

    return make


def on_labels(values: Callable[[], NDArray[np.generic]]) -> Make:
    """A run on the good cube with labels of these values."""

    def make(folder: Path) -> Words:
        gt = saved(folder / "gt.npy", values())
        return train(saved(folder / "cube.npy", cube()), gt)

    return make


def on_bytes(name: str, content: bytes) -> Make:
    """A run on a file of these bytes, with good labels."""

    def make(folder: Path) -> Words:
        (folder / name).write_bytes(content)
        return train(folder / name, saved(folder / "gt.npy", labels()))

    return make


def with_options(*more: object) -> Make:
    """A run on the good scene with more options."""

    def make(folder: Path) -> Words:
        gt = saved(folder / "gt.npy", labels())
        return train(saved(folder / "cube.npy", cube()), gt, *more)

    return make


@pytest.fixture
def check(st_ray: Callable[..., tuple[int, str, str]], tmp_path: Path) -> Callable[[Row], None]:
    """Run a row: one line on standard error and exit code 2, or the graceful result."""

    def run(row: Row) -> None:
        words = row.make(tmp_path)
        code, out, err = st_ray(*words)
        if row.fine:
            assert (code, err) == (0, ""), err
            assert re.search(row.told, out), out
            return
        assert code == 2, f"{code}: {err}{out}"
        assert err.startswith("st-ray: "), err
        assert err.endswith("\n")
        assert err.count("\n") == 1, err
        assert len(err) < 1000 + 2 * len(str(tmp_path)), "a line that nobody reads"
        assert "Traceback" not in err + out
        assert re.search(row.told, err), err
        assert not (tmp_path / "out").exists(), "a run that never began left a folder"

    return run


def given(row: Row) -> str:
    """The id of a row."""
    return row.given
