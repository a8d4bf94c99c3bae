"""What `st-ray bench inference` measures on: a synthetic scene, and a model that is not trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from st_ray.config import ClusterSpec
from st_ray.inference.spec import PredictSpec
from st_ray.learn.backbones import build_backbone
from st_ray.learn.bundle import save_bundle
from st_ray.learn.card import ModelCard
from st_ray.spectral.basis import solve_basis
from st_ray.spectral.moments import measure
from st_ray.spectral.scene import SceneSpec
from st_ray.spectral.synthetic import NODATA, SyntheticSpec, make_rows, write_synthetic

_SMALLEST = 64  # pixels on a side that a basis is fitted on


@dataclass(frozen=True, kw_only=True, slots=True)
class InferenceSpec:
    """What is measured.

    Attributes:
        gigabytes: Size of the scene that is mapped, 10⁹ bytes, two bytes a value.
        bands: Of it.
        backbone: That maps it.
        components: Of every network.
        patch_size: Of every network.
        workers: Ray workers of the large map; 0: one process without Ray.
        threads: CPU threads of a process.
        rounds: Times that all is measured, in turn.
        seed: Of scene and weights.
    """

    gigabytes: float
    bands: int
    backbone: str
    components: int
    patch_size: int
    workers: int
    threads: int
    rounds: int
    seed: int


def save_model(spec: InferenceSpec, folder: Path) -> None:
    """Write a bundle: a basis of the scene's first rows, and a network with random weights."""
    first_rows, _ = make_rows(_synthetic(spec, _SMALLEST), range(_SMALLEST))
    spectra_NB = first_rows[first_rows[:, :, 0] != NODATA].astype(np.float32)
    basis = solve_basis(measure(spectra_NB), spec.components, whitening=0.5)
    synthetic = _synthetic(spec, _SMALLEST)
    classes = tuple(range(1, synthetic.classes + 1))
    card = ModelCard(
        backbone=spec.backbone,
        backbone_options={},
        components=spec.components,
        patch_size=spec.patch_size,
        classes=classes,
        class_names=tuple(f"class {index}" for index in classes),
        file_bands=spec.bands,
        bands=tuple(range(spec.bands)),
        curriculum="none",
        fingerprint="none",
    )
    weights = folder.with_suffix(".safetensors")
    save_file(make_network(spec.backbone, spec).state_dict(), weights)
    save_bundle(folder, weights, basis, card)


def make_network(name: str, spec: InferenceSpec) -> torch.nn.Module:
    """A network of the bench's sizes, in evaluation mode.

    Raises:
        SpecError: The name is unknown.
    """
    torch.manual_seed(spec.seed)
    classes = _synthetic(spec, _SMALLEST).classes
    return build_backbone(
        name, components=spec.components, patch_size=spec.patch_size, classes=classes
    ).eval()


def _synthetic(spec: InferenceSpec, side: int) -> SyntheticSpec:
    return SyntheticSpec(height=side, width=side, bands=spec.bands, seed=spec.seed)


def make_scene(spec: InferenceSpec, side: int, folder: Path) -> SceneSpec:
    """Write a square scene of so many pixels on a side."""
    cube, _ = write_synthetic(_synthetic(spec, side), folder, threads=spec.threads)
    return SceneSpec(name=str(cube), nodata=NODATA)


def map_task(spec: InferenceSpec, place: Path, scene: SceneSpec, *, workers: int) -> PredictSpec:
    """The map of a scene by the model that `save_model` wrote to place/model."""
    return PredictSpec(
        model=str(place / "model"),
        scene=scene,
        out=str(Path(scene.name).parent / "map.npy"),
        cluster=ClusterSpec(workers=workers, threads=spec.threads, device="cpu"),
    )
