"""What the head of a file claims that it holds, before anything is unpacked."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO

import numpy as np
import psutil

from st_ray.errors import SceneError


def check_room(path: Path, claimed: int) -> None:
    """See that what a file is said to hold fits the free memory, before it is read whole.

    Args:
        path: The file.
        claimed: Bytes.

    Raises:
        SceneError: It does not.
    """
    free = psutil.virtual_memory().available
    if claimed > free:
        raise SceneError(
            f"cannot read {path}: it claims {claimed / 1e9:.3g} GB of values, to be read as a "
            f"whole, and {free / 1e9:.3g} GB of memory are free; save a cube as .npy, which is "
            "read in parts"
        )


def npz_heads(path: Path) -> dict[str, tuple[tuple[int, ...], np.dtype[np.generic]]]:
    """Shape and type of every array in an archive, from its header alone."""
    heads = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as file:
                shape, _, kind = npy_header(file)
            heads[name.removesuffix(".npy")] = shape, kind
    return heads


def npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    """Shape, whether the first axis runs fastest, and type of the array in a .npy file."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0
    if version >= (2, 0):
        read = np.lib.format.read_array_header_2_0
    shape, columns_fastest, kind = read(file)
    return tuple(shape), bool(columns_fastest), kind
