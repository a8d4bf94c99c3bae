"""One Ray on this machine for each module of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from st_ray import ClusterSpec, RunSpec, SceneSpec, TileSpec, TrainSpec


@pytest.fixture(scope="module")
def ray_session(s3) -> Iterator[None]:  # whose workers know the credentials
    from st_ray.cluster.session import Session

    session = Session(verbose=False)
    session.open()
    yield
    session.close()


@pytest.fixture(scope="module", autouse=True)
def no_pixels_too_few() -> Iterator[None]:
    """Tiles go through Ray Data, however few they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("st_ray.cluster.engine.FEW_MEASURED", -1)
        patch.setattr("st_ray.cluster.engine.FEW_CLASSIFIED", -1)
        yield


@pytest.fixture(scope="session")
def spec(scene_files) -> RunSpec:
    """A run of seconds whose model has BatchNorm and Dropout, at two stages."""
    return RunSpec(
        scene=SceneSpec(name=str(scene_files.cube), labels=str(scene_files.labels)),
        tiles=TileSpec(side=16),
        backbone="hybridsn",
        curriculum="paper",
        patch_size=5,
        epochs=12,
        train=TrainSpec(optimizer="muon", learning_rate=1e-2, batch_size=16),
        cluster=ClusterSpec(workers=2, device="cpu", threads=1),
    )
