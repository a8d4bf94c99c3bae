"""The output directory of a run: claimed before work starts, finished when report.json is there."""

from __future__ import annotations

import shutil
import tempfile
import time
import uuid
from contextlib import AbstractContextManager, nullcontext, suppress
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
from st_ray.storage import bare, exists, is_uri, join, make, names, pull, push, remove, settle

REPORT_FILE = "report.json"
LOCK_FILE = ".lock"
DEFAULT_FOLDER = Path("runs")


class RunFolder:
    """The directory of one run, which no other run may use at the same time.

    A context: it is locked inside, and removed afterwards if nothing was written to it. The lock
    ends with the process that holds it, however that ends.

    Of a URI the directory is a copy on this machine, made for the context; what was written to it
    is kept there at the end, and checkpoints while they are made. A store has no locks.

    Attributes:
        place: Absolute path of the directory, or the URI.
        path: Absolute path of the directory, or of the copy.

    Raises:
        OutputError: Nothing here opens the URI.
    """

    def __init__(self, place: Path | str) -> None:
        self.place = settle(place)
        self.remote = is_uri(self.place)
        copy = Path(tempfile.gettempdir()) / f"st_ray-{uuid.uuid4().hex[:12]}"
        self.path = copy if self.remote else Path(self.place)
        self._lock = FileLock(self.path / LOCK_FILE, timeout=0)

    def __enter__(self) -> Self:
        """Lock it.

        Raises:
            OutputError: Another run holds it, or it cannot be written.
        """
        with _claiming(self.path):
            if self.remote:
                make(self.place)
            self.path.mkdir(0o700 if self.remote else 0o777, parents=True, exist_ok=True)
            claim(self._lock, self.path, "run")
        return self

    def __exit__(self, kind: type[BaseException] | None, *unused: object) -> None:
        """Unlock it; remove it, and runs/ above it, if empty; keep what a copy holds.

        Raises:
            OutputError: The URI cannot be written to.
        """
        self._lock.release()
        if self.remote:
            try:
                with suppress(OutputError) if kind else nullcontext():  # the first error says more
                    self._keep_all()
            finally:
                shutil.rmtree(self.path, ignore_errors=True)
            return
        try:
            if [entry.name for entry in self.path.iterdir()] == [LOCK_FILE]:
                (self.path / LOCK_FILE).unlink()
            self.path.rmdir()
            if self.path.parent == DEFAULT_FOLDER.absolute():
                self.path.parent.rmdir()
        except OSError:
            return

    def _keep_all(self) -> None:
        """All but what is kept while it is made; the report last, for it marks a finished run."""
        made = [path for path in self.path.iterdir() if path.name not in (LOCK_FILE, "checkpoints")]
        for path in sorted(made, key=lambda path: (path.name == REPORT_FILE, path)):
            self.keep(path)
        if not names(self.place):
            remove(self.place)

    def keep(self, path: Path) -> None:
        """Copy a file or folder of a copy to where it stays."""
        if self.remote:
            push(path, join(self.place, path.name))

    def bring(self, name: str) -> None:
        """Copy a file that an earlier process kept to the copy, if there is one."""
        if self.remote and exists(join(self.place, name)):
            pull(join(self.place, name), self.path / name)

    @property
    def finished(self) -> bool:
        """Whether a run has ended here: its report is written last."""
        return exists(join(self.place, REPORT_FILE))

    @property
    def storage(self) -> str | None:
        """The URI of `checkpoints`, if it is a copy."""
        return join(self.place, "checkpoints") if self.remote else None

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
        return self.path / "split.json"

    @property
    def started(self) -> bool:
        """Whether a run has begun to train here."""
        return exists(join(self.place, RUN_FILE))

    def begin(self, spec: RunSpec, curriculum: Curriculum) -> None:
        """Record what is about to be trained, once; all input has been checked by now."""
        with writing(self.path):
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            if not self.started:
                save_curriculum(curriculum, self.path / CURRICULUM_FILE)
                save_spec(spec, self.path / RUN_FILE)
                self.keep(self.path / CURRICULUM_FILE)
                self.keep(self.path / RUN_FILE)

    def recorded_spec(self) -> RunSpec:
        """The spec of the run that began here."""
        return spec_from_table(load_spec(join(self.place, RUN_FILE)))

    def recorded_curriculum(self) -> Curriculum:
        """The curriculum of the run that began here."""
        return load_curriculum(join(self.place, CURRICULUM_FILE))


def find_folder(spec: RunSpec, *, resume: bool) -> RunFolder:
    """The output directory of a run, to be entered before anything is written.

    Raises:
        OutputError: It holds another run, or there is nothing to resume.
    """
    if spec.out is None:
        if resume:
            raise OutputError("--resume needs --out DIR, the directory of the run to go on with")
        return RunFolder(Path(default_out(spec)))
    folder = RunFolder(spec.out)
    if resume:
        _require_same(spec, folder)
    elif folder.started or folder.finished:
        state = "a finished" if folder.finished else "an unfinished"
        remedy = "pass --resume to go on with it, or choose" if folder.started else "choose"
        raise OutputError(f"{folder.place} holds {state} run; {remedy} another --out")
    return folder


def default_out(spec: RunSpec) -> str:
    """Make a new directory under runs/, named after scene, backbone, curriculum, seed and time.

    Raises:
        OutputError: It cannot be made.
    """
    curriculum = Path(bare(spec.curriculum)).stem
    parts = Path(spec.scene.name).stem, spec.backbone.rpartition(":")[2], curriculum
    stem = "-".join((*parts, f"seed{spec.seed}", time.strftime("%Y%m%d-%H%M%S")))
    for number in count(1):
        path = DEFAULT_FOLDER / (stem if number == 1 else f"{stem}-{number}")
        with _claiming(path.absolute()):
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                continue
        return str(path)
    raise AssertionError  # count() does not end


def claim(lock: FileLock, folder: Path, who: str) -> None:
    """Take the lock of a folder that one process at a time may write to.

    Args:
        lock: Of no patience.
        folder: What it guards.
        who: In a word, who else may hold it: "run" or "process".

    Raises:
        OutputError: Another holds it.
    """
    try:
        lock.acquire()
    except Timeout:
        raise OutputError(
            f"another {who} is writing to {folder}; wait for it, or choose another --out"
        ) from None
    except NotImplementedError:
        return  # filelock's word for a file system without locks: it goes on unlocked


def _claiming(path: Path) -> AbstractContextManager[None]:
    return writing(f"to {path}", remedy="choose a writable --out")


def _require_same(spec: RunSpec, folder: RunFolder) -> None:
    if not folder.started:
        raise OutputError(f"{folder.place} holds no run to resume; leave --resume out")
    changed = differences(spec, folder.recorded_spec())
    if changed:
        raise OutputError(
            f"{folder.place} holds a run with other settings ({', '.join(changed)}); "
            "resume with the same ones, or train into another --out"
        )
