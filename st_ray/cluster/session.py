"""Connect to Ray, or start it on this machine, without its chatter unless asked for."""

from __future__ import annotations

import logging
import os
import re
import socket
import warnings

import ray
from ray._private.utils import read_ray_address

from st_ray.errors import SpecError

_ENVIRONMENT = {
    # How often a training run is looked at. Ray's two seconds delay its end; 0.1 s would cost a
    # tenth of a core, and a step that both cores share waits for the slower one.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    # Ray Train trains on a second thread, whose own arena glibc gives back piece by piece whatever
    # `settle_process` asks for: a fifth of a run of ssrn was the system's time, 8 % with one arena.
    "MALLOC_ARENA_MAX": "1",
    "RAY_worker_niceness": "0",  # Ray's own 15 lets every other process interrupt a step
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # no virtual environment of their own for workers
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # tasks without GPUs: silences a warning
}
# A process of every training run, which a Ray that is started here has no use for.
_WATCHER = "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"
_QUIET = {
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # every pool of actors brings a line of C++ to the terminal
}


class Session:
    """A connection to Ray that is closed only if it was opened here.

    Attributes:
        local: Whether Ray is this machine's own, rather than a cluster named by RAY_ADDRESS.
        started: Whether it was started here, and stops with this session.
    """

    def __init__(self, *, verbose: bool) -> None:
        self._verbose = verbose
        self._opened = self._unwatched = False
        self.local = not _address()
        self.started = False

    def open(self) -> None:
        """Connect to RAY_ADDRESS or the cluster this job runs on, or start Ray locally.

        Raises:
            SpecError: RAY_ADDRESS names a cluster that does not answer.
        """
        for name, value in (_ENVIRONMENT if self._verbose else {**_ENVIRONMENT, **_QUIET}).items():
            os.environ.setdefault(name, value)
        if not self._verbose:
            silence()
        if ray.is_initialized():
            return
        alone = not _address() and _no_cluster(read_ray_address())
        level = logging.INFO if self._verbose else logging.ERROR
        try:
            ray.init(
                "local" if alone else None,
                log_to_driver=self._verbose,
                logging_level=level,
                include_dashboard=False if not _address() else None,
                configure_logging=True,
            )
        except (ConnectionError, RuntimeError) as error:
            first = str(error).splitlines()[0]
            raise SpecError(
                f"cannot reach Ray at {_address() or 'this machine'}: {first}; "
                "check RAY_ADDRESS, or unset it to start Ray here"
            ) from error
        self._opened, self.started = True, alone
        if alone and _WATCHER not in os.environ:
            os.environ[_WATCHER], self._unwatched = "0", True

    def close(self) -> None:
        """Disconnect; a Ray that was started here stops."""
        if self._unwatched:  # the next Ray may be a cluster's
            os.environ.pop(_WATCHER, None)
        if self._opened:
            ray.shutdown()
        self._opened = self._unwatched = self.started = False


def silence() -> None:
    """Quieten this process's Ray loggers."""
    warnings.filterwarnings("ignore", module=r"ray\..*")
    for name in ("ray", "ray.data", "ray.train", "ray.tune"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def root_cause(error: BaseException) -> str:
    """The user's part of an error that Ray wraps in its own: the first that is not Ray's."""
    lines = str(error).splitlines()
    causes = [line.strip() for line in lines if re.match(r"\s*[\w.]+(Error|Exception): ", line)]
    own = [cause for cause in causes if not cause.startswith("ray.")]
    first = (own or causes or [type(error).__name__])[0]
    return f"{first} (--verbose shows Ray's own messages)"


def _no_cluster(noted: str | None) -> bool:
    """Whether Ray has noted no cluster as this machine's, or one that does not answer.

    One that was killed leaves its address behind, for which Ray would wait for minutes.
    """
    if not noted:
        return True
    host, _, port = noted.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_ANSWER_S).close()
    except (OSError, ValueError):
        return True
    return False


_ANSWER_S = 5.0


def _address() -> str | None:
    return os.environ.get("RAY_ADDRESS")
