"""st_ray: train hyperspectral classifiers as a curriculum, on a laptop or a Ray cluster."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from st_ray.config import ClusterSpec, RunSpec
    from st_ray.errors import StRayError
    from st_ray.inference.run import predict_map
    from st_ray.inference.spec import MapResult
    from st_ray.learn.backbones import build_backbone, register_backbone
    from st_ray.learn.curriculum import Curriculum, Stage
    from st_ray.learn.job import TrainSpec
    from st_ray.pipeline import run_curriculum
    from st_ray.report import Report
    from st_ray.spectral.basis import BasisSpec
    from st_ray.spectral.scene import SceneSpec, open_scene
    from st_ray.spectral.split import SplitSpec
    from st_ray.spectral.tiles import TileSpec

_HOMES = {
    "BasisSpec": "st_ray.spectral.basis",
    "ClusterSpec": "st_ray.config",
    "Curriculum": "st_ray.learn.curriculum",
    "MapResult": "st_ray.inference.spec",
    "Report": "st_ray.report",
    "RunSpec": "st_ray.config",
    "SceneSpec": "st_ray.spectral.scene",
    "SplitSpec": "st_ray.spectral.split",
    "StRayError": "st_ray.errors",
    "Stage": "st_ray.learn.curriculum",
    "TileSpec": "st_ray.spectral.tiles",
    "TrainSpec": "st_ray.learn.job",
    "build_backbone": "st_ray.learn.backbones",
    "open_scene": "st_ray.spectral.scene",
    "predict_map": "st_ray.inference.run",
    "register_backbone": "st_ray.learn.backbones",
    "run_curriculum": "st_ray.pipeline",
}

__all__ = [
    "BasisSpec",
    "ClusterSpec",
    "Curriculum",
    "MapResult",
    "Report",
    "RunSpec",
    "SceneSpec",
    "SplitSpec",
    "StRayError",
    "Stage",
    "TileSpec",
    "TrainSpec",
    "build_backbone",
    "open_scene",
    "predict_map",
    "register_backbone",
    "run_curriculum",
]


def __getattr__(name: str) -> object:
    """Import a public name on first use: `import st_ray` alone loads neither torch nor ray."""
    if name not in _HOMES:
        raise AttributeError(f"module 'st_ray' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
