"""How samples lie with the workers: every sample has one, and all take the same steps."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from st_ray.errors import SpecError
from st_ray.learn.peers import Peers
from st_ray.learn.placement import Replicated, Sharded, plan_shards
from st_ray.spectral.patches import Samples


def samples_in(rows: list[int]) -> Samples:
    centres = np.stack([np.asarray(rows), np.zeros(len(rows), np.int64)], axis=1)
    return Samples(centres_N2=centres, targets_N=np.zeros(len(rows), np.int64))


def test_batches_differ_by_at_most_one_sample() -> None:
    placement = Replicated(Peers())
    sizes = [len(batch) for batch in placement.batches(np.arange(130), samples_in([0]), 64)]
    assert sizes == [44, 43, 43]
    assert [len(b) for b in placement.batches(np.arange(3), samples_in([0]), 64)] == [3]


@given(
    st.integers(1, 4),
    st.integers(1, 40),
    st.lists(st.integers(0, 29), min_size=30, max_size=200),
    st.booleans(),
)
def test_every_sample_is_trained_by_the_worker_that_holds_it(world, size, rows, sharded) -> None:
    samples = samples_in(rows)
    bounds = tuple(np.linspace(0, 30, world + 1).astype(int).tolist())
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(len(rows)), 2))
    placements = [
        Sharded(Peers(rank=rank, world=world), bounds)
        if sharded
        else Replicated(Peers(rank=rank, world=world))
        for rank in range(world)
    ]
    plans = [placement.batches(order, samples, size) for placement in placements]
    taken = []
    for rank, plan in enumerate(plans):
        assert len(plan) == len(plans[0])
        for batch, same in zip(plan, plans[0], strict=True):
            assert np.array_equal(batch.index_M, same.index_M)
            assert batch.cuts == same.cuts
            mine = batch.index_M[batch.cuts[rank] : batch.cuts[rank + 1]]
            if sharded:
                held = samples.centres_N2[mine, 0]
                assert ((held >= bounds[rank]) & (held < bounds[rank + 1])).all()
            taken.append(mine)
    assert np.array_equal(np.sort(np.concatenate(taken)), np.sort(order))
    scored = np.concatenate([placement.mine(samples) for placement in placements])
    assert np.array_equal(np.sort(scored), np.arange(len(rows)))


def test_a_worker_takes_the_same_share_of_every_batch() -> None:
    rows = [0] * 60 + [5] * 20
    (first, *rest) = Sharded(Peers(world=2), (0, 5, 10)).batches(
        np.random.default_rng(0).permutation(80), samples_in(rows), 16
    )
    for batch in (first, *rest):
        assert batch.cuts == (0, 12, 16)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=60), st.integers(1, 5))
def test_shards_are_neighbours_of_about_equal_weight(weights, world) -> None:
    try:
        cuts = plan_shards(weights, world, steps=1)
    except SpecError:
        return
    assert cuts[0] == 0
    assert cuts[-1] == len(weights)
    assert list(cuts) == sorted(cuts)
    held = [sum(weights[a:b]) for a, b in pairwise(cuts)]
    assert min(held) >= 1
    assert max(held) <= sum(weights) / world + 2 * max(weights)


def test_a_shard_with_too_few_samples_is_one_line() -> None:
    with pytest.raises(SpecError, match=r"hold 1 training pixels for 4 batches.*tiles.side"):
        plan_shards([100, 1], 2, steps=4)
