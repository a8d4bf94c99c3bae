from __future__ import annotations

import numpy as np
import pytest

from st_ray.spectral.patches import TileStack
from tests.small_jobs import BANDS, HALO


@pytest.fixture(scope="module")
def stack() -> TileStack:
    """One tile of 12 x 12 pixels whose class is a stripe with its own mean."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(12 + 2 * HALO, 12 + 2 * HALO, BANDS)).astype(np.float32)
    values += (np.arange(18) // 6)[None, :, None] * np.linspace(0.5, 1.5, BANDS, dtype=np.float32)
    return TileStack(values_REK=values, halo=HALO)
