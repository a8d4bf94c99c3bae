from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from st_ray.errors import OutputError, SpecError, TrainingError
from st_ray.learn.backbones import build_backbone
from st_ray.learn.checkpoint import latest_checkpoint
from st_ray.learn.fit import Held
from st_ray.learn.job import TrainSpec
from st_ray.learn.loop import epoch_order, schedule, seed_everything
from st_ray.learn.outcome import Outcome
from st_ray.learn.peers import Peers
from st_ray.learn.placement import Replicated
from st_ray.spectral.patches import Samples, TileStack, extract_patches
from tests.small_jobs import CLASSES, STAGES, Stop, job, run, samples, stop_after


def same(left: Outcome, right: Outcome) -> bool:
    """Equal but for the clock."""

    def stripped(outcome: Outcome):
        clock = {"seconds": 0.0, "scoring_seconds": 0.0, "scoring_cpu_seconds": 0.0}
        rows = [replace(row, **clock) for row in outcome.history]
        return rows, outcome.test.counts_CC.tolist(), outcome.validation.counts_CC.tolist()

    return stripped(left) == stripped(right)


@pytest.fixture(scope="module")
def whole(stack, tmp_path_factory) -> Outcome:
    return run(job(tmp_path_factory.mktemp("whole")), stack)


@pytest.mark.parametrize("epoch", [1, 2, 3, 4])
def test_a_cut_off_run_resumes_to_the_uninterrupted_result(stack, whole, epoch, tmp_path) -> None:
    with pytest.raises(Stop):
        run(job(tmp_path), stack, stop_after(epoch))
    assert not Outcome.exists(tmp_path, "one")
    assert same(run(job(tmp_path), stack), whole)


def test_a_run_with_flips_is_another_and_resumes_to_the_same_result(stack, whole, tmp_path) -> None:
    flips = {"train": TrainSpec(flips=True)}
    uncut = run(job(tmp_path / "uncut", **flips), stack)
    assert not same(uncut, whole)
    with pytest.raises(Stop):
        run(job(tmp_path / "cut", **flips), stack, stop_after(3))
    assert same(run(job(tmp_path / "cut", **flips), stack), uncut)


def test_a_finished_run_is_not_trained_again(stack, tmp_path) -> None:
    first = run(job(tmp_path), stack)
    events = []
    assert same(run(job(tmp_path), stack, events.append), first)
    assert events == []


def test_a_checkpoint_of_other_settings_is_refused(stack, tmp_path) -> None:
    with pytest.raises(Stop):
        run(job(tmp_path), stack, stop_after(1))
    with pytest.raises(OutputError, match="other settings"):
        run(job(tmp_path, fingerprint="two"), stack)


def test_only_the_newest_checkpoints_are_kept_and_half_written_ones_ignored(
    stack, tmp_path
) -> None:
    with pytest.raises(Stop):
        run(job(tmp_path), stack, stop_after(3))
    kept = sorted(path.name for path in tmp_path.glob("epoch_*"))
    assert kept == ["epoch_00002", "epoch_00003"]
    shutil.copytree(tmp_path / "epoch_00003", tmp_path / "epoch_00009")
    (tmp_path / "epoch_00009" / "position.json").unlink()
    found = latest_checkpoint(tmp_path, "one")
    assert found is not None
    assert found[0].name == "epoch_00003"


def test_one_stage_equals_plain_training_bit_for_bit(stack, tmp_path) -> None:
    one = job(tmp_path, stages=(STAGES[1],), train=TrainSpec(class_floor=0))
    outcome = run(one, stack)
    seed_everything(0, 0)
    model = one.build(components=8, patch_size=7, classes=CLASSES)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2, fused=True)
    part = one.train_samples
    patches = torch.from_numpy(extract_patches(stack, part.centres_N2, 7).copy())
    targets = torch.from_numpy(part.targets_N)
    model.train()
    for epoch in range(2):
        seed_everything(0, epoch + 1)
        order = epoch_order(np.zeros(40, np.int64), 0, 0, epoch)
        cut = Replicated(Peers()).batches(order, part, 16)
        batches = [batch.index_M for batch in cut]
        total = 0.0
        for step, batch in enumerate(batches):
            done = (epoch + (step + 0.5) / len(batches)) / 2
            optimizer.param_groups[0]["lr"] = 1e-3 * schedule(done, 0.05, "linear")
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(patches[batch]), targets[batch])
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(batch)
        assert outcome.history[epoch].loss == float(total) / 40


def test_seeds_decide_the_result(stack, whole, tmp_path) -> None:
    assert same(run(job(tmp_path / "a"), stack), whole)
    assert not same(run(job(tmp_path / "b", seed=1), stack), whole)


def test_the_stage_of_an_epoch() -> None:
    assert [job(Path()).stage_of(epoch) for epoch in range(4)] == [0, 0, 1, 1]


def test_a_diverging_loss_is_one_line(stack, tmp_path) -> None:
    def explode(logits, targets):
        return nn.functional.cross_entropy(logits, targets) * float("nan")

    with pytest.raises(TrainingError, match=r"nan in epoch 1 \(stage 1\); lower --lr"):
        run(job(tmp_path, loss=explode), stack)


