"""What a Ray cluster has room for, now and with the nodes that its autoscaler may add."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from st_ray.config import ClusterSpec
from st_ray.errors import SpecError


@dataclass(frozen=True, kw_only=True, slots=True)
class Room:
    """CPUs and GPUs of a cluster.

    Attributes:
        cpus: At work now.
        gpus: Likewise.
        most_cpus: With all the nodes that may be added.
        most_gpus: Likewise.
        grows: Whether nodes may be added at all.
        store: Bytes of the smallest node's object store.
        nodes: That are there now.
    """

    cpus: int
    gpus: int
    most_cpus: int
    most_gpus: int
    grows: bool = False
    store: float = 0.0
    nodes: int = 1


# What Ray's launcher leaves on the head, where jobs' drivers run; Ray itself is asked in vain: its
# autoscaler tells nobody how far it may go.
_LAUNCHED = "~/ray_bootstrap_config.yaml"


def look_around() -> Room:
    """The room of the cluster that this process belongs to."""
    now, later = ray.cluster_resources(), with_all_nodes(_launched())
    cpus, gpus = max(1, int(now.get("CPU", 1))), int(now.get("GPU", 0))
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return Room(
        cpus=cpus,
        gpus=gpus,
        most_cpus=max(cpus, later.get("CPU", 0)),
        most_gpus=max(gpus, later.get("GPU", 0)),
        grows=bool(later),
        store=min(node.get("object_store_memory", 0.0) for node in nodes),
        nodes=len(nodes),
    )


def _launched() -> Mapping[str, Any]:
    """The settings that this cluster was launched with; empty if it was started otherwise."""
    try:
        found = json.loads(Path(_LAUNCHED).expanduser().read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):  # none; not a launcher's; no home directory
        return {}
    return found if isinstance(found, dict) else {}


def with_all_nodes(launched: Mapping[str, Any]) -> Counter[str]:
    """Resources of the head and of all the workers that may come; nothing if none may."""
    total: Counter[str] = Counter()
    kinds = dict(launched.get("available_node_types", {}))
    head = kinds.pop(launched.get("head_node_type"), {})
    for kind in kinds.values():
        nodes = min(kind.get("max_workers", 0), launched.get("max_workers", 0))
        total.update({name: nodes * each for name, each in kind["resources"].items()})
    if total:
        total.update(head.get("resources", {}))
    return total


def choose_workers(spec: ClusterSpec, device: str, room: Room) -> int:
    """The number of workers; where none is asked for, no node is added for more than one.

    Raises:
        SpecError: The cluster can never hold them; Ray would wait for it without end.
    """
    on_gpus = device == "cuda"
    usual = max(1, room.gpus) if on_gpus else min(2, room.most_cpus)
    workers = usual if spec.workers is None else spec.workers
    threads = max(1, spec.threads)
    most = room.most_cpus // threads
    if on_gpus:
        most = min(most, room.most_gpus)
    least = spec.least_workers
    if least is not None and least > workers:
        raise SpecError(
            f"cluster.least_workers={least} exceeds the {workers} workers of this cluster; "
            "say how many there should be at most with --workers"
        )
    if (least or workers) > most:
        asked = f"--workers {workers}" if least is None else f"cluster.least_workers={least}"
        other = f"--workers {most}" if least is None else f"{most}"
        each = f"{threads} CPU{'s' * (threads > 1)}" + " and a GPU" * on_gpus
        raise SpecError(
            f"{asked}, each with {each}, exceed the Ray cluster's {room.most_cpus} CPUs "
            f"and {room.most_gpus} GPUs; use {other} or fewer"
            + (", or a smaller cluster.threads" if threads > 1 else "")
        )
    return workers
