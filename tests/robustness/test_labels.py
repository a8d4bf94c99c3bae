"""Bad inputs, second table: labels that are none, or do not fit their scene."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.robustness.conftest import (
    Make,
    Row,
    Words,
    cube,
    given,
    labels,
    on_labels,
    saved,
    train,
)


def changed(value: object, where: object = np.s_[0, 0], kind: str = "f8") -> Make:
    """Good labels with a value in some pixels."""

    def values() -> np.ndarray:
        raster = labels().astype(kind)
        raster[where] = value
        return raster

    return on_labels(values)


def gt(name: str, write: Callable[[Path], object]) -> Make:
    """The good cube with a label file that a function writes."""

    def make(folder: Path) -> Words:
        write(folder / name)
        return train(saved(folder / "cube.npy", cube()), folder / name)

    return make


def picture(values: np.ndarray) -> Callable[[Path], None]:
    return lambda path: Image.fromarray(values).save(path)


def cut(path: Path) -> None:
    """A picture of which a part is missing."""
    noise = np.random.default_rng(0).integers(0, 3, (12, 10), np.uint8)
    picture(noise)(path)
    path.write_bytes(path.read_bytes()[:60])


def many_classes(count: int) -> Make:
    """As many classes as pixels."""

    def make(folder: Path) -> Words:
        ids = np.arange(1, count + 1).reshape(-1, 100)
        values = np.random.default_rng(0).normal(size=(*ids.shape, 2)).astype("f4")
        gt = saved(folder / "gt.npy", ids)
        return train(saved(folder / "cube.npy", values), gt)

    return make


def two_rasters(path: Path) -> None:
    np.savez(path, old=labels(), new=labels())


ROWS = [
    Row("fractions", changed(1.5), r"expected whole class ids .* found 1\.5"),
    Row("text", on_labels(lambda: labels().astype("<U2")), r"expected class ids|real numbers"),
    Row("Python objects", on_labels(lambda: labels().astype(object)), r"cannot read"),
    Row("complex ids", on_labels(lambda: labels() * 1j), r"expected class ids, .*complex"),
    Row("NaN", changed(np.nan), r"expected whole class ids .* found nan"),
    Row("infinity", changed(np.inf), r"expected whole class ids .* found inf"),
    Row("negative ids", changed(-1), r"expected class ids 0 to 2147483647, found -1"),
    Row("ids beyond 32 bits", changed(2**40, kind="i8"), r"found 1 to 1099511627776"),
    Row("ids beyond 63 bits", changed(2**64 - 1, kind="u8"), r"found 1 to 18446744073709551615"),
    Row("nothing labelled", on_labels(lambda: labels() * 0), r"no pixel is labelled"),
    Row("one class", on_labels(lambda: labels() * 0 + 4), r"the labels hold 1 class"),
    Row("truth and falsehood", on_labels(lambda: labels() > 1), r"the labels hold 1 class"),
    Row("a class of one pixel", changed(7), r"class 7 has 1; leave out .*ignore_classes=\[7\]"),
    Row("rows and columns swapped", on_labels(lambda: labels().T), r"it is transposed"),
    Row("another size", on_labels(lambda: labels()[:9]), r"\(9, 10\) does not fit the scene's"),
    Row("one axis", on_labels(lambda: labels().ravel()), r"expected a label raster of 2 dim"),
    Row("three axes", on_labels(lambda: labels()[None]), r"expected a label raster of 2 dim"),
    Row("an empty raster", on_labels(lambda: labels()[:0]), r"expected a label raster"),
    Row("a single pixel", on_labels(lambda: labels()[:1, :1]), r"expected a label|does not fit"),
    Row("70,000 classes", many_classes(70_000), r"hold 70000 classes, of 4096 at most; are they"),
    Row("2,000 classes of a pixel", many_classes(2000), r"class 20 has 1 and 1980 more; are the"),
    Row(
        "a picture in colour", gt("gt.png", picture(np.zeros((12, 10, 3), "u1"))), r"expected a la"
    ),
    Row("a picture cut short", gt("gt.png", cut), r"cannot read"),
    Row("a picture that is text", gt("gt.tif", lambda p: p.write_text("no")), r"cannot read"),
    Row("an empty file", gt("gt.npy", lambda p: p.write_bytes(b"")), r"cannot read .*gt\.npy"),
    Row("no file", gt("gt.npy", lambda p: None), r"no such file: .*gt\.npy"),
    Row("a folder", gt("gt", lambda p: p.mkdir()), r"expected a file, found a folder"),
    Row("a link to nothing", gt("gt.npy", lambda p: p.symlink_to("no.npy")), r"no such file"),
    Row("a spreadsheet", gt("gt.xlsx", lambda p: p.write_bytes(b"PK\3\4")), r"cannot read labels"),
    Row("two rasters", gt("gt.npz", two_rasters), r"say which with --set scene\.labels_key=NAME"),
    Row(
        "no labels at all",
        lambda folder: train(saved(folder / "cube.npy", cube())),
        r"give the labels with --labels FILE",
    ),
    Row(
        "the cube as its own labels",
        lambda folder: train(saved(folder / "cube.npy", cube()), folder / "cube.npy"),
        r"expected a label raster of 2 dimensions",
    ),
    Row(
        "whole ids as floats",
        on_labels(lambda: labels() * 35_000.0),
        r"cube, cnn1d",
        fine=True,
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=given)
def test_bad_labels_are_one_line(check: Callable[[Row], None], row: Row) -> None:
    check(row)