def test_loss_optimizer_and_model_may_be_the_users_own(stack, tmp_path) -> None:
    class Linear(nn.Module):
        def __init__(self, components: int, classes: int) -> None:
            super().__init__()
            self.head = nn.Linear(components, classes)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x.mean((2, 3)))

    calls = []

    def own_loss(logits, targets):
        calls.append(len(targets))
        return nn.functional.multi_margin_loss(logits, targets)

    outcome = run(
        job(
            tmp_path,
            build=lambda *, components, patch_size, classes: Linear(components, classes),
            loss=own_loss,
            optimizer=lambda parameters, rate: torch.optim.RMSprop(parameters, lr=rate),
            train=TrainSpec(learning_rate=0.05),
        ),
        stack,
    )
    assert calls
    assert outcome.history[-1].loss < outcome.history[0].loss
    assert outcome.parameters == 8 * CLASSES + CLASSES


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_the_learning_rate_warms_up_and_ends_at_zero(shape: str) -> None:
    rates = [schedule(done / 100, 0.1, shape) for done in range(101)]
    assert rates[0] == 0.0
    assert max(rates) == rates[10] == 1.0
    assert rates[-1] == pytest.approx(0.0)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert schedule(0.0, 0.0, shape) == 1.0


def test_a_constant_learning_rate_stays_after_its_warm_up() -> None:
    rates = [schedule(done / 100, 0.1, "constant") for done in range(101)]
    assert rates[:3] == pytest.approx([0.0, 0.1, 0.2])
    assert set(rates[10:]) == {1.0}


@pytest.mark.parametrize(
    "wrong",
    [
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"batch_size": 1},
        {"weight_decay": -1.0},
        {"warmup": 1.0},
    ],
)
def test_wrong_training_settings_are_refused(wrong) -> None:
    with pytest.raises(SpecError, match="expected"):
        TrainSpec(**wrong)


def test_every_parameter_group_keeps_its_own_learning_rate(stack, tmp_path) -> None:
    built = []

    def two_rates(parameters, rate):
        first, *rest = parameters
        groups = [{"params": [first], "lr": 0.5 * rate}, {"params": rest}]
        built.append(torch.optim.SGD(groups, lr=2 * rate))
        return built[-1]

    outcome = run(job(tmp_path, optimizer=two_rates), stack)
    slow, fast = (group["lr"] for group in built[-1].param_groups)
    assert fast == pytest.approx(4 * slow)
    assert outcome.history[-1].learning_rate == slow > 0


def test_only_trainable_weights_are_counted_and_frozen_ones_stay(stack, tmp_path) -> None:
    frozen = []

    def half_frozen(**sizes: int) -> nn.Module:
        model = build_backbone("resnet2d", width=8, **sizes)
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                frozen.extend(layer.requires_grad_(False).parameters())
        return model

    outcome = run(job(tmp_path / "a", build=half_frozen, stages=STAGES[:1]), stack)
    whole = run(job(tmp_path / "b", stages=STAGES[:1]), stack)
    assert outcome.parameters == whole.parameters - sum(part.numel() for part in frozen)
    assert all(part.unique().numel() == 1 for part in frozen)


def test_a_loss_with_weights_is_moved_to_the_device(stack, tmp_path) -> None:
    moved = []

    class Weighted(nn.CrossEntropyLoss):
        def to(self, *args, **kwargs):
            moved.extend(args)
            return super().to(*args, **kwargs)

    run(job(tmp_path, loss=Weighted(torch.ones(CLASSES)), stages=STAGES[:1]), stack)
    assert moved == [torch.device("cpu")]


def test_a_learning_rate_may_be_a_tensor(stack, tmp_path) -> None:
    outcome = run(
        job(
            tmp_path,
            optimizer=lambda parameters, rate: torch.optim.Adam(parameters, torch.tensor(rate)),
        ),
        stack,
    )
    assert outcome.history[-1].learning_rate > 0


def test_an_epoch_without_a_floor_is_a_permutation() -> None:
    order = epoch_order(np.arange(50) % 3, 0, seed=4, epoch=2)
    np.testing.assert_array_equal(order, np.random.default_rng([4, 2, 1]).permutation(50))


@settings(max_examples=50, deadline=None)
@given(
    counts=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    least=st.integers(0, 40),
    epoch=st.integers(0, 5),
)
def test_a_class_floor_repeats_rare_samples_equally_and_no_others(counts, least, epoch) -> None:
    targets = np.repeat(np.arange(len(counts)), counts)
    order = epoch_order(targets, least, seed=0, epoch=epoch)
    seen = np.bincount(order, minlength=len(targets))
    for label, count in enumerate(counts):
        own = seen[targets == label]
        assert own.sum() == max(count, least)
        assert own.max() - own.min() <= 1
        assert own.min() >= 1


def test_a_class_floor_raises_the_accuracy_of_a_rare_class(stack, tmp_path) -> None:
    """One training pixel of the first class, forty of the second: the first is still found."""
    rare = samples(40, 1)
    first = np.flatnonzero(rare.targets_N == 0)
    kept = np.setdiff1d(np.arange(40), first[1:])
    few = Samples(centres_N2=rare.centres_N2[kept], targets_N=rare.targets_N[kept])
    recalls = {}
    for floor in (0, 20):
        done = run(
            job(
                tmp_path / str(floor),
                train_samples=few,
                train=TrainSpec(class_floor=floor, learning_rate=1e-2),
            ),
            stack,
        )
        recalls[floor] = done.test.recall_C[0]
    assert recalls[20] > recalls[0]


def test_tiles_too_large_for_a_gpu_are_one_line(tmp_path, monkeypatch) -> None:
    stack = TileStack(values_REK=np.zeros((4, 4, 2), np.float32), halo=0)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (100, 1000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 80)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 30)
    with pytest.raises(SpecError, match=r"takes 1\.28e-07 GB, of 1\.5e-07 GB that the GPU has"):
        Held.of(stack, job(tmp_path), Peers(), torch.device("cuda"))
