"""A map made by actors is the one that this process makes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from st_ray import ClusterSpec, SceneSpec
from st_ray.engine import open_engine
from st_ray.errors import SceneError
from st_ray.inference.run import predict_maps
from st_ray.inference.spec import PredictSpec
from st_ray.learn.bundle import load_bundle
from st_ray.learn.tilemap import PredictTiles
from st_ray.spectral.scene import open_cube
from st_ray.spectral.tiles import TileSpec, plan_tiles
from tests.small_bundles import card_of, write_bundle

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_session")]

TWO = ClusterSpec(workers=2, device="cpu", threads=1)


@pytest.fixture
def asked(scene_files, tmp_path) -> PredictSpec:
    bands = {"components": 12, "file_bands": 12, "bands": tuple(range(12)), "wavelengths": ()}
    torch.manual_seed(0)  # of the network's fresh weights
    np.save(tmp_path / "cube.npy", (scene_files.values - np.float32(1000)) / 400)
    return PredictSpec(
        model=str(write_bundle(tmp_path / "model", card_of(**bands))),
        scene=SceneSpec(name=str(tmp_path / "cube.npy")),
        out=str(tmp_path / "map.npy"),
        probability=True,
        side=7,
        cluster=TWO,
    )


def test_two_actors_make_the_map_that_this_process_makes(asked, tmp_path) -> None:
    (result,) = predict_maps(asked)
    assert result.predicted_pixels == result.valid_pixels == 30 * 26
    assert result.forward_seconds > 0
    alone = replace(
        asked, out=str(tmp_path / "alone.npy"), cluster=replace(asked.cluster, workers=0)
    )
    predict_maps(alone)
    for name in ("{}.npy", "{}_probability.npy"):
        one, other = (np.load(tmp_path / name.format(stem)) for stem in ("map", "alone"))
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert one.std(axis=(0, 1)).min() > 1e-3  # it tells pixels apart


def test_bad_input_inside_an_actor_is_one_line_and_no_tiles_are_no_matter(asked) -> None:
    model, basis, card = load_bundle(asked.model)
    cube, _ = open_cube(asked.scene)
    work = PredictTiles(
        cube=replace(cube, path="/nowhere/cube.npy"),
        model=model,
        basis=basis,
        card=card,
        side=7,
        device="cpu",
    )
    tiles = plan_tiles(cube.shape, TileSpec(side=7))
    with open_engine(TWO) as engine, pytest.raises(SceneError, match="/nowhere") as caught:
        list(engine.stream_tiles(work, tiles))
    assert "\n" not in str(caught.value)
    with open_engine(TWO) as engine:
        assert list(engine.stream_tiles(work, ())) == []
