"""The trials of a search on Ray Tune.

Tune asks a searcher for the next trial, runs trials as actors, stops those that fall behind, and
starts one again whose node was lost, which then goes on from its newest checkpoint. What is asked
next, what is known, and what a trial does is the caller's (`st_ray.search`).
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import ray
import ray.tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from st_ray.cluster.session import root_cause
from st_ray.config import ClusterSpec
from st_ray.errors import SpecError, TrainingError
from st_ray.storage import is_uri, join, remove

Row = dict[str, Any]
# (trial, what all share, report): train, and report plain numbers.
Work = Callable[[Any, Any, Callable[[Row], None]], None]


class AskTell(Protocol):
    """Hands out what is to be tried, and takes in what came of it."""

    @property
    def over(self) -> bool:
        """Whether nothing more will be handed out."""

    def next(self) -> Any:
        """What to try; None while something else must be told first."""

    def tell(self, asked: Any, row: Row) -> None:
        """What came of it: numbers; "state" is missing where it was stopped early."""


# ASHA: one trial in three goes on at each rung; the first is at a ninth of the longest trial.
_REDUCTION = 3
_ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the ledger holds what matters
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_WARN_THRESHOLD_S": "60",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # its own ends in a search that looks finished
    "RAY_AIR_NEW_OUTPUT": "0",  # the new one talks even when told not to
}
# What a trial reports, of all that Tune adds to it.
_REPORTED = (
    *("compute", "spent", "accuracy", "oa", "aa", "kappa"),
    *("epochs", "seconds", "state", "error"),
)


def room_for(cluster: ClusterSpec, device: str) -> int:
    """How many trials fit onto the cluster at a time.

    Raises:
        SpecError: Not one.
    """
    resources, workers = ray.cluster_resources(), cluster.workers or 1
    room = int(resources.get("CPU", 1)) // (max(1, cluster.threads) * workers)
    if device == "cuda":
        room = min(room, int(resources.get("GPU", 0)) // workers)
    if room < 1:
        raise SpecError(
            f"the cluster has no room for a trial of {workers} worker(s) with "
            f"{max(1, cluster.threads)} CPU(s) each; use fewer --workers"
        )
    return room


def run_on_tune(
    course: AskTell,
    make: Callable[[Any], Any],
    work: Work,
    shared: Any,
    *,
    cluster: ClusterSpec,
    abreast: int,
    longest: float | None,
    place: str,
) -> None:
    """Train what the course hands out, several trials at a time, until it is over.

    Args:
        course: Hands out what to try.
        make: The trial of it, which travels to an actor.
        work: What an actor does with it; it must report "accuracy".
        shared: What all trials need; it is put into the object store once.
        cluster: Workers, threads and device of a trial.
        abreast: Trials at a time.
        longest: The most "compute" that a trial reports, if trials may be stopped early.
        place: Directory or URI that every node reaches; Tune's own notes are removed at the end.

    Raises:
        TrainingError: Tune itself failed.
    """
    if course.over:
        return
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    nested = (cluster.workers or 1) > 1
    # What only watches its own workers leaves all CPUs to them; Tune refuses a trial of nothing.
    resources: dict[str, float] = {"memory": 1.0} if nested else {"CPU": max(1, cluster.threads)}
    if cluster.device == "cuda" and not nested:
        resources["GPU"] = 1
    storage = join(place, "tune")
    run: Any = partial(_run, shared=ray.put(shared), work=work)
    tuner = ray.tune.Tuner(
        ray.tune.with_resources(run, resources),
        tune_config=ray.tune.TuneConfig(
            metric="accuracy",
            mode="max",
            num_samples=-1,
            search_alg=_Asker(course, make),
            scheduler=_scheduler(longest),
            max_concurrent_trials=abreast,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=ray.tune.RunConfig(
            name=uuid.uuid4().hex[:8],
            storage_path=storage,
            failure_config=ray.tune.FailureConfig(max_failures=cluster.max_failures),
            verbose=0,
        ),
    )
    try:
        tuner.fit()
    except (ray.tune.TuneError, ray.exceptions.RayError) as error:
        raise TrainingError(f"Ray Tune failed: {root_cause(error)}") from error
    finally:
        if is_uri(storage):
            remove(storage)
        else:
            shutil.rmtree(storage, ignore_errors=True)


def _scheduler(longest: float | None) -> TrialScheduler:
    """ASHA with its rungs in compute: stages that cost little do not count as much as others."""
    if longest is None:
        return FIFOScheduler()
    limits: dict[str, Any] = {"max_t": longest, "grace_period": longest / _REDUCTION**2}
    return ASHAScheduler(
        time_attr="compute", reduction_factor=_REDUCTION, stop_last_trials=False, **limits
    )


class _Asker(Searcher):
    """A course as Tune knows it."""

    def __init__(self, course: AskTell, make: Callable[[Any], Any]) -> None:
        super().__init__(metric="accuracy", mode="max")
        self._course, self._make = course, make
        self._asked: dict[str, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Nothing of the course: Tune keeps a copy of its own, which nobody reads."""
        return {"_metric": self._metric, "_mode": self._mode}

    def suggest(self, trial_id: str) -> Any:
        """The next trial; None to be asked again later."""
        asked = self._course.next()
        if asked is None:
            return Searcher.FINISHED if self._course.over else None
        self._asked[trial_id] = asked
        return {"trial": self._make(asked)}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell the course what came of a trial."""
        row = {name: result[name] for name in _REPORTED if name in result} if result else {}
        if error or not row:
            row = {**row, "state": "failed", "error": "its process died", "transient": True}
        self._course.tell(self._asked.pop(trial_id), row)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is saved at every trial."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, likewise."""


def _run(config: dict[str, Any], shared: Any, work: Work) -> None:
    """What a trial's actor does."""
    work(config["trial"], ray.get(shared), ray.tune.report)
