"""The engine in this process."""

from __future__ import annotations

import torch
from threadpoolctl import threadpool_info, threadpool_limits

from st_ray import ClusterSpec
from st_ray.engine import LocalEngine


def test_the_threads_asked_for_hold_for_torch_and_for_numpy() -> None:
    threadpool_limits(2, "blas")
    torch.set_num_threads(2)
    with LocalEngine(ClusterSpec(workers=0, threads=1, device="cpu")):
        counts = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
        assert counts
        assert set(counts) == {1}
        assert torch.get_num_threads() == 1
