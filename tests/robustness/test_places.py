"""Bad inputs, fourth table: places that cannot be read, written or trusted."""

from __future__ import annotations

import os
import re
import resource
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from tests.robustness.conftest import (
    QUICK,
    Make,
    Row,
    Words,
    cube,
    given,
    labels,
    saved,
    train,
    with_options,
)

NOBODY = 65534


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's right to read and write everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may use: pytest's own are root's alone."""
    folder = Path(tempfile.mkdtemp(prefix="st_ray-tests-"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def out(place: object, prepare: Callable[[Path], object] = lambda folder: None) -> Make:
    """A run on the good scene into a place."""

    def make(folder: Path) -> Words:
        prepare(folder)
        gt = saved(folder / "gt.npy", labels())
        return ("train", saved(folder / "c.npy", cube()), "--labels", gt, *QUICK, "--out", place)

    return make


OUT = [
    Row("a file as the folder", out("gt.npy"), r"cannot write .*gt\.npy"),
    Row("a folder in a file", out("gt.npy/deep/out"), r"cannot write .*Not a directory"),
    Row("a name that is too long", out("x" * 300), r"cannot look into .*File name too long"),
    Row("a store of nobody", out("s4://bucket/run"), r"cannot open s4://bucket/run"),
    Row("a password in a URI", out("s3://me:secret@bucket/run"), r"holds a password"),
    Row("nothing to resume", with_options("--resume"), r"holds no run to resume"),
    Row(
        "a run of somebody else",
        out("old", lambda folder: _old(folder, "run.toml", "seed = 3\n")),
        r"holds an unfinished run; pass --resume",
    ),
    Row(
        "a finished run",
        out("old", lambda folder: _old(folder, "report.json", "{}")),
        r"holds a finished run",
    ),
    Row(
        "a run whose record is spoilt",
        lambda folder: (
            *out("old", lambda folder: _old(folder, "run.toml", "seed = \n"))(folder),
            "--resume",
        ),
        r"cannot read run file .*run\.toml",
    ),
]


def _old(folder: Path, name: str, content: str) -> None:
    (folder / "old").mkdir()
    (folder / "old" / name).write_text(content)


@pytest.mark.parametrize("row", OUT, ids=given)
def test_a_bad_output_folder_is_one_line(check: Callable[[Row], None], row: Row) -> None:
    check(row)


CLOSED = [
    ("the cube", "cube.npy", r"cannot read .*cube\.npy.*ermission denied"),
    ("the labels", "gt.npy", r"cannot read .*gt\.npy.*ermission denied"),
    ("the folder of the scene", "closed", r"ermission denied"),
    ("the manifest", "scenes.csv", r"cannot read manifest .*ermission denied"),
    ("the run file", "run.toml", r"cannot read run file .*ermission denied"),
    ("the curriculum", "mine.toml", r"cannot read curriculum .*ermission denied"),
    ("the output folder", "sealed", r"cannot (write|look into) .*ermission denied"),
]


@pytest.mark.parametrize(("what", "name", "told"), CLOSED, ids=[row[0] for row in CLOSED])
def test_what_may_not_be_touched_is_one_line(
    st_ray, open_folder: Path, monkeypatch: pytest.MonkeyPatch, what: str, name: str, told: str
) -> None:
    monkeypatch.chdir(open_folder)
    (open_folder / "closed").mkdir()
    (open_folder / "sealed").mkdir()
    saved(open_folder / "cube.npy", cube())
    saved(open_folder / "gt.npy", labels())
    saved(open_folder / "closed" / "cube.npy", cube())
    (open_folder / "scenes.csv").write_text("image,labels\ncube.npy,gt.npy\n")
    (open_folder / "run.toml").write_text("seed = 1\n")
    (open_folder / "mine.toml").write_text("[[stage]]\npatch_size = 3\n")
    words = {
        "closed": train("closed/cube.npy", "gt.npy"),
        "scenes.csv": train("scenes.csv"),
        "run.toml": train("cube.npy", "gt.npy", "--config", "run.toml"),
        "mine.toml": train("cube.npy", "gt.npy", "--curriculum", "mine.toml"),
        "sealed": ("train", "cube.npy", "--labels", "gt.npy", *QUICK, "--out", "sealed/out"),
    }.get(name, train("cube.npy", "gt.npy"))
    st_ray(*words, "--beta", 7)  # imports what a run needs, while everything may be read
    (open_folder / name).chmod(0o500 if name == "sealed" else 0)
    with as_nobody():
        code, _, err = st_ray(*words)
    (open_folder / name).chmod(0o700)
    assert (code, err.count("\n")) == (2, 1), err
    assert err.startswith("st-ray: ")
    assert re.search(told, err), err


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """A disk that is full for every file of more than so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_up_is_one_line(st_ray, tmp_path: Path) -> None:
    gt = saved(tmp_path / "gt.npy", labels())
    words = train(saved(tmp_path / "cube.npy", cube()), gt)
    with no_file_beyond(3000):
        code, _, err = st_ray(*words)
    assert (code, err.count("\n")) == (2, 1), err
    assert "cannot write" in err
    assert "free space there or choose another --out" in err


def test_a_cache_that_fills_up_names_the_variable(
    st_ray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ST_RAY_CACHE", str(tmp_path / "cache"))
    values = np.random.default_rng(0).normal(size=(12, 10, 60))
    savemat(tmp_path / "scene.mat", {"cube": values, "gt": labels()})
    with no_file_beyond(20_000):
        code, _, err = st_ray(*train(tmp_path / "scene.mat"))
    assert (code, err.count("\n")) == (2, 1), err
    assert "set the environment variable ST_RAY_CACHE to a folder with space" in err
    assert "(None)" not in err
    assert list((tmp_path / "cache" / "unpacked").iterdir()) == []
