"""The forms that a map may take, by the suffix of its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from st_ray.errors import OutputError, require
from st_ray.inference.gdal import write_cog, write_envi
from st_ray.inference.layers import Made
from st_ray.inference.plain import write_npy, write_png, write_zarr
from st_ray.learn.card import ModelCard
from st_ray.learn.tilemap import id_type
from st_ray.storage import bare


@dataclass(frozen=True, kw_only=True, slots=True)
class MapFormat:
    """How a map is written.

    Attributes:
        name: In words.
        suffix: Of the file that holds the classes.
        write: Writes all rasters; the one of the classes under the path that it is given.
        package: What it needs, or None.
        extra: The extra of st_ray that installs it.
        classes_only: Whether it holds class ids up to 255 and nothing else.
    """

    name: str
    suffix: str
    write: Callable[[Made, Path], None]
    package: str | None = None
    extra: str = ""
    classes_only: bool = False


def _envi(suffix: str) -> MapFormat:
    return MapFormat(name="ENVI", suffix=suffix, write=write_envi, package="rasterio", extra="geo")


def _cog(suffix: str) -> MapFormat:
    name = "Cloud-Optimised GeoTIFF"
    return MapFormat(name=name, suffix=suffix, write=write_cog, package="rasterio", extra="geo")


FORMATS = {
    ".tif": _cog(".tif"),
    ".tiff": _cog(".tiff"),
    ".img": _envi(".img"),
    ".dat": _envi(".dat"),
    ".hdr": _envi(".img"),  # the header's name stands for both files
    ".zarr": MapFormat(
        name="Zarr", suffix=".zarr", write=write_zarr, package="zarr", extra="netcdf"
    ),
    ".npy": MapFormat(name="NumPy", suffix=".npy", write=write_npy),
    ".png": MapFormat(name="PNG", suffix=".png", write=write_png, classes_only=True),
}


def default_name() -> str:
    """What a map is called where nobody says: a GeoTIFF if it can be written, else a picture."""
    return "map.tif" if find_spec("rasterio") else "map.png"


def find_format(out: str, card: ModelCard, *, more: bool) -> MapFormat:
    """The form of a map by its name.

    Args:
        out: A path or URI.
        card: Whose classes it is to hold.
        more: Whether it is to hold probabilities or confidence, too.

    Raises:
        OutputError: The suffix stands for none, the form cannot hold what is asked, or a package
            is missing.
    """
    suffix = PurePosixPath(bare(out)).suffix.lower()
    if suffix not in FORMATS:
        raise OutputError(
            f"--out {out}: a map's name ends in one of {', '.join(FORMATS)}, which says how it is "
            "written"
        )
    form = FORMATS[suffix]
    if form.classes_only and (more or id_type(card.classes).itemsize > 1):
        raise OutputError(
            f"--out {out}: {form.name} holds class ids up to 255 and nothing else; choose .tif, "
            ".img, .zarr or .npy"
        )
    if form.package is not None:
        require(form.package, form.extra, f"--out {out}", OutputError)
    return form
