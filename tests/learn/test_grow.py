"""Weights and moments carried to a larger model."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from st_ray.errors import SpecError
from st_ray.learn.backbones import build_backbone
from st_ray.learn.grow import grow, grow_optimizer


def network(inputs: int, hidden: int = 4) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.Tanh(), nn.BatchNorm1d(hidden), nn.Linear(hidden, 3)
    )


def step(model: nn.Module, optimizer: Optimizer, inputs: Tensor) -> None:
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(inputs), torch.arange(len(inputs)) % 3).backward()
    optimizer.step()


def widened(inputs: Tensor, by: int) -> Tensor:
    return torch.cat((inputs, torch.zeros(len(inputs), by)), dim=1)


def test_equal_shapes_are_copied_with_buffers() -> None:
    old, new = network(3), network(3)
    step(old, SGD(old.parameters(), lr=0.1), torch.randn(6, 3))
    grow(old.state_dict(), new)
    for key, value in new.state_dict().items():
        assert torch.equal(value, old.state_dict()[key]), key


def test_the_old_model_is_not_shared_with_the_new() -> None:
    old, new = network(3), network(3)
    grow(old.state_dict(), new)
    with torch.no_grad():
        new[0].weight.zero_()
    assert old[0].weight.count_nonzero() > 0


def test_new_inputs_start_at_zero() -> None:
    old, new = network(3), network(5)
    grow(old.state_dict(), new)
    assert torch.equal(new[0].weight[:, :3], old[0].weight)
    assert new[0].weight[:, 3:].count_nonzero() == 0


def test_new_outputs_keep_their_initialisation_and_are_not_read() -> None:
    old, new = network(3), network(5, hidden=6)
    fresh = {key: value.clone() for key, value in new.state_dict().items()}
    grow(old.state_dict(), new)
    assert torch.equal(new[0].weight[4:], fresh["0.weight"][4:])
    assert torch.equal(new[0].bias[4:], fresh["0.bias"][4:])
    assert torch.equal(new[2].running_var[4:], fresh["2.running_var"][4:])
    inputs = torch.randn(7, 5)
    torch.testing.assert_close(new.eval()(inputs), old.eval()(inputs[:, :3]))


class Table(nn.Module):
    """A row of entries that grows on both sides."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.row = nn.Parameter(torch.arange(1.0, size + 1))
        self.scale = nn.Parameter(torch.ones(size))

    def carry_parameter(self, name: str, old: Tensor) -> Tensor | None:
        edge = (len(self.row) - len(old)) // 2
        return nn.functional.pad(old, (edge, edge)) if name == "row" else None


def test_a_module_may_place_its_own_parameters() -> None:
    new = nn.ModuleDict({"table": Table(5)})
    grow({"table.row": torch.ones(3), "table.scale": torch.zeros(3)}, new)
    assert new["table"].row.tolist() == [0, 1, 1, 1, 0]
    assert new["table"].scale.tolist() == [0, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("old", "message"),
    [
        (network(4), r"0.weight has shape \(4, 3\) in the new model.*the \(4, 4\) of the old"),
        (network(3)[:3], "3.weight is new in the larger model .2 such in all"),
        (nn.Sequential(*network(3), nn.Linear(3, 3)), "4.weight is missing from the larger"),
        (nn.Sequential(nn.Conv1d(3, 4, 1), *network(3)[1:]), r"0.weight has shape \(4, 3\)"),
    ],
)
def test_a_model_that_cannot_carry_is_named_and_left_alone(old: nn.Module, message: str) -> None:
    new = network(3)
    before = {key: value.clone() for key, value in new.state_dict().items()}
    with pytest.raises(SpecError, match=message):
        grow(old.state_dict(), new)
    assert all(torch.equal(value, before[key]) for key, value in new.state_dict().items())


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": lambda p: SGD(p, lr=0.1),
    "momentum": lambda p: SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: Adam(p, lr=0.01),
    "adamw": lambda p: AdamW(p, lr=0.01, amsgrad=True),
    "adamw-foreach": lambda p: AdamW(p, lr=0.01, foreach=True),
    "adamw-fused": lambda p: AdamW(p, lr=0.01, fused=True),
    "two groups": lambda p: AdamW([{"params": (p := list(p))[:1], "lr": 0.1}, {"params": p[1:]}]),
}


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
def test_a_step_after_growing_is_the_step_of_the_old_model(
    make: Callable[..., Optimizer],
) -> None:
    old, new = network(3), network(5)
    old_optimizer = make(old.parameters())
    for _ in range(3):
        step(old, old_optimizer, torch.randn(6, 3))
    grow(old.state_dict(), new)
    new_optimizer = make(new.parameters())
    grow_optimizer(old_optimizer.state_dict(), old.state_dict(), new_optimizer, new)
    inputs = torch.randn(6, 3)
    for _ in range(2):  # zeros on the new inputs: they get no gradient, the others the old one
        step(old, old_optimizer, inputs)
        step(new, new_optimizer, widened(inputs, 2))
    for (name, before), after in zip(old.named_parameters(), new.parameters(), strict=True):
        block = after[tuple(slice(size) for size in before.shape)]
        torch.testing.assert_close(block, before, rtol=0, atol=2e-6, msg=name)
    assert new[0].weight[:, 3:].count_nonzero() == 0


