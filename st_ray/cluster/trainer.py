"""The training of a curriculum as one Ray Train run with its stages inside.

A second `fit()` would cost about 20 s of start-up; a change of stage inside the loop costs
milliseconds. Checkpoints are `st_ray.learn.checkpoint`'s own, in the run's folder, which every
worker must reach, or in a store that it is a copy of: one code path resumes after a killed worker
and after a killed driver, with and without Ray, and no epoch waits for Ray's polled `report()`.
"""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import threading
import time
import traceback
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import ray
import ray.train
import ray.train.torch
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.util.queue import Empty, Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from st_ray.cluster.room import look_around
from st_ray.cluster.session import root_cause
from st_ray.config import ClusterSpec
from st_ray.engine import SHARE_OF_MEMORY, free_memory, hold, settle_process
from st_ray.errors import StRayError, TrainingError
from st_ray.learn.fit import Listen, fit
from st_ray.learn.job import Job
from st_ray.learn.mailbox import Mailbox
from st_ray.learn.mirror import bring, own_copy
from st_ray.learn.outcome import Outcome
from st_ray.learn.peers import Peers
from st_ray.spectral.ingest import StackPlan
from st_ray.spectral.patches import TileStack
from st_ray.storage import join, remove

_FETCH_TIMEOUT_S = 600.0
_POLL_S = 0.5
_PATIENCE = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"
_NOTICE_S, _BOOT_S = 30, 900


def train_on_workers(
    job: Job, data: TileStack | StackPlan, spec: ClusterSpec, listen: Listen
) -> None:
    """Run `fit` on Ray Train workers; hand their events to `listen` while they run.

    Raises:
        TrainingError: The loss diverged, or workers died more often than the spec allows.
    """
    queue = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": _here()})
    relay = _Relay(queue, listen)
    # Of workers, and of Ray itself, which would otherwise try without end.
    failures: dict[str, Any] = dict.fromkeys(
        ("max_failures", "controller_failure_limit"), spec.max_failures
    )
    trainer = ray.train.torch.TorchTrainer(
        _worker,
        train_loop_config={
            "job": job,
            # What every worker needs travels once to a node; what each makes itself is small.
            "values": ray.put(data.values_REK) if isinstance(data, TileStack) else None,
            "plan": None if isinstance(data, TileStack) else data,
            "halo": job.halo,
            "queue": queue,
            "threads": spec.threads,
        },
        scaling_config=ScalingConfig(
            num_workers=_workers(spec),
            use_gpu=spec.device == "cuda",
            resources_per_worker={"CPU": max(1, spec.threads)},
        ),
        run_config=RunConfig(
            name=f"fit-{uuid.uuid4().hex[:8]}",
            storage_path=join(job.storage or job.folder, "ray"),
            failure_config=FailureConfig(**failures),
        ),
    )
    relay.start()
    broken: Exception | None = None
    try:
        with _usual_interrupt(), _patience(spec):
            trainer.fit()
    except ray.train.TrainingFailedError as error:
        broken = error
    finally:
        relay.stop()
        queue.shutdown(force=True)
    if relay.failure:  # says more than what its peers then died of
        raise relay.failure from broken
    if broken:
        raise TrainingError(f"training failed: {root_cause(broken)}") from broken
    shutil.rmtree(job.folder / "ray", ignore_errors=True)  # Ray's own notes of a finished run
    if job.storage is not None:
        remove(join(job.storage, "ray"))
    bring(job)
    if not Outcome.exists(job.folder, job.fingerprint):
        raise TrainingError(
            f"the workers ended without a result in {job.storage or job.folder}; is it on storage "
            "that all nodes share?"
        )


def _workers(spec: ClusterSpec) -> Any:
    """How many workers, in Ray Train's words: a number, or the least and the most."""
    most = spec.workers or 1
    return most if spec.least_workers is None else (spec.least_workers, most)


def _here() -> NodeAffinitySchedulingStrategy:
    """On the driver's own node: what other nodes hold may be lost with them."""
    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


