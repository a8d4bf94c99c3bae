"""Labels drawn as polygons or points: reprojected to the scene and burned into its pixels.

Shape letters: H W scene, F features.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from st_ray.errors import SceneError, require
from st_ray.spectral.metadata import Grid
from st_ray.spectral.readers.base import reading
from st_ray.spectral.vector_classes import Classes, class_attribute, class_ids, naming_attributes

VECTOR_SUFFIXES = (".gpkg", ".geojson", ".json", ".shp", ".fgb", ".gml", ".kml")
_POINTS, _POLYGONS = (0, 4), (3, 6)  # geometry types of shapely


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Drawn:
    """A scene's labels out of a vector file.

    Attributes:
        ids: (H, W) int32 class ids, 0 = unlabelled.
        names: Class id to name; of classes given as text, or named by another attribute.
        numbered: Whether the ids are no more than the order of the names.
        notes: What was assumed or left out, one line each.
    """

    ids: NDArray[np.int32]
    names: dict[int, str]
    numbered: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Features:
    """What a layer holds.

    Attributes:
        shapes_F: (F,) geometries of shapely.
        classes_F: (F,) the class of each.
        beside: Attribute that may name the classes to its values (F,), the likeliest first.
        crs: Their CRS; None if unknown.
    """

    shapes_F: NDArray[np.object_]
    classes_F: NDArray[np.generic]
    beside: dict[str, NDArray[np.generic]]
    crs: str | None


def draw(path: Path, key: str | None, grid: Grid | None, shape: Sequence[int]) -> Drawn:
    """Burn the features of a vector file into a raster.

    A pixel belongs to the polygon that its centre lies in, and to the class of a point in it.

    Args:
        path: GeoPackage, GeoJSON, Shapefile, FlatGeobuf or another file that GDAL opens.
        key: The attribute that holds the class, "LAYER" or "LAYER.ATTRIBUTE"; None finds it.
        grid: Of the scene.
        shape: (H, W) of the scene.

    Raises:
        SceneError: Unreadable, no class attribute, no usable feature, or no coordinates to lay
            the scene and the features over each other.
    """
    if not path.is_file():
        raise SceneError(f"no such file: {path}")
    if grid is None:
        raise SceneError(
            f"labels {path} are drawn on the ground, and the scene has no coordinates; give a "
            f"raster of {shape[0]} x {shape[1]} class ids, or a scene with coordinates"
        )
    features, attribute, notes = _read(path, key)
    shapes_F, ids_F, classes, more = _usable(path, features, attribute)
    shapes_F, told = _reproject(path, shapes_F, features.crs, grid, shape)
    ids, crossed = _burn(shapes_F, ids_F, grid, shape)
    if not ids.any():
        raise SceneError(
            f"labels {path}: no feature covers the centre of a pixel; the scene covers "
            f"{_listed(_bounds(grid, shape))}, the features {_listed(_extent(shapes_F))} in its "
            "coordinates"
        )
    if crossed:
        more += (f"{path.name}: {crossed} pixels lie in two classes; the later feature counts",)
    notes = (*notes, *told, *more)
    return Drawn(ids=ids, names=classes.names, numbered=classes.numbered, notes=notes)


def _read(path: Path, key: str | None) -> tuple[_Features, str, tuple[str, ...]]:
    pyogrio = require("pyogrio", "geo", f"reading labels {path.name}")
    shapely = require("shapely", "geo", f"reading labels {path.name}")
    with reading(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a file that is refused, GDAL warns too
        layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
        layer, attribute = _layer(path, layers, key)
        fields = [str(name) for name in pyogrio.read_info(path, layer=layer)["fields"]]
        chosen, notes = class_attribute(path, fields, attribute)
        beside = naming_attributes(fields, chosen)
        meta, _, shapes, columns = pyogrio.raw.read(path, layer=layer, columns=[chosen, *beside])
        shapes_F = np.asarray(shapely.from_wkb(shapes), dtype=object)
    # They come in the file's order.
    values = dict(zip(map(str, meta["fields"]), map(np.asarray, columns), strict=True))
    features = _Features(
        shapes_F=shapes_F,
        classes_F=values[chosen],
        beside={field: values[field] for field in beside},
        crs=meta["crs"],
    )
    return features, chosen, notes


def _layer(path: Path, layers: list[str], key: str | None) -> tuple[str, str | None]:
    """The layer to read, and what the key leaves to name the attribute."""
    if not layers:
        raise SceneError(f"labels {path}: no layer with polygons or points in it")
    if key in layers:
        return str(key), None
    for name in layers:
        if key is not None and key.startswith(f"{name}."):
            return name, key.removeprefix(f"{name}.")
    if len(layers) > 1:
        raise SceneError(
            f"labels {path}: several layers: {', '.join(layers)}; say which with "
            "--set scene.labels_key=LAYER or LAYER.ATTRIBUTE"
        )
    return layers[0], key


def _usable(
    path: Path, features: _Features, attribute: str
) -> tuple[NDArray[np.object_], NDArray[np.int32], Classes, tuple[str, ...]]:
    """The features that have a shape and a class, and ids of the classes."""
    shapely = require("shapely", "geo", f"reading labels {path.name}")
    kinds = shapely.get_type_id(features.shapes_F)
    drawn = np.isin(kinds, _POINTS + _POLYGONS) & ~shapely.is_empty(features.shapes_F)
    classed = np.array([value is not None and value == value for value in features.classes_F])
    kept = drawn & classed.astype(bool)
    if not kept.any():
        raise SceneError(
            f"labels {path}: expected polygons or points with a class in {attribute!r}, found "
            f"none among {len(kinds)} features"
        )
    notes: tuple[str, ...] = ()
    if not kept.all():
        count = int((~kept).sum())
        notes = (
            f"{path.name}: {count} of {len(kinds)} features left out: no polygon or point, or no "
            f"value of {attribute!r}",
        )
    beside = {field: values[kept] for field, values in features.beside.items()}
    ids_F, classes, told = class_ids(path, features.classes_F[kept], attribute, beside)
    return features.shapes_F[kept], ids_F, classes, (*notes, *told)


def _reproject(
    path: Path, shapes_F: NDArray[np.object_], crs: str | None, grid: Grid, shape: Sequence[int]
) -> tuple[NDArray[np.object_], tuple[str, ...]]:
    """Shapes in the scene's CRS."""
    if not crs or not grid.crs:
        whose = "the features have" if not crs else "the scene has"
        low, high = _bounds(grid, shape), _extent(shapes_F)
        if low[0] > high[2] or high[0] > low[2] or low[1] > high[3] or high[1] > low[3]:
            raise SceneError(
                f"labels {path}: {whose} no coordinate reference system, and the features at "
                f"{_listed(high)} lie beside the scene at {_listed(low)}; set one"
            )
        return shapes_F, (
            f"{path.name}: {whose} no coordinate reference system; both are taken to be in one",
        )
    systems = require("rasterio.crs", "geo", "reprojecting labels").CRS
    source, target = systems.from_user_input(crs), systems.from_user_input(grid.crs)
    if source == target:
        return shapes_F, ()
    shapely = require("shapely", "geo", "reprojecting labels")
    transform = require("rasterio.warp", "geo", "reprojecting labels").transform

    def to_scene(points_N2: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack(transform(source, target, points_N2[:, 0], points_N2[:, 1]))

    return np.asarray(shapely.transform(shapes_F, to_scene)), ()


def _burn(
    shapes_F: NDArray[np.object_], ids_F: NDArray[np.int32], grid: Grid, shape: Sequence[int]
) -> tuple[NDArray[np.int32], int]:
    """Class ids (H, W), and how many pixels features of two classes share."""
    rasterize = require("rasterio.features", "geo", "drawing labels").rasterize
    affine = require("rasterio.transform", "geo", "drawing labels").Affine
    pairs: list[Any] = list(zip(shapes_F, ids_F.tolist(), strict=True))
    burned = [
        np.asarray(
            rasterize(
                order,
                out_shape=tuple(shape),
                transform=affine(*grid.transform),
                all_touched=False,
                dtype="int32",
            )
        )
        for order in (pairs, pairs[::-1])
    ]
    return burned[0], int((burned[0] != burned[1]).sum())


def _bounds(grid: Grid, shape: Sequence[int]) -> tuple[float, float, float, float]:
    """Least and greatest x and y of a raster: (x, y, X, Y)."""
    a, b, c, d, e, f = grid.transform
    corners = [(col, row) for col in (0, shape[1]) for row in (0, shape[0])]
    xs, ys = zip(*((a * x + b * y + c, d * x + e * y + f) for x, y in corners), strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _extent(shapes_F: NDArray[np.object_]) -> tuple[float, float, float, float]:
    shapely = require("shapely", "geo", "drawing labels")
    left, bottom, right, top = shapely.total_bounds(shapes_F)
    return float(left), float(bottom), float(right), float(top)


def _listed(bounds: tuple[float, float, float, float]) -> str:
    left, bottom, right, top = bounds
    return f"x {left:.6g} to {right:.6g}, y {bottom:.6g} to {top:.6g}"
