"""Vector files of features, as users draw them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio.raw
import pytest
import shapely
from numpy.typing import NDArray
from rasterio.features import shapes
from rasterio.warp import transform
from shapely.geometry import shape

from st_ray.errors import SceneError
from st_ray.spectral.scene import Scene, SceneSpec, open_scene
from tests.rasters import CORNER, UTM

OTHERS = ["EPSG:4326", "EPSG:32617", "EPSG:3857"]


def open_labelled(cube: Path, labels: Path, **more: Any) -> Scene:
    """The scene with labels of another file."""
    return open_scene(SceneSpec(name=str(cube), labels=str(labels), **more))


def label_error(cube: Path, labels: Path, **more: Any) -> str:
    """The one line that opening it ends with."""
    with pytest.raises(SceneError) as caught:
        open_labelled(cube, labels, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def polygons(truth: NDArray[np.generic]) -> tuple[list[Any], list[int]]:
    """Outlines of the regions of equal class, and the class of each."""
    found = list(shapes(truth, truth != 0, transform=CORNER))
    return [shape(each) for each, _ in found], [int(value) for _, value in found]


def write_vector(
    path: Path,
    features: Sequence[Any],
    crs: str | None = UTM,
    written_in: str | None = None,
    **fields: Sequence[Any],
) -> Path:
    """A vector file of features in one CRS, written in another."""
    drawn = np.array(features, dtype=object)
    if written_in:
        drawn = shapely.transform(
            drawn, lambda xy: np.column_stack(transform(crs, written_in, xy[:, 0], xy[:, 1]))
        )
    pyogrio.raw.write(
        path,
        geometry=shapely.to_wkb(drawn),
        field_data=[np.array(values) for values in fields.values()],
        fields=list(fields),
        geometry_type="Unknown" if len({each.geom_type for each in features}) > 1
        else features[0].geom_type,
        crs=written_in or crs,
    )  # fmt: skip
    return path
