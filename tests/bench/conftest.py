"""A benchmark of seconds on the small scene."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from st_ray import RunSpec, SceneSpec, SplitSpec
from st_ray.bench.cells import BenchSpec


@pytest.fixture(scope="session")
def bench_spec(spec: RunSpec, tmp_path_factory: pytest.TempPathFactory) -> BenchSpec:
    """Two arms beside full, two seeds, nothing to search."""
    base = replace(
        spec,
        curriculum="default",
        epochs=100,
        scene=SceneSpec(labels=spec.scene.labels),
        split=SplitSpec(validation_fraction=0.2),
    )
    return BenchSpec(
        base=base,
        scenes=(spec.scene.name,),
        arms=("full", "default", "k30_time"),
        seeds=(0, 1),
        full_epochs=10,
        rate=3e-3,
        out=str(tmp_path_factory.mktemp("bench")),
    )


@pytest.fixture(scope="session")
def measured(bench_spec: BenchSpec) -> tuple[dict, Path]:
    """Its summary and directory."""
    from st_ray.bench.training import run_bench

    table, done = run_bench(bench_spec, say=lambda text: None)
    assert done
    return table, Path(bench_spec.out)
