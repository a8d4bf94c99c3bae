from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from st_ray.inference.spec import PredictSpec
from st_ray.learn.bundle import load_bundle
from st_ray.spectral.metadata import Grid, Metadata
from st_ray.spectral.scene import SceneSpec, open_cube

# A scene of metres in UTM zone 16, turned by nothing, with oblong pixels.
GRID = Grid(crs="EPSG:32616", transform=(20.0, 0.0, 500_010.0, 0.0, -30.0, 4_480_000.0))


@pytest.fixture
def asked(finished, scene_files, tmp_path: Path) -> PredictSpec:
    """A map of the small scene by the model that learnt it, in 20 tiles."""
    from st_ray import ClusterSpec

    return PredictSpec(
        model=str(finished[1]),
        scene=SceneSpec(name=str(scene_files.cube)),
        out=str(tmp_path / "map.npy"),
        side=7,
        cluster=ClusterSpec(workers=0, device="cpu", threads=1),
    )


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have files say more than a .npy can: ``told(grid=…, wavelengths=…)``."""

    def tell(**facts: object) -> None:
        def opened(scene: SceneSpec, bands: int | None) -> object:
            cube, notes = open_cube(scene, bands)
            return replace(cube, meta=Metadata(**facts)), notes

        monkeypatch.setattr("st_ray.inference.task.open_cube", opened)

    return tell


def one_pass(model: Path, values_HWB: NDArray[np.floating]) -> NDArray[np.int32]:
    """The map as one forward pass over all patches of a scene gives it."""
    network, basis, card = load_bundle(model)
    halo = card.patch_size // 2
    values_HWK = basis.project(values_HWB[:, :, list(card.bands)], card.components)
    padded = np.pad(values_HWK, ((halo, halo), (halo, halo), (0, 0)), mode="reflect")
    patches = np.lib.stride_tricks.sliding_window_view(padded, (card.patch_size,) * 2, (0, 1))
    with torch.inference_mode():
        logits = network(torch.from_numpy(patches.reshape(-1, *patches.shape[2:]).copy()))
    return np.array(card.classes)[logits.argmax(1).numpy()].reshape(values_HWK.shape[:2])


@pytest.fixture(scope="session")
def in_memory(finished, scene_files) -> NDArray[np.int32]:
    """The map of the small scene."""
    return one_pass(finished[1], scene_files.values)


def stop_after_six(event: dict) -> None:
    """A listener that interrupts a map after six of its tiles, of which the fourth is narrow."""
    if event["kind"] == "mapped" and event["pixels"] == SIX:
        raise KeyboardInterrupt


SIX = 5 * 7 * 7 + 5 * 7  # pixels
