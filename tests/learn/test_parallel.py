"""Two and three workers against one, as threads of gloo processes without Ray."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from st_ray.learn.loop import (
    PatchSource,
    evaluate,
    even_batches,
    remember_rates,
    seed_everything,
    shuffle,
    train_epoch,
)
from st_ray.learn.parallel import GlobalBatchNorm, GlobalDropout, Peers, Share, globalise

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


def source() -> PatchSource:
    rng = np.random.default_rng(1)
    windows = torch.from_numpy(rng.normal(size=(COUNT, 1, 4, 5, 5)).astype(np.float32))
    centres = torch.stack([torch.arange(COUNT), torch.zeros(COUNT, dtype=torch.long)], 1)
    return PatchSource(windows, centres, torch.from_numpy(rng.integers(0, CLASSES, COUNT)))


def train(peers: Peers) -> dict[str, torch.Tensor]:
    share = Share()
    net = globalise(model(), share, peers)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    remember_rates(optimizer)
    loss = nn.functional.cross_entropy
    wrapped = peers.wrap(net)
    losses = []
    for epoch in range(3):
        seed_everything(0, epoch)
        batches = even_batches(shuffle(COUNT, 0, epoch), 8)
        stats = train_epoch(
            wrapped, source(), batches, optimizer, loss, lambda _: 1.0, share, peers
        )
        losses.append(stats.loss)
    confusion, mean = evaluate(net, source(), loss, CLASSES, peers)
    extra = {
        "losses": torch.tensor([*losses, mean]),
        "confusion": torch.from_numpy(confusion.counts_CC),
    }
    return {**copy.deepcopy(net.state_dict()), **extra}


def worker(rank: int, world: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world
    )
    torch.save(train(Peers(rank=rank, world=world)), f"{folder}/rank{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize("world", [2, 3])
def test_several_workers_train_what_one_does(world: int, tmp_path: Path) -> None:
    mp.spawn(worker, (world, str(tmp_path)), nprocs=world)
    alone = train(Peers())
    for rank in range(world):
        shared = torch.load(tmp_path / f"rank{rank}.pt")
        assert shared.keys() == alone.keys()
        for name, value in alone.items():
            torch.testing.assert_close(shared[name], value, rtol=2e-4, atol=2e-5, msg=name)


def test_globalise_keeps_names_and_is_exact_for_one_worker() -> None:
    plain, swapped = model(), globalise(model(), Share(), Peers(world=2))
    assert list(plain.state_dict()) == list(swapped.state_dict())
    assert isinstance(swapped[1], GlobalBatchNorm)
    assert isinstance(swapped[8], GlobalDropout)
    assert isinstance(globalise(model(), Share(), Peers())[1], nn.BatchNorm2d)
    patches = source().windows[:, 0]
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
