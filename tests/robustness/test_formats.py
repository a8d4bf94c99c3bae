"""Bad inputs, fifth table: ENVI, GeoTIFF, HDF5, NetCDF, Zarr and drawings, spoilt."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.robustness.conftest import Make, Row, Words, cube, given, labels, saved, train

HEADER = """ENVI
samples = 10
lines = 12
bands = 6
header offset = 0
file type = ENVI Standard
data type = 4
interleave = bip
byte order = 0
"""


def envi(change: Callable[[str], str] = str, values: bytes | None = None) -> Make:
    """A run on an ENVI scene with a changed header, or other bytes of values."""

    def make(folder: Path) -> Words:
        (folder / "scene.hdr").write_text(change(HEADER))
        content = cube().astype("<f4").tobytes() if values is None else values
        (folder / "scene.dat").write_bytes(content)
        return train(folder / "scene.hdr", saved(folder / "gt.npy", labels()))

    return make


def instead(old: str, new: str) -> Make:
    return envi(lambda header: header.replace(old, new))


def without(word: str) -> Make:
    return envi(lambda text: "".join(x for x in text.splitlines(True) if not x.startswith(word)))


def geotiff(path: Path, values: np.ndarray, *, crs: str | None = "EPSG:32616", **more: Any) -> Path:
    """Write (H, W, B) or (H, W) values, 30 m a pixel, upper left corner at (500000, 4480000)."""
    rasterio = pytest.importorskip("rasterio")
    bands = np.atleast_3d(values).transpose(2, 0, 1)
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "count": len(bands),
        "height": bands.shape[1],
        "width": bands.shape[2],
        "dtype": bands.dtype,
        "transform": rasterio.Affine(30, 0, 500_000, 0, -30, 4_480_000),
    }
    with rasterio.open(path, "w", **{**profile, "crs": crs, **more}) as file:
        file.write(bands)
    return path


def tif(change: Callable[[bytes], bytes] = bytes, **more: Any) -> Make:
    """A run on a GeoTIFF scene of changed bytes."""

    def make(folder: Path) -> Words:
        path = geotiff(folder / "scene.tif", cube(), **more)
        path.write_bytes(change(path.read_bytes()))
        return train(path, saved(folder / "gt.npy", labels()))

    return make


def hollow(count: int, kind: str) -> Callable[[Path], Path]:
    """A GeoTIFF that claims 10^5 x 10^5 x count pixels, and holds none."""

    def write(path: Path) -> Path:
        rasterio = pytest.importorskip("rasterio")
        size = {"width": 300_000, "height": 300_000, "count": count, "dtype": kind}
        crs, tiles = "EPSG:32616", {"tiled": True, "blockxsize": 4096, "blockysize": 4096}
        place = rasterio.Affine(30, 0, 500_000, 0, -30, 4_480_000)
        options = {"crs": crs, "transform": place, "SPARSE_OK": True, "BIGTIFF": "YES"}
        with rasterio.open(path, "w", driver="GTiff", **size, **tiles, **options):
            return path

    return write


def vast(folder: Path) -> Words:
    """A run with an HDF5 raster of labels that claims 10^13 values, and holds none."""
    with pytest.importorskip("h5py").File(folder / "gt.h5", "w") as file:
        file.create_dataset("gt", (10**7, 10**6), "u1", chunks=(4096, 4096))
    return train(saved(folder / "cube.npy", cube()), folder / "gt.h5")


def drawn(content: object, name: str = "gt.geojson", *, crs: str | None = "EPSG:32616") -> Make:
    """A run on a GeoTIFF scene with drawn labels of this content."""

    def make(folder: Path) -> Words:
        text = content if isinstance(content, str | bytes) else json.dumps(content)
        (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
        return train(geotiff(folder / "scene.tif", cube(), crs=crs), folder / name)

    return make


def features(kind: str, coordinates: object, **properties: object) -> dict[str, object]:
    """GeoJSON of one feature, in degrees."""
    geometry = {"type": kind, "coordinates": coordinates}
    feature = {"type": "Feature", "properties": properties, "geometry": geometry}
    return {"type": "FeatureCollection", "features": [feature]}


def labelled_by(write: Callable[[Path], object]) -> Make:
    """A run on a GeoTIFF scene with labels that a function writes as gt.tif."""

    def make(folder: Path) -> Words:
        write(folder / "gt.tif")
        return train(geotiff(folder / "scene.tif", cube()), folder / "gt.tif")

    return make


def binary(name: str, content: bytes) -> Make:
    def make(folder: Path) -> Words:
        (folder / name).write_bytes(content)
        return train(folder / name, saved(folder / "gt.npy", labels()))

    return make


def zarr(folder: Path) -> Words:
    (folder / "scene.zarr").mkdir()
    return train(folder / "scene.zarr", saved(folder / "gt.npy", labels()))


SQUARE = [[[-87.0, 40.47], [-86.99, 40.47], [-86.99, 40.46], [-87.0, 40.46], [-87.0, 40.47]]]
FAR = [[[10.0, 50.0], [10.1, 50.0], [10.1, 50.1], [10.0, 50.0]]]
ROWS = [
    Row("an empty header", envi(lambda _: ""), r"cannot read .*scene\.hdr|scene\.hdr"),
    Row("a header of text", envi(lambda _: "hello\n" * 9), r"scene\.hdr"),
    Row("a header without lines", without("lines"), r"scene\.hdr.*lines"),
    Row("a header without bands", without("bands"), r"scene\.hdr.*bands"),
    Row("a header without data type", without("data type"), r"scene\.hdr.*data type"),
    Row("a type that ENVI has not", instead("type = 4", "type = 99"), r"scene\.hdr.*99"),
    Row("an interleave of nobody", instead("bip", "xyz"), r"scene\.hdr.*xyz"),
    Row("negative samples", instead("samples = 10", "samples = -10"), r"scene\.hdr.*samples"),
    Row("lines that are text", instead("lines = 12", "lines = many"), r"scene\.hdr.*lines"),
    Row("lines of ten digits", instead("lines = 12", "lines = 9999999999"), r"scene\.(hdr|dat)"),
    Row("an offset past the end", instead("offset = 0", "offset = 99999"), r"scene\.(hdr|dat)"),
    Row("values cut short", envi(values=bytes(100)), r"scene\.(hdr|dat)"),
    Row("no values", envi(values=b""), r"scene\.(hdr|dat)"),
    Row(
        "fewer wavelengths than bands",
        envi(lambda header: header + "wavelength = {1, 2}\n"),
        r"2 values of 'wavelength' for 6 bands; unused",
        fine=True,
    ),
    Row("a GeoTIFF of text", binary("scene.tif", b"II*\0 hello"), r"cannot read .*scene\.tif"),
    Row("an empty GeoTIFF", binary("scene.tif", b""), r"cannot read .*scene\.tif"),
    Row("a GeoTIFF cut in half", tif(lambda x: x[: len(x) // 2]), r"cannot read .*scene\.tif"),
    Row("a GeoTIFF cut in its header", tif(lambda x: x[:9]), r"cannot read .*scene\.tif"),
    Row(
        "a GeoTIFF of complex values",
        lambda folder: train(
            geotiff(folder / "scene.tif", cube() * np.complex64(1j)),
            saved(folder / "gt.npy", labels()),
        ),
        r"expected real numbers",
    ),
    Row("a GeoTIFF of 90 GB of labels", labelled_by(hollow(1, "uint8")), r"claims 90 GB"),
    Row("an HDF5 raster of 10 TB of labels", vast, r"cannot read .*gt\.h5: it claims 1e\+04 GB"),
    Row("labels of another continent", labelled_by(lambda path: _far(path)), r"lies in the scene"),
    Row("labels in three bands", labelled_by(lambda p: geotiff(p, cube()[..., :3])), r"2 dimens"),
    Row("an HDF5 file cut short", binary("s.h5", b"\x89HDF\r\n\x1a\n" + bytes(40)), r"cannot read"),
    Row("an HDF5 file of text", binary("scene.h5", b"hello" * 40), r"cannot read"),
    Row("a NetCDF file of text", binary("scene.nc", b"hello" * 40), r"cannot read"),
    Row("a NetCDF file cut short", binary("scene.nc", b"CDF\x01" + bytes(20)), r"cannot read"),
    Row("a Zarr store without content", zarr, r"scene\.zarr is a folder"),
    Row("drawings of text", drawn("hello"), r"cannot read .*gt\.geojson"),
    Row("drawings cut short", drawn('{"type": "FeatureColl'), r"cannot read .*gt\.geojson"),
    Row("no drawing", drawn({"type": "FeatureCollection", "features": []}), r"gt\.geojson"),
    Row("a GeoPackage of noise", drawn(b"SQLite format 3\0" + bytes(90), "g.gpkg"), r"g\.gpkg"),
    Row("a Shapefile without its index", drawn(bytes(100), "gt.shp"), r"cannot read .*gt\.shp"),
    Row("drawings without a class", drawn(features("Polygon", SQUARE, m=3.5, n=1)), r"gt\.geojson"),
    Row("a class of no number", drawn(features("Polygon", SQUARE, label=1.5)), r"gt\.ge.*1\.5"),
    Row("a class of nothing", drawn(features("Polygon", SQUARE, label=None)), r"gt\.geojson"),
    Row("lines", drawn(features("LineString", SQUARE[0], label=1)), r"gt\.geojson"),
    Row("drawings of elsewhere", drawn(features("Polygon", FAR, label=1)), r"no feature covers"),
    Row(
        "drawings on a scene without coordinates",
        lambda folder: train(
            saved(folder / "cube.npy", cube()), _text(folder / "gt.geojson", "{}")
        ),
        r"the scene has no coordinates",
    ),
    Row(
        "drawings on a GeoTIFF without a CRS",
        drawn(features("Polygon", SQUARE, label=1), crs=None),
        r"coordinate|CRS",
    ),
]


def _far(path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    place = rasterio.Affine(0.01, 0, 120.0, 0, -0.01, -30.0)
    geotiff(path, labels().astype("u1"), crs="EPSG:4326", transform=place)


def _text(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize("row", ROWS, ids=given)
def test_a_spoilt_file_is_one_line(check: Callable[[Row], None], row: Row) -> None:
    check(row)
