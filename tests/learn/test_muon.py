"""Muon: orthogonal steps of hidden weights, AdamW's of the rest."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim import AdamW

from st_ray.learn.backbones import backbones, build_backbone
from st_ray.learn.grow import grow, grow_optimizer
from st_ray.learn.muon import Muon, orthogonalise
from st_ray.learn.objectives import check_objective, resolve_optimizer


def network(inputs: int = 5) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(inputs, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 3)
    )


def step(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int = 0, k: int = 5) -> None:
    torch.manual_seed(seed)
    optimizer.zero_grad()
    functional.cross_entropy(model(torch.randn(6, k, 3, 3)), torch.arange(6) % 3).backward()
    optimizer.step()


@pytest.mark.parametrize("shape", [(8, 30), (30, 8), (7, 7), (1, 9)])
def test_singular_vectors_stay_and_singular_values_become_one(shape: tuple[int, int]) -> None:
    left, _, right = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    values = torch.linspace(3.0, 0.3, min(shape))
    after = left.T @ orthogonalise(left @ torch.diag(values) @ right) @ right.T
    assert (after.diagonal() - 1).abs().max() < 0.35
    torch.testing.assert_close(after, torch.diag(after.diagonal()), atol=1e-5, rtol=0)


def test_nothing_moves_where_the_gradient_is_zero() -> None:
    assert torch.equal(orthogonalise(torch.zeros(4, 6)), torch.zeros(4, 6))


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch has it from 2.9 on")
@pytest.mark.parametrize("shape", [(6, 20), (20, 6)])
def test_a_matrix_is_stepped_as_by_torch(shape: tuple[int, int]) -> None:
    ours, theirs = (nn.Parameter(torch.ones(shape)) for _ in range(2))
    head = nn.Parameter(torch.ones(2, 2))
    optimizers = (
        Muon([ours, head], lr=0.02, weight_decay=0.1),
        torch.optim.Muon([theirs], lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
    )
    for _ in range(3):
        ours.grad = torch.randn(shape)
        theirs.grad = ours.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=0)  # theirs is in bfloat16
    assert (ours - 1).abs().max() > 0.02


def test_all_but_hidden_weights_are_stepped_by_adamw() -> None:
    model, other = network(), network()
    step(model, Muon(model.parameters(), 0.01, 0.1))
    step(other, AdamW(other.parameters(), 0.01, weight_decay=0.1, fused=True))
    same = {
        name: torch.equal(value, dict(other.named_parameters())[name])
        for name, value in model.named_parameters()
    }
    assert same == {
        "0.weight": False, "1.weight": True, "1.bias": True, "3.weight": True, "3.bias": True
    }  # fmt: skip


def test_a_kernel_is_a_matrix_of_one_row_an_output() -> None:
    model = network()
    before = model[0].weight.detach().clone()
    step(model, Muon(model.parameters(), 0.01, 0.0))
    moved = (before - model[0].weight.detach()).reshape(4, -1)
    values = torch.linalg.svdvals(moved) / (0.01 * 0.2 * 45**0.5)
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_a_saved_optimizer_goes_on_as_if_it_had_not_been_saved() -> None:
    model = network()
    optimizer = Muon(model.parameters(), 0.01, 0.1)
    step(model, optimizer)
    other = copy.deepcopy(model)
    loaded = Muon(other.parameters(), 0.5, 0.0)
    loaded.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for seed in (1, 2):
        step(model, optimizer, seed)
        step(other, loaded, seed)
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


def test_momentum_grows_with_the_model() -> None:
    old, new = network(5), network(8)
    optimizer, grown = (Muon(model.parameters(), 0.01, 0.0) for model in (old, new))
    step(old, optimizer)
    grow(old.state_dict(), new)
    grow_optimizer(optimizer.state_dict(), old.state_dict(), grown, new)
    momentum = grown.state[new[0].weight]["momentum_buffer"]
    assert torch.equal(momentum[:, :5], optimizer.state[old[0].weight]["momentum_buffer"])
    assert momentum[:, 5:].count_nonzero() == 0
    step(new, grown, k=8)
    assert new[0].weight[:, 5:].count_nonzero() > 0


@pytest.mark.parametrize("name", backbones())
def test_every_backbone_can_be_trained_with_it(name: str) -> None:
    check_objective(
        build_backbone(name, components=6, patch_size=5, classes=3),
        functional.cross_entropy,
        resolve_optimizer("muon", 0.01),
        components=6,
        patch_size=5,
        classes=3,
        learning_rate=1e-3,
    )
