"""The processes that measure: each on cores of its own, one cell at a time."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from threading import Event
from typing import Any, TypeVar

from st_ray.bench.measure import warm_up
from st_ray.engine import settle_process
from st_ray.errors import SpecError, TrainingError

Made = TypeVar("Made")
# What libraries read once, when a process loads them.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Worker:
    """One process on fixed cores; calls run there one after another.

    Args:
        slot: Which cores: `threads` from ``slot * threads`` on.
        threads: Of every call.
    """

    def __init__(self, slot: int, threads: int) -> None:
        self.slot, self.threads = slot, threads
        self._pool: ProcessPoolExecutor | None = None

    def call(self, function: Callable[..., Made], *args: Any, **kwargs: Any) -> Made:
        """Run a function there and wait.

        Raises:
            WorkerDiedError: The process died.
        """
        if self._pool is None:
            with _environment(self.threads):
                self._pool = ProcessPoolExecutor(
                    max_workers=1,
                    mp_context=multiprocessing.get_context("spawn"),
                    initializer=_settle,
                    initargs=(self.slot, self.threads),
                )
                self._pool.submit(os.getpid).result()
        try:
            return self._pool.submit(function, *args, **kwargs).result()
        except BrokenProcessPool:
            self.close()
            raise WorkerDiedError(
                "the measuring process died, perhaps for want of memory; what was measured is "
                "kept: repeat the command, with fewer --jobs"
            ) from None

    def close(self) -> None:
        """Stop the process."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            for process in list((self._pool._processes or {}).values()):
                process.terminate()
            self._pool = None


class WorkerDiedError(TrainingError):
    """A measuring process died."""


class OutOfTimeError(Exception):
    """The time that was granted is over; what is measured is kept."""


def check_cores(jobs: int, threads: int) -> None:
    """See that every run can have cores of its own.

    Raises:
        SpecError: There are too few.
    """
    cores = len(os.sched_getaffinity(0))
    if jobs * threads > cores:
        raise SpecError(
            f"--jobs {jobs} with --threads {threads} need {jobs * threads} cores, this machine "
            f"has {cores}; use fewer of either, for timings would disturb each other"
        )


Task = Callable[[Worker], None]


def run_all(tasks: Iterable[Task], *, jobs: int, threads: int) -> bool:
    """Run tasks in their order, as many at a time as there are jobs, each with a worker.

    The first error ends it; what was measured is kept.

    Returns:
        Whether all were run: False if one was out of time.

    """
    waiting: SimpleQueue[Task] = SimpleQueue()
    for task in tasks:
        waiting.put(task)
    stop = Event()

    def drain(worker: Worker) -> bool:
        whole = True
        while not stop.is_set():
            try:
                waiting.get_nowait()(worker)
            except Empty:
                break
            except OutOfTimeError:
                whole = False  # what is left may have been measured by an earlier call
            except BaseException:
                stop.set()
                raise
        return whole

    workers = [Worker(slot, threads) for slot in range(jobs)]
    with ThreadPoolExecutor(jobs) as pool:
        try:
            running = [pool.submit(drain, worker) for worker in workers]
            ended = [done.result() for done in as_completed(running)]
            return all(ended)
        finally:
            stop.set()
            for worker in workers:
                worker.close()


@contextmanager
def _environment(threads: int) -> Iterator[None]:
    """The environment that a process started inside inherits."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _settle(slot: int, threads: int) -> None:
    """Pin the process, and warm up what loads late: else the first cell pays for it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[slot * threads : (slot + 1) * threads])
    settle_process(threads)
    warm_up(threads)
