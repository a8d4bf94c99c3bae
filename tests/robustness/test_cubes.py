"""Bad inputs, first table: files that are no cube, or one that cannot be used."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from tests.robustness.conftest import (
    Make,
    Row,
    Words,
    cube,
    given,
    labels,
    on_bytes,
    on_cube,
    saved,
    train,
)


def header(text: str) -> bytes:
    """A .npy file with this header and sixteen bytes of values."""
    line = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(line)) + line + bytes(16)


def claiming(shape: str, kind: str = "<f4") -> bytes:
    return header(f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}")


def npy(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def npz(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def mat(**arrays: object) -> bytes:
    buffer = io.BytesIO()
    savemat(buffer, arrays)
    return buffer.getvalue()


def huge_mat() -> bytes:
    """A MATLAB file whose array claims 10^15 elements."""
    content = bytearray(mat(cube=np.ones((3, 4, 5))))
    at = content.index(struct.pack("<3i", 3, 4, 5))
    content[at : at + 12] = struct.pack("<3i", 100_000, 100_000, 100_000)
    return bytes(content)


def where(make: Callable[[Path], object]) -> Make:
    """A run on what a function makes in a folder, with good labels."""

    def words(folder: Path) -> Words:
        return train(make(folder), saved(folder / "gt.npy", labels()))

    return words


def folder_named(name: str) -> Make:
    def make(folder: Path) -> Path:
        (folder / name).mkdir()
        return folder / name

    return where(make)


def link(name: str, target: str) -> Make:
    def make(folder: Path) -> Path:
        (folder / name).symlink_to(target)
        return folder / name

    return where(make)


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "cube.npy")
    return folder / "cube.npy"


def holed(which: object, value: float) -> Callable[[], np.ndarray]:
    """The good cube with a value in some pixels."""

    def values() -> np.ndarray:
        changed = cube()
        changed[which] = value
        return changed

    return values


WHOLE = npy(cube())
ROWS = [
    Row("an empty .npy", on_bytes("cube.npy", b""), r"cannot read .*cube\.npy: "),
    Row("a .npy cut in its header", on_bytes("cube.npy", WHOLE[:40]), r"cannot read"),
    Row("a .npy cut in its values", on_bytes("cube.npy", WHOLE[:-100]), r"cannot read"),
    Row("a .npy that is text", on_bytes("cube.npy", b"rows,cols\n" * 9), r"cannot read"),
    Row("a .npy that claims 10^15 values", on_bytes("cube.npy", claiming("(10**5,)*3")), "read"),
    Row(
        "a .npy of 10^15 values",
        on_bytes("cube.npy", claiming("(100000, 100000, 100000)")),
        r"cannot read",
    ),
    Row("a .npy of negative size", on_bytes("cube.npy", claiming("(-3, 4, 5)")), r"cannot read"),
    Row("a .npy that runs code", on_bytes("cube.npy", header("__import__('os')")), r"cannot read"),
    Row("Python objects", on_cube(lambda: cube().astype(object)), r"cannot read .*[Oo]bject"),
    Row("complex values", on_cube(lambda: cube() * 1j), r"expected real numbers, .*complex"),
    Row("text values", on_cube(lambda: cube().astype("<U3")), r"expected real numbers"),
    Row("dates", on_cube(lambda: cube().astype("M8[s]")), r"expected real numbers"),
    Row(
        "records",
        on_cube(lambda: np.zeros((5, 5, 4), [("a", "f4"), ("b", "f4")])),
        r"expected real numbers",
    ),
    Row("one axis", on_cube(lambda: np.ones(600)), r"expected a cube of 3 dimensions"),
    Row("two axes", on_cube(lambda: np.ones((12, 10))), r"expected a cube of 3 dimensions"),
    Row("five axes", on_cube(lambda: np.ones((1, 2, 3, 4, 5))), r"expected a cube of 3 dim"),
    Row("no rows", on_cube(lambda: np.ones((0, 10, 6))), r"expected a cube of 3 dimensions"),
    Row("no bands", on_cube(lambda: np.ones((12, 10, 0))), r"expected a cube of 3 dimensions"),
    Row("no value measured", on_cube(lambda: cube() * np.nan), r"no pixel .* has a valid value"),
    Row("nothing but infinity", on_cube(lambda: cube() * np.inf), r"no pixel .*valid value"),
    Row(
        "values beyond float32",
        on_cube(lambda: cube().astype("f8") * 1e300),
        r"no pixel of the scene has a valid value",
    ),
    Row("the same value everywhere", on_cube(lambda: np.ones((12, 10, 6))), r"no usable band"),
    Row(
        "nodata on all labelled pixels of a class",
        on_cube(holed(np.s_[:, :5], np.nan)),
        r"too few classes left",
    ),
    Row("an empty .npz", on_bytes("cube.npz", b""), r"cannot read"),
    Row("a .npz without members", on_bytes("cube.npz", npz()), r"found no numeric array"),
    Row("a .npz cut short", on_bytes("cube.npz", npz(cube=WHOLE)[:-60]), r"cannot read"),
    Row("a .npz of 10^15 values", on_bytes("c.npz", npz(cube=claiming("(99999,)*3"))), "read"),
    Row(
        "a .npz that claims 10^15 values",
        on_bytes("cube.npz", npz(cube=claiming("(100000, 100000, 100000)"))),
        r"cannot read .*cube\.npz: cube claims \(100000, 100000, 100000\) and holds \d+ bytes",
    ),
    Row("a .npz of text", on_bytes("cube.npz", npz(cube=b"hello")), r"cannot read"),
    Row(
        "two cubes in one .npz",
        on_bytes("cube.npz", npz(a=WHOLE, b=WHOLE)),
        r"say which with --set scene\.cube_key=NAME",
    ),
    Row("an empty .mat", on_bytes("cube.mat", b""), r"cannot read"),
    Row("a .mat of text", on_bytes("cube.mat", b"x = 3;\n" * 40), r"cannot read"),
    Row("a .mat cut short", on_bytes("cube.mat", mat(cube=cube())[:900]), r"cannot read"),
    Row("a .mat of 10^15 values", on_bytes("cube.mat", huge_mat()), r"cannot read .*claims 1e\+06"),
    Row("a .mat without arrays", on_bytes("cube.mat", mat(note="hi")), r"no numeric array"),
    Row(
        "a MATLAB v7.3 file without content",
        on_bytes("cube.mat", b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"),
        r"cannot read",
    ),
    Row("no file", where(lambda folder: folder / "cube.npy"), r"no such scene file: .*cube\.npy"),
    Row("a folder", folder_named("cube"), r"cube is a folder"),
    Row("a folder with a file's name", folder_named("cube.npy"), r"is a folder"),
    Row("a link to nothing", link("cube.npy", "nowhere.npy"), r"no such scene file"),
    Row("a link to itself", link("cube.npy", "cube.npy"), r"cube\.npy"),
    Row("a device", link("cube.npy", "/dev/zero"), r"no such file|is no file"),
    Row("a pipe", where(pipe), r"no such file|is no file"),
    Row("a name longer than a name may be", where(lambda _: "x" * 300 + ".npy"), r"cannot|no such"),
    Row("a name of nothing", where(lambda _: ""), r"folder|unknown scene"),
    Row("a name with a NUL", where(lambda _: "cube\0.npy"), r"no such|cannot"),
    Row("an address", where(lambda _: "https://example.org/cube.npy"), r"no such scene file"),
    Row("a pattern that nothing fits", where(lambda _: "no*.npy"), r"no file matches|expected one"),
    Row("a pattern of two stars", where(lambda _: "*/*.npy"), r"expected one \* in each"),
    Row("a format that nobody knows", on_bytes("cube.xyz", b"hello"), r"cannot read .*a cube is"),
    Row("a name without a suffix", on_bytes("cube", b"hello"), r"cannot read .*a cube is"),
    Row(
        "infinity and NaN in some pixels",
        on_cube(holed(np.s_[3, 2:4, 1], np.inf)),
        r"left out 2 labelled pixels with NaN or nodata",
        fine=True,
    ),
    Row(
        "a tile without any value",
        lambda folder: (*on_cube(holed(np.s_[:4, :4], np.nan))(folder), "--set", "tiles.side=4"),
        r"left out 16 labelled pixels",
        fine=True,
    ),
    Row(
        "a path with spaces and accents",
        lambda folder: _elsewhere(folder / "données d'été 2024"),
        r"données d'été 2024|OA",
        fine=True,
    ),
]


def _elsewhere(folder: Path) -> Words:
    folder.mkdir()
    return train(saved(folder / "scène №1.npy", cube()), saved(folder / "vérité.npy", labels()))


@pytest.mark.parametrize("row", ROWS, ids=given)
def test_a_bad_cube_is_one_line(check: Callable[[Row], None], row: Row) -> None:
    check(row)
