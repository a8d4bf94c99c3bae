"""Whole runs in new interpreters, watched from outside: when what happened, and how much memory."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from st_ray.config import RunSpec, save_spec
from st_ray.errors import TrainingError

# What a child runs: the run that a file describes, with a note of every event.
_CHILD = """
import time, json, sys
from pathlib import Path
from st_ray.config import load_spec, spec_from_table
from st_ray.pipeline import run_curriculum
events = [{"kind": "imported", "time": time.time()}]
def listen(event):
    row = event.get("row")
    events.append({
        "kind": event["kind"], "name": event.get("name"), "time": event.get("time", time.time()),
        "stage": row.stage if row else None, "seconds": row.seconds if row else None,
    })
run_curriculum(spec_from_table(load_spec(Path(sys.argv[1]))), listen=listen)
events.append({"kind": "ended", "time": time.time()})
Path(sys.argv[2]).write_text(json.dumps(events))
"""
_LOOK_S = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Watched:
    """A run that is over.

    Attributes:
        asked: Unix time of the command.
        events: What it told, in order, each with "kind", "name", "time", "stage", "seconds".
        peak_bytes: Most resident memory of it and all its child processes, together; what they
            share counts once, where the system tells.
    """

    asked: float
    events: list[dict[str, Any]]
    peak_bytes: int

    def times(self) -> dict[str, float]:
        """Unix time at which each phase and each kind of event came first."""
        at: dict[str, float] = {}
        for event in self.events:
            at.setdefault(event.get("name") or event["kind"], event["time"])
        return at


def watch_run(spec: RunSpec, timeout: float) -> Watched:
    """Run a spec in a new interpreter; its output is thrown away.

    Raises:
        TrainingError: It failed, or took too long.
    """
    with tempfile.TemporaryDirectory(prefix="st_ray-bench-") as place:
        run, told = Path(place) / "spec.toml", Path(place) / "events.json"
        save_spec(replace(spec, out=str(Path(place) / "run")), run)
        asked = time.time()
        peak = watch_code(_CHILD, [str(run), str(told)], timeout)
        return Watched(asked=asked, events=json.loads(told.read_text()), peak_bytes=peak)


def watch_code(code: str, words: Sequence[str], timeout: float) -> int:
    """Run some code in a new interpreter; its output is thrown away.

    Args:
        code: What to run.
        words: Its `sys.argv`, from 1 on.
        timeout: Seconds that it may take.

    Returns:
        Most resident memory, as `Watched.peak_bytes`.

    Raises:
        TrainingError: It failed, or took too long.
    """
    command = [sys.executable, "-c", code, *words]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as child:
        memory = _Memory(child.pid)
        try:
            _, said = child.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            child.kill()
            raise TrainingError(f"a run took longer than {timeout:.0f} s") from None
        finally:
            peak = memory.stop()
    if child.returncode:
        lines = said.strip().splitlines() or ["no message"]
        said = re.sub(r"^st_ray\.errors\.\w+: ", "", lines[-1])
        raise TrainingError(f"a run failed: {said}")
    return peak


class _Memory:
    """Looks at a process tree's resident memory until told to stop."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._peak = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """The peak, bytes."""
        self._over.set()
        self._thread.join()
        return self._peak

    def _look(self) -> None:
        pause = _LOOK_S
        while not self._over.wait(pause):
            total, begun = 0, time.process_time()
            try:
                children = self._root.children(recursive=True)
                for process in (self._root, *children):
                    # What several share, such as Ray's object store, counts once.
                    full = process.memory_full_info() if children else process.memory_info()
                    total += getattr(full, "pss", full.rss)
            except psutil.Error:  # one has just ended
                continue
            self._peak = max(self._peak, total)
            # Looking takes a core's time from what is watched: at most a hundredth of it.
            pause = max(_LOOK_S, 100.0 * (time.process_time() - begun))
