"""Two and three workers against one, as gloo processes without Ray."""

from __future__ import annotations

import copy
import multiprocessing
import platform
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from st_ray.errors import OutputError
from st_ray.learn.loop import (
    Loss,
    PatchSource,
    epoch_order,
    epoch_turns,
    remember_rates,
    seed_everything,
    train_epoch,
)
from st_ray.learn.mailbox import Mailbox
from st_ray.learn.parallel import Share, globalise
from st_ray.learn.peers import Peers
from st_ray.learn.placement import Batch, Replicated, Sharded
from st_ray.learn.scoring import evaluate
from st_ray.spectral.patches import Samples
from tests.small_nets import model

CLASSES, COUNT = 3, 23

SAMPLES = Samples(
    centres_N2=np.stack([np.arange(COUNT), np.zeros(COUNT, dtype=np.int64)], 1),
    targets_N=np.sort(np.random.default_rng(2).integers(0, CLASSES, COUNT)),
)
# Rows of the stack that 2 and 3 workers own, unevenly; each lacks a class at least, and its pixels
# have a mean of their own, which a BatchNorm of its own would take away.
BOUNDS = {1: (0, COUNT), 2: (0, 9, COUNT), 3: (0, 4, 16, COUNT)}


def source(rows: slice = slice(None)) -> PatchSource:
    """All patches, or those of some rows of the stack, with the margin below them."""
    rng = np.random.default_rng(1)
    drift_R = np.linspace(-1.0, 1.0, COUNT + 4)[:, None, None]
    stack = torch.from_numpy((rng.normal(size=(COUNT + 4, 5, 4)) + drift_R).astype(np.float32))
    return PatchSource.of(stack[rows], 2, SAMPLES, 5, 4, first_row=rows.start or 0)


def everything() -> torch.Tensor:
    return source().gather(torch.arange(COUNT))[0]


