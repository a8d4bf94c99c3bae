"""The output directory of a run: claimed before work starts, finished when report.json is there."""

from __future__ import annotations

import os
import time
from pathlib import Path

from st_ray.config import RunSpec, differences, load_spec, save_spec, spec_from_table
from st_ray.errors import OutputError
from st_ray.learn.curriculum import Curriculum, load_curriculum, save_curriculum

RUN_FILE = "run.toml"
CURRICULUM_FILE = "curriculum.toml"
REPORT_FILE = "report.json"


class RunFolder:
    """Paths of one run.

    Attributes:
        path: Absolute path of the directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

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
        """Record what is about to be trained; all input has been checked by now."""
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        save_curriculum(curriculum, self.path / CURRICULUM_FILE)
        save_spec(spec, self.path / RUN_FILE)

    def recorded_spec(self) -> RunSpec:
        """The spec of the run that began here."""
        return spec_from_table(load_spec(self.path / RUN_FILE))

    def recorded_curriculum(self) -> Curriculum:
        """The curriculum of the run that began here."""
        return load_curriculum(self.path / CURRICULUM_FILE)

    def leave_if_empty(self) -> None:
        """Remove the directory again if nothing was written to it."""
        try:
            self.path.rmdir()
        except OSError:
            return


def claim_folder(spec: RunSpec, *, resume: bool) -> RunFolder:
    """Make sure that a run may write to its output directory.

    Raises:
        OutputError: It holds another run, or cannot be written; or there is nothing to resume.
    """
    if spec.out is None and resume:
        raise OutputError("--resume needs --out DIR, the directory of the run to go on with")
    folder = RunFolder(Path(spec.out or default_out(spec)))
    if resume:
        _require_same(spec, folder)
    if folder.started and not resume:
        state = "a finished" if folder.report.exists() else "an unfinished"
        raise OutputError(
            f"{folder.path} holds {state} run; pass --resume to go on with it, "
            "or choose another --out"
        )
    _require_writable(folder.path)
    return folder


def default_out(spec: RunSpec) -> str:
    """A new directory under runs/, named after scene, backbone, curriculum and time."""
    names = Path(spec.scene.name).stem, spec.backbone.rpartition(":")[2], Path(spec.curriculum).stem
    return str(Path("runs") / "-".join((*names, time.strftime("%Y%m%d-%H%M%S"))))


def _require_same(spec: RunSpec, folder: RunFolder) -> None:
    if not folder.started:
        raise OutputError(f"{folder.path} holds no run to resume; leave --resume out")
    changed = differences(spec, folder.recorded_spec())
    if changed:
        raise OutputError(
            f"{folder.path} holds a run with other settings ({', '.join(changed)}); "
            "resume with the same ones, or train into another --out"
        )


def _require_writable(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".probe_{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(
            f"cannot write to {path}: {error.strerror}; choose a writable --out"
        ) from None
