"""The small scene in every format that is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.io import savemat

from tests.rasters import (
    write_envi,
    write_hdf5,
    write_mat73,
    write_netcdf,
    write_plain_zarr,
    write_tif,
    write_zarr,
)

Values = NDArray[np.generic]
Write = Callable[[Path, Values], Path]


def _save(path: Path, values: Values) -> Path:
    np.save(path, values)
    return path


def save_npz(path: Path, values: Values) -> Path:
    np.savez_compressed(path, cube=values)
    return path


def _savemat(path: Path, values: Values) -> Path:
    savemat(path, {"cube": values})
    return path


def _pixels(values: Values) -> Values:
    """(B, N) with the pixels down the columns, as MATLAB's reshape gives them."""
    return values.transpose(1, 0, 2).reshape(-1, values.shape[2]).T


FORMATS: dict[str, tuple[str, Write]] = {
    "npy": ("a.npy", _save),
    "npy, columns fastest": ("a.npy", lambda p, v: _save(p, np.asfortranarray(v))),
    "npy, bands first": ("a.npy", lambda p, v: _save(p, v.transpose(2, 0, 1))),
    "npy, lines of bands": ("a.npy", lambda p, v: _save(p, v.transpose(0, 2, 1))),
    "npy, bands x pixels": ("a.npy", lambda p, v: _save(p, v.reshape(-1, v.shape[2]).T.copy())),
    "npy, turned": ("a.npy", lambda p, v: _save(p, v.reshape(-1, v.shape[2]).T)),
    "npy, pixels x bands": ("a.npy", lambda p, v: _save(p, v.reshape(-1, v.shape[2]))),
    "npz": ("a.npz", save_npz),
    "mat": ("a.mat", _savemat),
    "mat, bands x pixels": ("a.mat", lambda p, v: _savemat(p, _pixels(v))),
    "mat, pixels x bands": ("a.mat", lambda p, v: _savemat(p, _pixels(v).T)),
    "mat 7.3": ("a.mat", lambda p, v: write_mat73(p, cube=v)),
    "mat 7.3, bands first": ("a.mat", lambda p, v: write_mat73(p, cube=v.transpose(2, 0, 1))),
    "mat 7.3, bands x pixels": ("a.mat", lambda p, v: write_mat73(p, cube=_pixels(v))),
    "mat 7.3, pixels x bands": ("a.mat", lambda p, v: write_mat73(p, cube=_pixels(v).T)),
    "hdf5": ("a.h5", lambda p, v: write_hdf5(p, cube=v)),
    "hdf5 in a group": ("a.he5", lambda p, v: write_hdf5(p, **{"deep/cube": v})),
    "hdf5, bands first": ("a.hdf5", lambda p, v: write_hdf5(p, cube=v.transpose(2, 0, 1))),
    "hdf5, bands x pixels": (
        "a.h5",
        lambda p, v: write_hdf5(p, cube=v.reshape(-1, v.shape[2]).T),
    ),
    "hdf5 without a suffix": ("a", lambda p, v: write_hdf5(p, cube=v)),
    "envi bsq": ("a.hdr", write_envi),
    "envi bil": ("a.hdr", lambda p, v: write_envi(p, v, interleave="bil", ext=".img")),
    "envi bip, big-endian": (
        "a.hdr",
        lambda p, v: write_envi(p, v, interleave="bip", ext="", byteorder=1),
    ),
    "envi by its data": (
        "a.hdr",
        lambda p, v: write_envi(p, v, interleave="bil", ext=".raw").with_suffix(".raw"),
    ),
    "geotiff": ("a.tif", write_tif),
    "geotiff, tiled": (
        "a.tif",
        lambda p, v: write_tif(p, v, tiled=True, blockxsize=16, blockysize=16, interleave="pixel"),
    ),
    "erdas imagine": ("a.img", lambda p, v: write_tif(p, v, driver="HFA")),
    "netcdf": ("a.nc", write_netcdf),
    "netcdf, bands first": ("a.nc", lambda p, v: write_netcdf(p, v, "wavelength", "y", "x")),
    "netcdf, columns first": ("a.nc4", lambda p, v: write_netcdf(p, v, "x", "wavelength", "y")),
    "netcdf 3": ("a.nc", lambda p, v: write_netcdf(p, v.astype("i4"), engine="scipy")),
    "zarr": ("a.zarr", write_zarr),
    "zarr, a plain array": ("a.zarr", write_plain_zarr),
}
