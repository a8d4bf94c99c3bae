"""Backbones by name; importing this package registers them."""

from __future__ import annotations

from st_ray.learn.backbones import (
    cnn1d,
    cnn3d,
    hybridsn,
    resnet2d,
    spectralformer,
    ssftt,
    ssrn,
    vit,
)
from st_ray.learn.backbones.factory import load_factory, one_line
from st_ray.learn.backbones.registry import (
    BackboneEntry,
    backbone_entry,
    backbones,
    build_backbone,
    check_backbone,
    register_backbone,
)

__all__ = [
    "BackboneEntry",
    "backbone_entry",
    "backbones",
    "build_backbone",
    "check_backbone",
    "cnn1d",
    "cnn3d",
    "hybridsn",
    "load_factory",
    "one_line",
    "register_backbone",
    "resnet2d",
    "spectralformer",
    "ssftt",
    "ssrn",
    "vit",
]