def spread(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """A loss in which every sample meets every other."""
    return nn.functional.cross_entropy(logits, targets) / (1.0 + logits.std())


LOSSES = {
    "mean": nn.CrossEntropyLoss(label_smoothing=0.1),
    "weighted": nn.CrossEntropyLoss(weight=torch.tensor([5.0, 1.0, 0.1])),
    "sum": nn.CrossEntropyLoss(reduction="sum"),
    "spread": spread,
}
WORLDS = {3: ("mean", "spread"), 2: ("mean", "weighted", "sum")}


def train(peers: Peers, loss: Loss, shards: int = 0) -> dict[str, torch.Tensor]:
    """Train; with shards, on the batches of so many, of which this process has one or all."""
    share = Share()
    net = globalise(model(), share, peers)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    remember_rates(optimizer)
    wrapped = peers.wrap(net)
    losses = []
    mine, placement = source(), Replicated(peers)
    if shards:
        bounds = BOUNDS[peers.world]
        mine = source(slice(bounds[peers.rank], bounds[peers.rank + 1] + 4))
        placement = Sharded(peers, bounds)
    for epoch in range(3):
        seed_everything(0, epoch)
        order = epoch_order(np.zeros(COUNT, np.int64), 0, 0, epoch)
        if shards:
            batches = Sharded(Peers(world=shards), BOUNDS[shards]).batches(order, SAMPLES, 8)
            if peers.world == 1:
                batches = [Batch(batch.index_M, (0, len(batch))) for batch in batches]
        else:
            batches = placement.batches(order, SAMPLES, 8)
        turns = epoch_turns(len(batches), 0, epoch)
        stats = train_epoch(
            wrapped, mine, batches, optimizer, loss, lambda _: 1.0, share, peers, turns
        )
        losses.append(stats.loss)
    scored = placement.mine(SAMPLES)
    confusion, mean = evaluate(net, mine, scored, nn.functional.cross_entropy, CLASSES, peers)
    extra = {
        "losses": torch.tensor([*losses, mean]),
        "confusion": torch.from_numpy(confusion.counts_CC),
    }
    return {**copy.deepcopy(net.state_dict()), **extra}


def failure(peers: Peers) -> str:
    """What a worker hears when the first cannot write."""

    def fail() -> None:
        raise OutputError("no space")

    try:
        peers.on_first(fail)
    except OutputError as error:
        return str(error)
    return "nothing"


def own_failure(peers: Peers) -> str:
    """What a worker hears when the last fails on its own."""

    def fail_on_last() -> None:
        if peers.rank == peers.world - 1:
            raise OutputError("disk full")

    try:
        peers.on_all(fail_on_last)
    except OutputError as error:
        return str(error)
    return "nothing"


def name_of(loss: str, way: str, mailbox: object) -> str:
    return f"{loss}, {way}, {'mailbox' if mailbox else 'gloo'}"


def parcels(rank: int) -> list[torch.Tensor]:
    """What a worker gives away: of several types and shapes, one larger than a slot."""
    rng = np.random.default_rng(rank)
    return [
        torch.from_numpy(rng.normal(size=(3, 2)).astype(np.float32)),
        torch.from_numpy(rng.normal(size=(2, 5))).T,
        torch.from_numpy(rng.integers(0, 9, 600_000)),
        torch.zeros(0),
        torch.tensor(rank),
    ]


def worker(rank: int, folder: str) -> None:
    """Train in a group of 3, then of 2: starting processes takes longer than both."""
    torch.set_num_threads(1)
    for world, losses in WORLDS.items():
        if rank >= world:
            break
        dist.init_process_group(
            "gloo", init_method=f"file://{folder}/store{world}", rank=rank, world_size=world
        )
        results: dict[str, object] = {}
        for mailbox in (None, Mailbox.open(rank, world)):
            peers = Peers(rank=rank, world=world, mailbox=mailbox)
            for loss in losses:
                ways = {"whole": train(peers, LOSSES[loss])}
                ways["sharded"] = train(peers, LOSSES[loss], world)
                results |= {name_of(loss, way, mailbox): ways[way] for way in ways}
        results["failure"] = failure(peers)
        results["own failure"] = own_failure(peers)
        results["exchanged"] = [peers.collect(mine) for mine in parcels(rank)]
        results["mailbox"] = mailbox is not None
        torch.save(results, f"{folder}/{world}-{rank}.pt")
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what every worker of every group came to."""
    folder = tmp_path_factory.mktemp("workers")
    multiprocessing.set_forkserver_preload(["st_ray.learn.fit", "torch._dynamo"])
    mp.start_processes(worker, (str(folder),), nprocs=max(WORLDS), start_method="forkserver")
    return folder


@pytest.mark.parametrize(
    ("world", "loss"), [(world, loss) for world, losses in WORLDS.items() for loss in losses]
)
@pytest.mark.parametrize("way", ["whole", "sharded"])
@pytest.mark.parametrize("mailbox", [False, True])
def test_several_workers_train_what_one_does(
    world: int, loss: str, way: str, mailbox: bool, trained: Path
) -> None:
    alone = train(Peers(), LOSSES[loss], world if way == "sharded" else 0)
    for rank in range(world):
        results = torch.load(trained / f"{world}-{rank}.pt")
        shared = results[name_of(loss, way, mailbox)]
        assert shared.keys() == alone.keys()
        for name, value in alone.items():
            torch.testing.assert_close(shared[name], value, rtol=2e-4, atol=2e-5, msg=name)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="gloo serves there")
def test_a_mailbox_brings_what_each_gave(trained: Path) -> None:
    for world in WORLDS:
        given = [parcels(rank) for rank in range(world)]
        for rank in range(world):
            results = torch.load(trained / f"{world}-{rank}.pt")
            assert results["mailbox"]
            for number, brought in enumerate(results["exchanged"]):
                assert torch.equal(brought, torch.stack([own[number] for own in given]))


def test_what_fails_on_one_worker_ends_all(trained: Path) -> None:
    for world in WORLDS:
        for rank in range(world):
            results = torch.load(trained / f"{world}-{rank}.pt")
            assert results["failure"] == "no space"
            assert results["own failure"] == "disk full"


def test_evaluation_counts_pairs_and_averages_the_loss() -> None:
    net, all_of = model(), source()
    confusion, mean = evaluate(
        net, all_of, np.arange(COUNT), nn.functional.cross_entropy, CLASSES, Peers()
    )
    logits = net.eval()(everything()).detach()
    counts = np.zeros((CLASSES, CLASSES), dtype=int)
    np.add.at(counts, (all_of.targets_N.numpy(), logits.argmax(1).numpy()), 1)
    assert np.array_equal(confusion.counts_CC, counts)
    assert mean == pytest.approx(float(nn.functional.cross_entropy(logits, all_of.targets_N)))