def test_without_the_old_moments_the_step_differs() -> None:
    old, new = network(3), network(5)
    old_optimizer = Adam(old.parameters(), lr=0.01)
    for _ in range(3):
        step(old, old_optimizer, torch.randn(6, 3))
    grow(old.state_dict(), new)
    inputs = torch.randn(6, 3)
    step(old, old_optimizer, inputs)
    step(new, Adam(new.parameters(), lr=0.01), widened(inputs, 2))
    assert (new[0].weight[:, :3] - old[0].weight).abs().max() > 1e-4


def test_moments_are_placed_as_their_parameters_and_settings_are_the_new_ones() -> None:
    old = nn.Sequential(Table(3))
    old_optimizer = Adam(old.parameters(), lr=0.5)
    (old[0].row * torch.tensor([1.0, 2.0, 3.0]) + old[0].scale).sum().backward()
    old_optimizer.step()
    new = nn.Sequential(Table(5))
    new_optimizer = Adam(new.parameters(), lr=0.25)
    grow_optimizer(old_optimizer.state_dict(), old.state_dict(), new_optimizer, new)
    row, scale = (new_optimizer.state[parameter] for parameter in new.parameters())
    torch.testing.assert_close(row["exp_avg"], torch.tensor([0, 0.1, 0.2, 0.3, 0]))
    torch.testing.assert_close(scale["exp_avg"], torch.tensor([0.1, 0.1, 0.1, 0, 0]))
    assert row["step"] == 1
    assert new_optimizer.param_groups[0]["lr"] == 0.25


def test_an_optimizer_without_state_yet_has_none_to_carry() -> None:
    old, new = network(3), network(5)
    new_optimizer = Adam(new.parameters())
    grow_optimizer(Adam(old.parameters()).state_dict(), old.state_dict(), new_optimizer, new)
    assert not new_optimizer.state


def test_an_optimizer_over_other_parameters_is_refused() -> None:
    old, new = network(3), network(5)
    with pytest.raises(SpecError, match="old optimizer holds 6 parameters, the new one 2"):
        grow_optimizer(
            Adam(old.parameters()).state_dict(),
            old.state_dict(),
            Adam(new[0].parameters()),
            new,
        )


@pytest.mark.parametrize("name", ["spectralformer", "vit"])
def test_a_backbones_own_placement_carries_its_moments(name: str) -> None:
    def build(components: int, patch_size: int) -> nn.Module:
        return build_backbone(name, components=components, patch_size=patch_size, classes=3)

    old, new = build(3, 3), build(4, 5)
    optimizer, new_optimizer = AdamW(old.parameters()), AdamW(new.parameters())
    step(old, optimizer, torch.randn(4, 3, 3, 3))
    grow(old.state_dict(), new)
    grow_optimizer(optimizer.state_dict(), old.state_dict(), new_optimizer, new)
    step(new, new_optimizer, torch.randn(4, 4, 5, 5))
    assert all(parameter.isfinite().all() for parameter in new.parameters())
