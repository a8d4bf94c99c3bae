"""How many workers a cluster is asked for, by what it has and may get."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from st_ray import ClusterSpec
from st_ray.cluster.room import Room, choose_workers, with_all_nodes
from st_ray.errors import SpecError

FULL = Room(cpus=8, gpus=2, most_cpus=8, most_gpus=2)
FROM_ZERO = Room(cpus=3, gpus=0, most_cpus=16, most_gpus=4, grows=True)


@pytest.mark.parametrize(
    ("settings", "device", "room", "workers"),
    [
        ({}, "cpu", FULL, 2),
        ({}, "cuda", FULL, 2),
        ({}, "cuda", FROM_ZERO, 1),  # no more nodes than are needed
        ({"workers": 4}, "cuda", FROM_ZERO, 4),
        ({"workers": 4, "least_workers": 2}, "cuda", FULL, 4),  # the others may come
        ({"threads": 4, "workers": 2}, "cpu", FULL, 2),
    ],
)
def test_workers_are_those_asked_for_or_what_there_is(settings, device, room, workers) -> None:
    assert choose_workers(ClusterSpec(**settings), device, room) == workers


@pytest.mark.parametrize(
    ("settings", "device", "room", "message"),
    [
        ({"workers": 3}, "cuda", FULL, "--workers 3, .* and 2 GPUs; use --workers 2 or fewer"),
        ({"workers": 5}, "cuda", FROM_ZERO, "use --workers 4 or fewer"),
        ({"threads": 9}, "cpu", FULL, "9 CPUs, exceed .* or a smaller cluster.threads"),
        ({"workers": 9, "least_workers": 3}, "cuda", FULL, "least_workers=3, .* use 2 or fewer"),
        ({"least_workers": 3}, "cuda", FULL, "exceeds the 2 workers .* at most with --workers"),
    ],
)
def test_what_can_never_start_is_refused(settings, device, room, message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        choose_workers(ClusterSpec(**settings), device, room)
    assert "\n" not in str(caught.value)


def test_nodes_that_cluster_yaml_may_add_count_as_room() -> None:
    launched = yaml.safe_load((Path(__file__).resolve().parents[2] / "cluster.yaml").read_text())
    assert with_all_nodes(launched) == {"CPU": 3 + 4 * 4, "GPU": 4}
    assert with_all_nodes({**launched, "max_workers": 1}) == {"CPU": 3 + 4, "GPU": 1}


def test_machines_of_ones_own_are_counted_as_they_come() -> None:
    kinds = {"local.cluster.node": {"resources": {}, "max_workers": 2}}
    launched = {"head_node_type": "local.cluster.node", "available_node_types": kinds}
    assert not with_all_nodes(launched)
    assert not with_all_nodes({})
