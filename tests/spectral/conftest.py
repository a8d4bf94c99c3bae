"""A scene with coordinates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.rasters import write_tif

if TYPE_CHECKING:
    from tests.conftest import SceneFiles


@pytest.fixture(scope="module")
def tif(scene_files: SceneFiles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small scene with coordinates."""
    return write_tif(tmp_path_factory.mktemp("scene") / "a.tif", scene_files.values)
