"""Model bundles with fresh weights, for tests that need no training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save_model
from torch import nn

from st_ray.learn.backbones import build_backbone
from st_ray.learn.bundle import ModelCard, save_bundle
from st_ray.spectral.basis import SpectralBasis


def basis_of(bands: int) -> SpectralBasis:
    """One that leaves the bands as they are."""
    return SpectralBasis(
        mean_B=np.zeros(bands),
        axes_KB=np.eye(bands),
        variances_K=np.ones(bands),
        total_variance=float(bands),
        whitening=0.5,
        count=9,
    )


def card_of(**changes: Any) -> ModelCard:
    """A small network's, over six of eight bands."""
    usual = {
        "backbone": "resnet2d",
        "backbone_options": {"width": 8},
        "components": 6,
        "patch_size": 5,
        "classes": (2, 5, 9),
        "class_names": ("a", "b", "c"),
        "file_bands": 8,
        "bands": (0, 1, 2, 4, 6, 7),
        "curriculum": "none",
        "fingerprint": "one",
        "wavelengths": tuple(400.0 + 10 * band for band in range(8)),
    }
    return ModelCard(**{**usual, **changes})


def write_bundle(folder: Path, card: ModelCard, model: nn.Module | None = None) -> Path:
    """A bundle with fresh weights."""
    model = model or build_backbone(
        card.backbone,
        components=card.components,
        patch_size=card.patch_size,
        classes=len(card.classes),
        **card.backbone_options,
    )
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder.with_name(f"{folder.name}.weights")
    save_model(model, str(weights))
    save_bundle(folder, weights, basis_of(len(card.bands)), card)
    return folder
