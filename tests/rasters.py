"""Files with coordinates, as other programs write them, for tests of what reads them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import rasterio
import xarray
import zarr
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import Affine
from spectral.io import envi

UTM = "EPSG:32616"
# A site in Indiana, 20 m pixels.
CORNER = Affine(20, 0, 500_000, 0, -20, 4_477_000)
Values = NDArray[np.generic]


def wavelengths(bands: int) -> list[float]:
    """Of so many bands, nanometres, with two decimals as headers have them."""
    return np.linspace(400, 2500, bands).round(2).tolist()


def write_tif(
    path: Path,
    values: Values,
    *,
    crs: str | None = UTM,
    transform: Affine = CORNER,
    centres: Sequence[float] = (),
    **options: Any,
) -> Path:
    """A GeoTIFF of values (H, W) or (H, W, B), or another format with driver=."""
    stack = values[..., None] if values.ndim == 2 else values
    profile = {"driver": "GTiff", "dtype": stack.dtype, "crs": crs, "transform": transform}
    if crs is None:
        del profile["crs"], profile["transform"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        _write(path, stack, centres, {**profile, **options})
    return path


def _write(path: Path, stack: Values, centres: Sequence[float], profile: dict[str, Any]) -> None:
    height, width, count = stack.shape
    with rasterio.open(path, "w", height=height, width=width, count=count, **profile) as file:
        file.write(stack.transpose(2, 0, 1))
        for band, centre in enumerate(centres, 1):
            file.update_tags(band, wavelength=centre, wavelength_units="Nanometers")


MAP_INFO = ["UTM", 1, 1, CORNER.c, CORNER.f, 20, 20, 16, "North", "WGS-84", "units=Meters"]


def write_envi(
    path: Path,
    values: Values,
    *,
    interleave: str = "bsq",
    ext: str = ".dat",
    byteorder: int = 0,
    **fields: Any,
) -> Path:
    """An ENVI header and its data, written by the package spectral; gives the header."""
    envi.save_image(
        str(path),
        values,
        interleave=interleave,
        ext=ext,
        byteorder=byteorder,
        dtype=values.dtype,
        metadata={key.replace("_", " "): value for key, value in fields.items()},
        force=True,
    )
    return path


def edit(header: Path, **changes: str | None) -> Path:
    """An ENVI header with fields changed; None leaves one out."""
    new = {name.replace("_", " "): value for name, value in changes.items()}
    lines = [
        line
        for line in header.read_text().splitlines()
        if line.partition("=")[0].strip().lower() not in new
    ]
    lines += [f"{name} = {value}" for name, value in new.items() if value is not None]
    header.write_text("\n".join(lines) + "\n")
    return header


def write_mat73(path: Path, **arrays: Values) -> Path:
    """A MATLAB v7.3 file as MATLAB writes it: 512 bytes of its own, axes reversed."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in arrays.items():
            item = file.create_dataset(name, data=values.T, chunks=True, compression="gzip")
            item.attrs["MATLAB_class"] = np.bytes_(values.dtype.name)
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    return path


def write_hdf5(
    path: Path, attributes: Mapping[str, object] | None = None, **arrays: Values
) -> Path:
    """A plain HDF5 file; attributes are those of the first array."""
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values
        file[next(iter(arrays))].attrs.update(attributes or {})
    return path


def cf_dataset(
    values: Values, dims: tuple[str, str, str] = ("y", "x", "wavelength")
) -> xarray.Dataset:
    """A cube (H, W, B) with CF coordinates of the site, its axes in the order of ``dims``."""
    height, width, bands = values.shape
    coords = {
        "y": CORNER.f - 20 * (np.arange(height) + 0.5),
        "x": CORNER.c + 20 * (np.arange(width) + 0.5),
        "wavelength": ("wavelength", wavelengths(bands), {"units": "nm"}),
    }
    cube = xarray.DataArray(values, coords=coords, dims=("y", "x", "wavelength"))
    dataset = xarray.Dataset({"reflectance": cube.transpose(*dims)})
    dataset["spatial_ref"] = ((), 0, {"crs_wkt": rasterio.CRS.from_string(UTM).to_wkt()})
    dataset["reflectance"].attrs["grid_mapping"] = "spatial_ref"
    return dataset


def write_netcdf(path: Path, values: Values, *dims: str, engine: Any = "h5netcdf") -> Path:
    """A NetCDF file of `cf_dataset`."""
    cf_dataset(values, *([dims] if dims else [])).to_netcdf(path, engine=engine)
    return path


def write_zarr(path: Path, values: Values) -> Path:
    """A Zarr store of `cf_dataset`."""
    cf_dataset(values).to_zarr(path, consolidated=False)
    return path


def write_plain_zarr(path: Path, values: Values) -> Path:
    """A Zarr store that is one array, without names for its axes."""
    array = zarr.create_array(path, shape=values.shape, chunks=(8, 8, 4), dtype=values.dtype)
    array[:] = values
    return path
