"""The output directory of a run: claimed before work starts, finished when report.json is there."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from itertools import count
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout

from st_ray.config import (
    CURRICULUM_FILE,
    RUN_FILE,
    RunSpec,
    differences,
    load_spec,
    save_spec,
    spec_from_table,
)
from st_ray.errors import OutputError, writing
from st_ray.learn.curriculum import Curriculum, load_curriculum, save_curriculum

REPORT_FILE = "report.json"
LOCK_FILE = ".lock"
DEFAULT_FOLDER = Path("runs")


class RunFolder:
    """The directory of one run, which no other run may use at the same time.

    A context: it is locked inside, and removed afterwards if nothing was written to it. The lock
    ends with the process that holds it, however that ends.

    Attributes:
        path: Absolute path of the directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock = FileLock(self.path / LOCK_FILE, timeout=0)

    def __enter__(self) -> Self:
        """Lock it.

        Raises:
            OutputError: Another run holds it, or it cannot be written.
        """
        with _claiming(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire()
            except Timeout:
                raise OutputError(
                    f"another run is writing to {self.path}; wait for it, or choose another --out"
                ) from None
            except NotImplementedError:
                pass  # filelock's word for a file system without locks: the run goes on unlocked
        return self

    def __exit__(self, *unused: object) -> None:
        """Unlock it; remove it, and runs/ above it, if empty."""
        self._lock.release()
        try:
            if [entry.name for entry in self.path.iterdir()] == [LOCK_FILE]:
                (self.path / LOCK_FILE).unlink()
            self.path.rmdir()
            if self.path.parent == DEFAULT_FOLDER.absolute():
                self.path.parent.rmdir()
        except OSError:
            return

    @property
    def report(self) -> Path:
        """Written last: its presence marks a finished run."""
        return self.path / REPORT_FILE

    @property
    def checkpoints(self) -> Path:
        """Epochs' checkpoints and the outcome."""
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        """The model bundle."""
        return self.path / "model"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard events."""
        return self.path / "tensorboard"

    @property
    def split(self) -> Path:
        """The split, as a file that --split takes."""
        return self.path / "split.npz"

    @property
    def started(self) -> bool:
        """Whether a run has begun to train here."""
        return (self.path / RUN_FILE).is_file()

    def begin(self, spec: RunSpec, curriculum: Curriculum) -> None:
        """Record what is about to be trained, once; all input has been checked by now."""
        with writing(self.path):
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            if not self.started:
                save_curriculum(curriculum, self.path / CURRICULUM_FILE)
                save_spec(spec, self.path / RUN_FILE)

    def recorded_spec(self) -> RunSpec:
        """The spec of the run that began here."""
        return spec_from_table(load_spec(self.path / RUN_FILE))

    def recorded_curriculum(self) -> Curriculum:
        """The curriculum of the run that began here."""
        return load_curriculum(self.path / CURRICULUM_FILE)


def find_folder(spec: RunSpec, *, resume: bool) -> RunFolder:
    """The output directory of a run, to be entered before anything is written.

    Raises:
        OutputError: It holds another run, or there is nothing to resume.
    """
    if spec.out is None:
        if resume:
            raise OutputError("--resume needs --out DIR, the directory of the run to go on with")
        return RunFolder(Path(default_out(spec)))
    folder = RunFolder(Path(spec.out))
    if resume:
        _require_same(spec, folder)
    elif folder.started or folder.report.exists():
        state = "a finished" if folder.report.exists() else "an unfinished"
        remedy = "pass --resume to go on with it, or choose" if folder.started else "choose"
        raise OutputError(f"{folder.path} holds {state} run; {remedy} another --out")
    return folder


def default_out(spec: RunSpec) -> str:
    """Make a new directory under runs/, named after scene, backbone, curriculum, seed and time.

    Raises:
        OutputError: It cannot be made.
    """
    names = Path(spec.scene.name).stem, spec.backbone.rpartition(":")[2], Path(spec.curriculum).stem
    stem = "-".join((*names, f"seed{spec.seed}", time.strftime("%Y%m%d-%H%M%S")))
    for number in count(1):
        path = DEFAULT_FOLDER / (stem if number == 1 else f"{stem}-{number}")
        with _claiming(path.absolute()):
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                continue
        return str(path)
    raise AssertionError  # count() does not end


def _claiming(path: Path) -> AbstractContextManager[None]:
    return writing(f"to {path}", remedy="choose a writable --out")


def _require_same(spec: RunSpec, folder: RunFolder) -> None:
    if not folder.started:
        raise OutputError(f"{folder.path} holds no run to resume; leave --resume out")
    changed = differences(spec, folder.recorded_spec())
    if changed:
        raise OutputError(
            f"{folder.path} holds a run with other settings ({', '.join(changed)}); "
            "resume with the same ones, or train into another --out"
        )
