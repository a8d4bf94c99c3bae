"""Inspections of the small scene."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from st_ray import RunSpec, SceneSpec
from st_ray.doctor.inspecting import Inspection, inspect_scene

Look = Callable[..., Inspection]


@pytest.fixture
def look(tmp_path: Path, scene_files, spec: RunSpec) -> Look:
    """Inspect the small scene with other values or labels."""

    def inspect(
        values: NDArray[np.generic] | None = None,
        labels: NDArray[np.generic] | None = None,
        **more: Any,
    ) -> Inspection:
        np.save(tmp_path / "cube.npy", scene_files.values if values is None else values)
        np.save(tmp_path / "labels.npy", scene_files.truth if labels is None else labels)
        scene = SceneSpec(
            name=str(tmp_path / "cube.npy"), labels=str(tmp_path / "labels.npy"), **more
        )
        return inspect_scene(replace(spec, scene=scene), forecast=False)

    return inspect
