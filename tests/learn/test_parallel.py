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
from st_ray.learn.batchnorm import GlobalBatchNorm
from st_ray.learn.loop import (
    Loss,
    PatchSource,
    epoch_order,
    evaluate,
    remember_rates,
    seed_everything,
    train_epoch,
)
from st_ray.learn.mailbox import Mailbox
from st_ray.learn.parallel import GlobalDropout, Share, globalise, local_randomness
from st_ray.learn.peers import Peers
from st_ray.learn.placement import Batch, Replicated, Sharded
from st_ray.spectral.patches import Samples

CLASSES, COUNT = 3, 23


class Tokens(nn.Module):
    """Folds tokens into the batch axis before a dropout, as attention layers do."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        folded = x.reshape(x.shape[0] * 2, -1)
        return self.drop(folded).reshape(x.shape)


def model() -> nn.Module:
    torch.manual_seed(7)
    return nn.Sequential(
        nn.Conv2d(4, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Dropout2d(0.2),
        Tokens(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.BatchNorm1d(6, momentum=None),
        nn.Dropout(0.5),
        nn.Linear(6, CLASSES),
    )


SAMPLES = Samples(
    centres_N2=np.stack([np.arange(COUNT), np.zeros(COUNT, dtype=np.int64)], 1),
    targets_N=np.random.default_rng(2).integers(0, CLASSES, COUNT),
)
# Rows of the stack that 2 and 3 workers own, unevenly.
BOUNDS = {1: (0, COUNT), 2: (0, 9, COUNT), 3: (0, 4, 16, COUNT)}


def source(rows: slice = slice(None)) -> PatchSource:
    """All patches, or those of some rows of the stack, with the margin below them."""
    rng = np.random.default_rng(1)
    stack = torch.from_numpy(rng.normal(size=(COUNT + 4, 5, 4)).astype(np.float32))
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
        stats = train_epoch(wrapped, mine, batches, optimizer, loss, lambda _: 1.0, share, peers)
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


def test_globalise_keeps_names_and_is_exact_for_one_worker() -> None:
    plain, swapped = model(), globalise(model(), Share(), Peers(world=2))
    assert list(plain.state_dict()) == list(swapped.state_dict())
    assert isinstance(swapped[1], GlobalBatchNorm)
    assert isinstance(swapped[8], GlobalDropout)
    assert isinstance(globalise(model(), Share(), Peers())[1], nn.BatchNorm2d)
    patches = everything()
    assert torch.equal(plain.eval()(patches), swapped.eval()(patches))


def test_a_share_takes_its_rows_of_the_global_mask() -> None:
    x = torch.ones(6, 50)
    torch.manual_seed(3)
    whole = GlobalDropout(0.5, Share(total=6, start=0, count=6), per_channel=False)(x)
    torch.manual_seed(3)
    rows = GlobalDropout(0.5, Share(total=6, start=2, count=3), per_channel=False)(x[:3])
    assert torch.equal(rows, whole[2:5])
    assert set(whole.unique().tolist()) == {0.0, 2.0}


def test_dropout_over_something_else_than_the_batch_says_so() -> None:
    layer = GlobalDropout(0.5, Share(total=8, start=0, count=4), per_channel=False)
    with pytest.raises(ValueError, match="keep the batch as the first axis"):
        layer(torch.ones(3, 2))


def test_a_rate_of_one_drops_everything() -> None:
    layer = GlobalDropout(1.0, Share(total=2, start=0, count=2), per_channel=False)
    assert torch.equal(layer(torch.ones(2, 3)), torch.zeros(2, 3))


def test_only_dropouts_whose_masks_can_be_shared_are_swapped() -> None:
    class Own(nn.Dropout):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 1

    kept = [nn.AlphaDropout(0.5), nn.FeatureAlphaDropout(0.5), Own(0.5)]
    swapped = [nn.Dropout(0.5), nn.Dropout1d(0.5), nn.Dropout2d(0.5), nn.Dropout3d(0.5)]
    net = globalise(nn.Sequential(*kept, *swapped), Share(), Peers())
    assert list(net)[:3] == kept
    assert [layer.per_channel for layer in list(net)[3:]] == [False, True, True, True]


class Twice(nn.Module):
    """Holds a norm and a dropout under two names each, and again in a child."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = self.again = nn.BatchNorm1d(3)
        self.drop = nn.Dropout(0.5)
        self.child = nn.Sequential(self.norm, self.drop)


def test_a_layer_held_in_several_places_stays_one() -> None:
    net = globalise(Twice(), Share(), Peers(world=2))
    assert isinstance(net.norm, GlobalBatchNorm)
    assert net.norm is net.again is net.child[0]
    assert isinstance(net.drop, GlobalDropout)
    assert net.drop is net.child[1]
    assert len(list(net.parameters())) == 2


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("tracked", [True, False])
def test_a_swapped_norm_holds_the_tensors_of_the_old(affine: bool, tracked: bool) -> None:
    old = nn.BatchNorm2d(
        3, affine=affine, track_running_stats=tracked, dtype=torch.float64, device="meta"
    )
    old.requires_grad_(False).eval()
    new = globalise(nn.Sequential(old), Share(), Peers(world=2))[0]
    assert isinstance(new, GlobalBatchNorm)
    assert not new.training
    for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
        assert getattr(new, name) is getattr(old, name), name
    assert list(new.state_dict()) == list(old.state_dict())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("tracked", [True, False])
def test_a_norm_on_a_gpu_stays_there(tracked: bool) -> None:
    old = nn.BatchNorm2d(3, track_running_stats=tracked, device="cuda").requires_grad_(False)
    new = globalise(nn.Sequential(old), Share(), Peers(world=2))[0]
    assert isinstance(new, nn.SyncBatchNorm)
    assert new.weight is old.weight


def test_layers_that_draw_their_own_numbers_are_named() -> None:
    net = nn.Sequential(
        nn.AlphaDropout(0.1),
        nn.FeatureAlphaDropout(0.0),
        nn.TransformerEncoderLayer(4, 2, dropout=0.1),
        nn.LSTM(4, 4, num_layers=2, dropout=0.1),
        nn.GRU(4, 4, num_layers=2),
        nn.RReLU(),
        nn.Dropout2d(0.5),
    )
    named = ("0 (AlphaDropout)", "2.self_attn (MultiheadAttention)", "3 (LSTM)", "5 (RReLU)")
    assert local_randomness(net) == named
    assert local_randomness(globalise(net, Share(), Peers())) == named
    assert local_randomness(model()) == ()
    assert local_randomness(nn.RReLU()) == ("model (RReLU)",)
