"""Fixtures shared by all tests: a small learnable scene, and the real data where it is mounted."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import savemat

from st_ray.spectral.scene import Scene, SceneSpec, open_scene

if TYPE_CHECKING:
    from st_ray import Report, RunSpec


_OWN_RAY = pytest.StashKey[str]()
_BEGUN = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    """Give Ray a folder of its own, so that tests join no cluster that runs here, and the cores."""
    if "RAY_TMPDIR" not in os.environ:  # socket paths are limited to 107 characters
        config.stash[_OWN_RAY] = os.environ["RAY_TMPDIR"] = mkdtemp(prefix="ray", dir="/tmp")
    if getattr(config.option, "numprocesses", None):  # threads of several processes would spin
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            os.environ.setdefault(name, "1")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Take it away again."""
    if folder := config.stash.get(_OWN_RAY, None):
        shutil.rmtree(folder, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts Ray comes first: with ``-n 2`` the rest is done while it waits."""
    items.sort(key=lambda item: item.get_closest_marker("ray") is None)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """With ``-n``, a process that does not begin with Ray gives way to the one that does.

    Ray's workers wait for each other at every step, and its files take longest. Which process gets
    them is chance: that which was ready first.
    """
    if "PYTEST_XDIST_WORKER" in os.environ and not item.config.stash.get(_BEGUN, False):
        item.config.stash[_BEGUN] = True
        if item.get_closest_marker("ray") is None:
            os.nice(15)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """With ``-n``, one process has all files that start Ray: two Rays would share the cores."""
    from xdist.scheduler import LoadScopeScheduling

    class OneRay(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::")[0]
            return "ray" if file.startswith(("tests/cluster/", "tests/test_jobs")) else file

    return OneRay(config, log)


@dataclass(frozen=True, kw_only=True)
class SceneFiles:
    """A small scene on disk and in memory.

    Attributes:
        cube: The .npy file of the values.
        labels: The .npy file of the class ids.
        values: (30, 26, 12).
        truth: (30, 26) class ids.
        classes: Ids that occur, ascending.
    """

    cube: Path
    labels: Path
    values: NDArray[np.uint16]
    truth: NDArray[np.uint8]
    classes: tuple[int, ...] = (2, 5, 9)


def _small_scene() -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """30 x 26 x 12: three classes with ids 2, 5 and 9 in compact regions, told apart by shape."""
    rng = np.random.default_rng(0)
    labels = np.zeros((30, 26), dtype=np.uint8)
    labels[:14, :12], labels[16:, :12], labels[2:28, 14:] = 2, 5, 9
    bands = np.linspace(0, np.pi, 12)
    spectra = {
        0: 1000 + 0 * bands,
        2: 1000 + 400 * np.sin(bands),
        5: 1000 + 400 * np.cos(bands),
        9: 1000 - 400 * np.sin(bands),
    }
    values = np.stack([spectra[int(index)] for index in labels.flat]).reshape(30, 26, 12)
    return (values + rng.normal(0, 40, values.shape)).astype(np.uint16), labels


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache, away from the user's own."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ST_RAY_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def scene_files(tmp_path_factory: pytest.TempPathFactory) -> SceneFiles:
    """The small scene as .npy files."""
    values, labels = _small_scene()
    folder = tmp_path_factory.mktemp("scene")
    np.save(folder / "small.npy", values)
    np.save(folder / "small_gt.npy", labels)
    return SceneFiles(
        cube=folder / "small.npy",
        labels=folder / "small_gt.npy",
        values=values,
        truth=labels,
    )


@pytest.fixture(scope="session")
def small_scene(scene_files: SceneFiles) -> Scene:
    """The small scene, opened."""
    return open_scene(SceneSpec(name=str(scene_files.cube), labels=str(scene_files.labels)))


@pytest.fixture(scope="session")
def spec(scene_files: SceneFiles) -> RunSpec:
    """A run of a second on the small scene, but for its output directory."""
    from st_ray import ClusterSpec, RunSpec, TileSpec, TrainSpec

    return RunSpec(
        scene=SceneSpec(name=str(scene_files.cube), labels=str(scene_files.labels)),
        tiles=TileSpec(side=16),
        backbone="resnet2d",
        backbone_options={"width": 8},
        curriculum="paper",
        patch_size=5,
        epochs=12,
        train=TrainSpec(learning_rate=3e-3, batch_size=16),
        cluster=ClusterSpec(workers=0, device="cpu", threads=1),
    )


@pytest.fixture(scope="session")
def finished(spec: RunSpec, tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Path]:
    """Its report and directory."""
    from st_ray import run_curriculum

    out = tmp_path_factory.mktemp("run") / "out"
    return run_curriculum(replace(spec, out=str(out))), out


@pytest.fixture(scope="session")
def s3() -> Iterator[Callable[[str], str]]:
    """An S3-compatible server on this machine, and in it a bucket: gives a key's URI."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    bucket = Request(f"http://{host}:{port}/bucket", method="PUT")
    with pytest.MonkeyPatch.context() as patch, urlopen(bucket):
        patch.setenv("AWS_ACCESS_KEY_ID", "anybody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "anything")
        query = f"endpoint_override={host}:{port}&scheme=http&region=us-east-1"
        yield lambda key: f"s3://bucket/{key}?{query}"
    server.stop()


@pytest.fixture
def st_ray(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """Run a command line in tmp_path; gives (exit code, standard output, standard error)."""
    from st_ray.cli import main

    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["st-ray", *map(str, words)])
        monkeypatch.setattr(sys, "path", list(sys.path))
        with pytest.raises(SystemExit) as stop:
            main()
        code = int(stop.value.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def usual_ctrl_c() -> Iterator[None]:
    """Python's own handler of Ctrl-C, which a test run in the background starts without."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def write_mat(tmp_path: Path) -> Callable[..., Path]:
    """Write arrays as a MATLAB v5 file: ``write_mat("scene.mat", cube=values, gt=labels)``."""

    def write(name: str, **arrays: NDArray[np.generic]) -> Path:
        savemat(tmp_path / name, arrays, do_compression=True)
        return tmp_path / name

    return write


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public scenes beside the repository, where there is one."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the public scenes in {folder}")
    return folder