@contextmanager
def _patience(spec: ClusterSpec) -> Iterator[None]:
    """Tell Ray Train how long workers may wait for room, unless the user has.

    An elastic run is to take what there is, as soon as Ray has noticed a loss (it looks every
    20 s). Other runs wait for a node that the autoscaler adds.
    """
    seconds = None
    if spec.least_workers is not None:
        seconds = _NOTICE_S
    elif look_around().grows:
        seconds = _BOOT_S
    if seconds is None or _PATIENCE in os.environ:
        yield
        return
    os.environ[_PATIENCE] = str(seconds)
    try:
        yield
    finally:
        del os.environ[_PATIENCE]


@contextmanager
def _usual_interrupt() -> Iterator[None]:
    """Undo what `fit` makes of Ctrl-C: it leaves its own handler behind and ends in exit code 0.

    Raises:
        KeyboardInterrupt: On Ctrl-C, after Ray has aborted the run.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # where Ray cannot set a handler either
        return
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit:
        raise KeyboardInterrupt from None
    finally:
        signal.signal(signal.SIGINT, before)


def _worker(config: dict[str, Any]) -> None:
    """What every Ray Train worker runs.

    What would fail again is told to the driver rather than raised: Ray would restart the workers
    for it. A RuntimeError may be a lost peer's, and is Ray's to retry.
    """
    context = ray.train.get_context()
    threads = config["threads"] or (os.cpu_count() or 1) // context.get_local_world_size()
    settle_process(max(1, threads))
    peers = _peers(context.get_world_rank(), context.get_world_size())
    queue: Queue = config["queue"]
    tell = _Tell(queue) if peers.rank == 0 else _mute
    tell({"kind": "worker", "time": time.time(), "world": peers.world})
    data: TileStack | StackPlan | None = config["plan"]
    if data is None:
        values_REK = ray.get(config["values"], timeout=_FETCH_TIMEOUT_S)
        data = TileStack(values_REK=values_REK, halo=config["halo"])
    memory = free_memory() * SHARE_OF_MEMORY / context.get_local_world_size()
    job = config["job"]
    try:
        with ExitStack() as held:
            job = held.enter_context(own_copy(job))
            # One may fail where others do not, for instance on a full disk.
            stack = peers.on_all(lambda: held.enter_context(hold(data, job, peers.rank, memory)))
            fit(job, stack, peers=peers, device=ray.train.torch.get_device(), listen=tell)
    except StRayError as error:
        if peers.rank == 0:
            queue.put(_packed({"kind": "failed", "message": str(error)}))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        traceback.print_exc()  # --verbose shows it
        message = f"training failed: {type(error).__name__}: {error}"
        queue.put(_packed({"kind": "failed", "message": message}))


def _peers(rank: int, world: int) -> Peers:
    on_cpu = world > 1 and ray.train.torch.get_device().type == "cpu"
    return Peers(rank=rank, world=world, mailbox=Mailbox.open(rank, world) if on_cpu else None)


class _Tell:
    """Sends events to the driver without waiting for it."""

    def __init__(self, queue: Queue) -> None:
        self._actor: Any = queue.actor

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Send one."""
        self._actor.put_nowait.remote(_packed(event))


def _packed(event: Mapping[str, Any]) -> bytes:
    """An event as bytes: the queue's process would import torch, seconds of a core, to hold it."""
    return pickle.dumps(dict(event))


def _mute(event: object) -> None:
    del event


class _Relay:
    """Hands the workers' events to a listener, from a thread of the driver.

    Attributes:
        failure: What a worker or the listener itself failed with.
    """

    def __init__(self, queue: Queue, listen: Listen) -> None:
        self.failure: Exception | None = None
        self._queue = queue
        self._listen = listen
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Hand over what is left, and end."""
        self._stopping.set()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        while True:
            last = self._stopping.is_set()
            for event in self._waiting():
                self._hand_over(event)
            if last:
                return
            self._stopping.wait(_POLL_S)

    def _hand_over(self, event: dict[str, Any]) -> None:
        if event["kind"] == "failed":
            self.failure = TrainingError(event["message"])
        elif self.failure is None:
            try:
                self._listen(event)
            except Exception as error:  # the listener's own: raised when training ends
                self.failure = error

    def _waiting(self) -> list[dict[str, Any]]:
        events = []
        try:
            while True:
                events.append(pickle.loads(self._queue.get_nowait()))
        except (Empty, ray.exceptions.RayError):
            return events
