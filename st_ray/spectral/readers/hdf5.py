"""Arrays in HDF5 files, MATLAB's v7.3 among them: what there is, and windows of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from st_ray.errors import require

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_OFFSETS = (0, 512)  # MATLAB writes its own 512 bytes first
_MATLAB_TEXT = b"MATLAB 7.3"
_CHUNKS_KEPT = 64 << 20  # bytes a data set; neighbouring tiles share chunks


def is_hdf5(path: Path) -> bool:
    """Whether a file is HDF5, by its first bytes."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(_OFFSETS[-1] + len(_SIGNATURE))
    return start.startswith(_MATLAB_TEXT) or any(
        start[offset : offset + len(_SIGNATURE)] == _SIGNATURE for offset in _OFFSETS
    )


def hdf5_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of the numeric data sets by name, as MATLAB shows them where it wrote the file.

    Raises:
        SceneError: h5py is not installed.
        OSError: The file is damaged.
    """
    h5py = _h5py(path)
    shapes: dict[str, tuple[int, ...]] = {}

    def visit(name: str, item: Any) -> None:
        hidden = name.startswith("#") or "MATLAB_empty" in item.attrs
        text = _plain(item.attrs.get("MATLAB_class", "")) == "char"
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "biuf" and not (hidden or text):
            shapes[name] = tuple(item.shape)[::-1] if _matlab(path) else tuple(item.shape)

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return shapes


def read_hdf5(path: Path, key: str) -> NDArray[np.generic]:
    """One data set whole, with its axes as MATLAB shows them where it wrote the file."""
    with _h5py(path).File(path, "r") as file:
        values = np.asarray(file[key][()])
    return values.T if _matlab(path) else values


def hdf5_bytes(path: Path, key: str) -> int:
    """Size of a data set in memory; on disk it may be a few bytes, compressed or never written."""
    with _h5py(path).File(path, "r") as file:
        return int(file[key].nbytes)


def attributes(path: Path, key: str) -> dict[str, Any]:
    """The single values among the attributes of a data set, by name; text as str."""
    with _h5py(path).File(path, "r") as file:
        found = dict(file[key].attrs)
    return {name: _plain(value) for name, value in found.items() if np.size(value) == 1}


def open_dataset(path: Path, key: str) -> Any:
    """An open data set as it is stored; the file stays open as long as it is used."""
    file = _h5py(path).File(path, "r", rdcc_nbytes=_CHUNKS_KEPT)
    return file[key]


def _plain(value: Any) -> Any:
    single = np.asarray(value).reshape(-1)[0]
    return single.decode(errors="replace") if isinstance(single, bytes) else single


def _matlab(path: Path) -> bool:
    return path.suffix.lower() == ".mat"


def _h5py(path: Path) -> Any:
    return require("h5py", "hdf5", f"reading {path.name}, an HDF5 file,")
