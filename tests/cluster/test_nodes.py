"""Several nodes, simulated on this machine: the work spreads, and the result stays what it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import ray
import torch
from numpy.typing import NDArray

from st_ray import RunSpec, TileSpec, run_curriculum
from st_ray.engine import open_engine
from st_ray.spectral.moments import SpectralMoments
from st_ray.spectral.scene import open_scene
from st_ray.spectral.tiles import Tile, plan_tiles
from st_ray.spectral.work import Arrays, MeasureTiles, merge_moments, read_moments

pytestmark = [pytest.mark.ray]
NODES = 3


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[str]]:
    """Node ids of a cluster of three nodes with a CPU each, that this process belongs to."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    try:
        for _ in range(NODES - 1):
            cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes(timeout=60)
        ray.init(address=cluster.address, log_to_driver=False)
        yield [node["NodeID"] for node in ray.nodes()]
    finally:
        ray.shutdown()
        cluster.shutdown()


@dataclass(frozen=True, slots=True)
class Signed:
    """Work whose results say which node they were made on."""

    work: MeasureTiles
    folder: str

    def __call__(self, tiles: Sequence[Tile], rasters: Sequence[NDArray[np.generic]]) -> Arrays:
        """Leave the node's id in a folder, and do the work."""
        _sign(Path(self.folder))
        return self.work(tiles, rasters)


class SignedLoss(torch.nn.CrossEntropyLoss):
    """Cross entropy that leaves the id of the node it was computed on in a folder."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder = folder

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if torch.distributed.is_initialized():
            _sign(Path(self.folder))
        return super().forward(logits, targets)


def _sign(folder: Path) -> None:
    (folder / ray.get_runtime_context().get_node_id()).touch()


def _signatures(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_moments_merge_across_nodes(
    spec: RunSpec, nodes: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(nodes) == NODES
    monkeypatch.setattr("st_ray.cluster.engine._TO_DRIVER", 4)  # the rest is merged by tasks
    monkeypatch.setattr("st_ray.cluster.engine._FAN_IN", 2)
    scene = open_scene(spec.scene)
    tiles = plan_tiles(scene.labels.shape, TileSpec(side=2))
    work = MeasureTiles(scene.cube)
    one: SpectralMoments = read_moments([work(tiles, [np.ones((2, 2))] * len(tiles))])
    with open_engine(spec.cluster) as engine:
        parts = engine.map_tiles(
            Signed(work, str(tmp_path)),
            tiles,
            2,
            np.ones(scene.labels.shape, np.uint8),
            merge=merge_moments,
        )
        many = read_moments(parts)
    assert many.count == one.count == scene.labels.size
    np.testing.assert_allclose(many.mean_B, one.mean_B, rtol=1e-12)
    np.testing.assert_allclose(many.scatter_BB, one.scatter_BB, rtol=1e-9, atol=1e-3)
    assert len(_signatures(tmp_path) & set(nodes)) > 1


def test_training_spans_nodes_and_equals_one_process(
    spec: RunSpec, nodes: list[str], tmp_path: Path
) -> None:
    here = replace(spec, tiles=TileSpec(side=7), map=False)
    reports = []
    for workers, placement in (
        (2, "replicate"),
        (NODES, "shard"),
        (0, "auto"),
    ):
        signatures = tmp_path / f"signatures_{len(reports)}"
        signatures.mkdir()
        cluster = replace(spec.cluster, workers=workers, placement=placement)
        out = str(tmp_path / f"run_{len(reports)}")
        reports.append(
            run_curriculum(
                replace(here, cluster=cluster, out=out), loss=SignedLoss(str(signatures))
            )
        )
        assert len(_signatures(signatures) & set(nodes)) == workers
    two, sharded, one = ([row.loss for row in report.history] for report in reports)
    np.testing.assert_allclose(two, one, rtol=5e-3)
    assert sharded[-1] == pytest.approx(one[-1], rel=0.15)  # its batches are drawn otherwise
    for report in reports[:-1]:
        assert report.overall_accuracy == pytest.approx(reports[-1].overall_accuracy, abs=0.03)
