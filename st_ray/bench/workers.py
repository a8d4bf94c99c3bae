"""The processes that measure: each on cores of its own, one cell at a time."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from queue import Empty, SimpleQueue
from typing import Any, TypeVar, cast

from st_ray.bench.measure import warm_up
from st_ray.engine import call_glibc, settle_process, usable_cores
from st_ray.errors import SpecError, StRayError, TrainingError
from st_ray.learn.backbones import one_line

Made = TypeVar("Made")
# What libraries read once, when a process loads them.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_CONTEXT = multiprocessing.get_context("spawn")


class WorkerDiedError(TrainingError):
    """A measuring process died."""


class WorkerClosedError(Exception):
    """The benchmark is ending."""


class OutOfTimeError(Exception):
    """Something is not measured and may not be any more; what is measured is kept."""


class Worker:
    """One process on fixed cores; calls run there one after another.

    Args:
        slot: Which cores: `threads` from ``slot * threads`` on.
        threads: Of every call.
        backbones: What is warmed up before the first call.
    """

    def __init__(self, slot: int, threads: int, backbones: Sequence[str]) -> None:
        self.slot, self.threads, self.backbones = slot, threads, backbones
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None
        self._closed = False

    def call(self, function: Callable[..., Made], *args: Any, **kwargs: Any) -> Made:
        """Run a function there and wait.

        Raises:
            StRayError: What the function raised; any other error of it as a `TrainingError`.
            WorkerDiedError: The process died.
            WorkerClosedError: It was closed, before or meanwhile.
        """
        if self._closed:
            raise WorkerClosedError
        try:
            if self._pipe is None:
                self._start()
            assert self._pipe is not None
            self._pipe.send((function, args, kwargs))
            return cast(Made, self._answer())
        except (EOFError, OSError):
            if self._closed:
                raise WorkerClosedError from None
            raise WorkerDiedError(
                "the measuring process died, perhaps for want of memory; what was measured is "
                "kept: repeat the command, with fewer --jobs"
            ) from None

    def _start(self) -> None:
        self._pipe, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(
            target=_serve, args=(theirs, self.slot, self.threads, self.backbones), daemon=True
        )
        self._process.start()
        theirs.close()
        self._answer()

    def _answer(self) -> object:
        assert self._pipe is not None
        value, error = self._pipe.recv()
        if error is not None:
            raise error
        return value

    def close(self) -> None:
        """Stop the process, whatever it is doing."""
        self._closed = True
        if self._process is not None:
            self._process.kill()
            self._process.join()


def check_cores(jobs: int, threads: int) -> None:
    """See that every run can have cores of its own.

    Raises:
        SpecError: There are too few.
    """
    cores = len(usable_cores())
    if jobs * threads > cores:
        raise SpecError(
            f"--jobs {jobs} with --threads {threads} need {jobs * threads} cores, this machine "
            f"has {cores}; use fewer of either, for timings would disturb each other"
        )


Task = Callable[[Worker], None]


def run_all(tasks: Iterable[Task], *, jobs: int, threads: int, backbones: Sequence[str]) -> bool:
    """Run tasks in their order, as many at a time as there are jobs, each with a worker.

    The first error ends it; what was measured is kept.

    Returns:
        Whether all were run: False if one was out of time.
    """
    waiting: SimpleQueue[Task] = SimpleQueue()
    for task in tasks:
        waiting.put(task)
    workers = [Worker(slot, threads, backbones) for slot in range(jobs)]

    def drain(worker: Worker) -> bool:
        whole = True
        while True:
            try:
                waiting.get_nowait()(worker)
            except (Empty, WorkerClosedError):
                return whole
            except OutOfTimeError:
                whole = False
            except BaseException:
                _close(workers)
                raise

    with _environment(threads), ThreadPoolExecutor(jobs) as pool:
        try:
            running = [pool.submit(drain, worker) for worker in workers]
            ended = [done.result() for done in as_completed(running)]
            return all(ended)
        finally:
            _close(workers)


def _close(workers: Iterable[Worker]) -> None:
    for worker in workers:
        worker.close()


@contextmanager
def _environment(threads: int) -> Iterator[None]:
    """The environment that processes started inside inherit."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _serve(pipe: Connection, slot: int, threads: int, backbones: Sequence[str]) -> None:
    """What a worker's process does: answer calls with (value, error) until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    _die_with_parent()
    function: Callable[..., Any] = _settle
    args: tuple[Any, ...] = (slot, threads, backbones)
    kwargs: dict[str, Any] = {}
    answer: tuple[object, StRayError | None]
    while True:
        try:
            answer = function(*args, **kwargs), None
        except StRayError as error:
            answer = None, error
        except Exception as error:
            answer = None, TrainingError(one_line(error))
        try:
            pipe.send(answer)
            function, args, kwargs = pipe.recv()
        except (EOFError, OSError):
            return


def _settle(slot: int, threads: int, backbones: Sequence[str]) -> None:
    """Pin the process, and warm up what loads late: else the first cell pays for it."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, usable_cores()[slot * threads : (slot + 1) * threads])
    settle_process(threads)
    warm_up(threads, backbones)


def _die_with_parent() -> None:
    """On Linux: end when the parent ends, however that ends, and disturb no later timing."""
    call_glibc("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL)


_PR_SET_PDEATHSIG = 1
