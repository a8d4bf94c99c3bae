"""Losses and optimizers: by name, on a device, rehearsed."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from st_ray.errors import SpecError
from st_ray.learn.backbones import build_backbone
from st_ray.learn.objectives import (
    OPTIMIZERS,
    check_objective,
    is_sample_mean,
    resolve_loss,
    resolve_optimizer,
    to_device,
)

CLASSES = 3


class Drops(nn.Module):
    """Fails in training mode only."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(2 * 9, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            raise KeyError("no mask\nand more")
        return self.head(x.flatten(1))


class Anneals(nn.CrossEntropyLoss):
    """A loss with state."""

    steps = 0

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        self.steps += 1
        return super().forward(input, target)


def rehearse(
    loss: Any = functional.cross_entropy,
    optimizer: Any = torch.optim.AdamW,
    model: nn.Module | None = None,
) -> None:
    if model is None:
        model = build_backbone("resnet2d", components=2, patch_size=3, classes=CLASSES, width=8)
    check_objective(
        model, loss, optimizer, components=2, patch_size=3, classes=CLASSES, learning_rate=0.1
    )


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_built_in_ones_pass(name: str) -> None:
    rehearse(resolve_loss("cross_entropy"), resolve_optimizer(name, 0.1))


def test_a_loss_that_is_not_finite_passes() -> None:
    rehearse(lambda logits, targets: functional.cross_entropy(logits, targets) * float("nan"))


def test_a_rehearsal_leaves_generators_and_the_loss_alone() -> None:
    model = build_backbone("vit", components=2, patch_size=3, classes=CLASSES)
    loss, state = Anneals(), torch.get_rng_state()
    rehearse(loss, model=model)
    assert loss.steps == 0
    assert torch.equal(torch.get_rng_state(), state)


def test_targets_cycle_through_the_classes() -> None:
    seen = []

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        seen.append((tuple(logits.shape), targets.tolist()))
        return functional.cross_entropy(logits, targets)

    rehearse(loss)
    assert seen == [((4, CLASSES), [0, 1, 2, 0])]


