"""The layers that workers share: global norms and dropouts, and what stays each one's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from st_ray.learn.batchnorm import GlobalBatchNorm
from st_ray.learn.parallel import GlobalDropout, Share, globalise, local_randomness
from st_ray.learn.peers import Peers
from tests.small_nets import model


def test_globalise_keeps_names_and_is_exact_for_one_worker() -> None:
    plain, swapped = model(), globalise(model(), Share(), Peers(world=2))
    assert list(plain.state_dict()) == list(swapped.state_dict())
    assert isinstance(swapped[1], GlobalBatchNorm)
    assert isinstance(swapped[8], GlobalDropout)
    assert isinstance(globalise(model(), Share(), Peers())[1], nn.BatchNorm2d)
    patches = torch.randn(5, 4, 5, 5)
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
