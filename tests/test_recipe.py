"""What a spec leaves open is filled in by its backbone, for the backbone's own optimizer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from st_ray import RunSpec, TrainSpec, run_curriculum
from st_ray.learn.backbones import backbones
from st_ray.learn.presets import USUAL_BATCH, USUAL_OPTIMIZER, USUAL_RATE
from st_ray.recipe import fill_in


@pytest.mark.parametrize("name", ["ssrn", "resnet2d", "spectralformer", "ssftt"])
def test_optimizer_rate_and_batch_are_the_backbones(name: str) -> None:
    entry = backbones()[name]
    train = fill_in(RunSpec(backbone=name)).train
    assert (train.optimizer, train.learning_rate) == (entry.optimizer, entry.learning_rate)
    assert (train.batch, train.flips) == (entry.batch_size, entry.flips)
    named = fill_in(RunSpec(backbone=name, train=TrainSpec(optimizer=entry.optimizer))).train
    assert named == train


def test_another_optimizer_takes_the_usual_rate_unless_told() -> None:
    assert backbones()["ssrn"].optimizer != USUAL_OPTIMIZER
    other = fill_in(RunSpec(backbone="ssrn", train=TrainSpec(optimizer="sgd"))).train
    assert (other.optimizer, other.learning_rate) == ("sgd", USUAL_RATE)
    told = TrainSpec(optimizer="sgd", learning_rate=0.2, batch_size=8, flips=True)
    assert fill_in(RunSpec(backbone="ssrn", train=told)).train == told


def test_a_backbone_of_ones_own_takes_the_usual_ones() -> None:
    train = fill_in(RunSpec(backbone="spectralformer"), brought=True).train
    assert (train.optimizer, train.learning_rate) == (USUAL_OPTIMIZER, USUAL_RATE)
    assert train.batch == USUAL_BATCH != backbones()["spectralformer"].batch_size
    assert train.flips is False


def test_an_optimizer_of_ones_own_gets_the_usual_rate_and_no_name(
    spec: RunSpec, tmp_path: Path
) -> None:
    rates: list[float] = []

    def mine(parameters, rate: float) -> torch.optim.Optimizer:
        rates.append(rate)
        return torch.optim.AdamW(parameters, lr=rate)

    train = replace(spec.train, learning_rate=None)
    asked = replace(
        spec,
        backbone="cnn3d",
        backbone_options={},
        epochs=6,
        train=train,
        out=str(tmp_path / "run"),
    )
    run_curriculum(asked, optimizer=mine)
    assert set(rates) == {USUAL_RATE}
    assert "muon" not in (tmp_path / "run" / "run.toml").read_text()