def vecloss(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(logits, targets, reduction="none")


def broken(logits: Tensor, targets: Tensor) -> Tensor:
    raise ZeroDivisionError("of mine\nand more")


class NoBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.sum()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        raise NotImplementedError("no backward")


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (vecloss, r"loss test_objectives.vecloss: expected one number .* shape \(4,\); return its"),
        (
            broken,
            r"broken failed on logits \(4, 3\) and targets \(4,\): ZeroDivisionErr",
        ),
        (lambda logits, targets: 1.0, "<lambda>: expected one number for a batch, got float; "),
        (lambda logits, targets: logits.argmax(), r"got torch.int64; return a floating"),
        (lambda logits, targets: logits.detach().sum(), "got one without a gradient; compute"),
        (lambda logits: logits.sum(), "failed on logits .*: TypeError: .*2 were given"),
        (lambda logits, targets: NoBackward.apply(logits), "no gradient on .*: NotImplementedErr"),
        (nn.CrossEntropyLoss, "loss torch.nn.modules.loss.CrossEntropyLoss is a class, expected"),
        (nn.CrossEntropyLoss(torch.ones(7)), r"CrossEntropyLoss failed on .*: RuntimeError: "),
        (partial(vecloss), "loss test_objectives.vecloss: expected one number"),
    ],
)
def test_a_loss_that_does_not_work_is_one_line(loss: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        rehearse(loss)
    assert len(str(caught.value).splitlines()) == 1


def empty(parameters: Iterable[nn.Parameter], rate: float) -> torch.optim.Optimizer:
    return torch.optim.SGD([], lr=rate)


def foreign(parameters: Iterable[nn.Parameter], rate: float) -> torch.optim.Optimizer:
    return torch.optim.SGD([*parameters, nn.Parameter(torch.ones(2))], lr=rate)


class NoRate(torch.optim.Optimizer):
    def __init__(self, parameters: Iterable[nn.Parameter], rate: float) -> None:
        super().__init__(parameters, {})

    def step(self, closure: Callable[[], float] | None = None) -> None:
        assert closure is not None


class Breaks(torch.optim.SGD):
    def step(self, closure: Callable[[], float] | None = None) -> None:
        assert closure is not None, "needs two steps"


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (lambda parameters, rate: list(parameters), "expected a torch.optim.Optimizer, got list; "),
        (lambda parameters: None, r"failed when called as function\(parameters, 0.1\): TypeError"),
        (empty, "test_objectives.empty failed when called .*: ValueError: optimizer got an empty"),
        (foreign, "test_objectives.foreign: expected an optimizer of the model's parameters"),
        (NoRate, "test_objectives.NoRate: expected a learning rate 'lr' in every"),
        (torch.optim.LBFGS, r"lbfgs.LBFGS: LBFGS.step needs a closure, expected .*AdamW"),
        (Breaks, "Breaks failed in its first step: AssertionError: needs two steps"),
        (nn.Linear(2, 2), r"optimizer torch.nn.modules.linear.Linear failed when called"),
    ],
)
def test_an_optimizer_that_does_not_work_is_one_line(optimizer: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        rehearse(optimizer=optimizer)
    assert len(str(caught.value).splitlines()) == 1


def test_a_model_that_cannot_train_is_one_line() -> None:
    with pytest.raises(SpecError, match=r"failed in training mode on .*: KeyError: 'no mask"):
        rehearse(model=Drops())
    frozen = build_backbone("resnet2d", components=2, patch_size=3, classes=CLASSES, width=8)
    with pytest.raises(SpecError, match="leave some of the model's parameters trainable"):
        rehearse(model=frozen.requires_grad_(False))


def test_unknown_losses_and_optimizers_list_the_known() -> None:
    with pytest.raises(SpecError, match="unknown loss 'mse'.*cross_entropy"):
        resolve_loss("mse")
    with pytest.raises(SpecError, match="did you mean 'adamw'.*adam, adamw, muon, sgd"):
        resolve_optimizer("adamww", 0.0)


def test_paths_to_things_of_the_wrong_kind_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("my_losses")
    module.LOSS, module.number = nn.CrossEntropyLoss(), 7  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "my_losses", module)
    assert resolve_loss("my_losses:LOSS") is module.LOSS  # type: ignore[attr-defined]
    assert resolve_optimizer("torch.optim:SGD", 0.0) is torch.optim.SGD
    with pytest.raises(SpecError, match="loss torch.nn:NLLLoss is a class, .* LOSS = NLLLoss()"):
        resolve_loss("torch.nn:NLLLoss")
    for resolve in (resolve_loss, partial(resolve_optimizer, weight_decay=0.0)):
        with pytest.raises(SpecError, match="'my_losses:number' is int, expected a function"):
            resolve("my_losses:number")


@pytest.mark.parametrize(
    ("loss", "mean"),
    [
        (functional.cross_entropy, True),
        (nn.CrossEntropyLoss(label_smoothing=0.1), True),
        (nn.CrossEntropyLoss(weight=torch.ones(3)), False),
        (nn.CrossEntropyLoss(reduction="sum"), False),
        (nn.CrossEntropyLoss(ignore_index=0), False),
        (Anneals(), False),
        (nn.MultiMarginLoss(), False),
        (partial(functional.cross_entropy, weight=torch.ones(3)), False),
    ],
)
def test_only_plain_cross_entropy_is_known_as_a_mean_over_samples(loss: Any, mean: bool) -> None:
    assert is_sample_mean(loss) == mean


def test_the_tensors_of_a_loss_are_moved() -> None:
    device = torch.device("meta")
    module = nn.CrossEntropyLoss(weight=torch.ones(3))
    assert to_device(module, device) is module
    assert module.weight.device == device
    loss: Any = partial(functional.cross_entropy, weight=torch.ones(3), reduction="sum")
    moved: Any = to_device(loss, device)
    assert moved.keywords["weight"].device == device
    assert moved.keywords["reduction"] == "sum"
    assert loss.keywords["weight"].device == torch.device("cpu")
    assert to_device(vecloss, device) is vecloss
