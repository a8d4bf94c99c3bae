"""Arrays in files: what a .npy, .npz, .mat, HDF5 file, .tif or .png holds, and how one is read.

Cubes are read window by window. A .mat or .npz cannot be, so its array is unpacked once into the
cache.
"""

from __future__ import annotations

import errno
import hashlib
import math
import os
import shutil
import uuid
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from st_ray.errors import SceneError, StRayError, unknown_name
from st_ray.spectral.heads import check_room, npy_header, npz_heads
from st_ray.spectral.readers.hdf5 import hdf5_bytes, hdf5_shapes, is_hdf5, read_hdf5

MATLAB = ".mat"
HDF5_SUFFIXES = (".h5", ".hdf5", ".he5")
ARRAY_SUFFIXES = (MATLAB, ".npy", ".npz", *HDF5_SUFFIXES)
IMAGE_SUFFIXES = (".tif", ".tiff", ".png")

_REAL = "biuf"  # kinds of NumPy's types
_PIECE = 1 << 20  # bytes

_MATLAB_NUMBERS = {"double", "single", "logical"} | {
    f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What a caller looks for in a file, and how the user can point at it.

    Attributes:
        what: In words, such as "cube" or "label raster".
        ndim: Number of dimensions of the array.
        option: The setting that names the key, such as "scene.cube_key".
        error: The class of error to raise.
        accepts: Further test of an array's values, asked only to choose between several.
    """

    what: str
    ndim: int
    option: str
    error: type[StRayError] = SceneError
    accepts: Callable[[NDArray[np.generic]], bool] | None = None


def cache_root() -> Path:
    """The folder for downloads and unpacked arrays: $ST_RAY_CACHE, or the user's cache."""
    chosen = os.environ.get("ST_RAY_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    import pooch  # slow to import, and rarely needed

    return Path(pooch.os_cache("st_ray"))


def array_shapes(path: Path, error: type[StRayError] = SceneError) -> dict[str, tuple[int, ...]]:
    """The shapes of the numeric arrays in a file, by key, without reading their values.

    A .npy file and an image hold one array, under the key "".

    Raises:
        StRayError: Of the class ``error``: missing, unreadable, or of an unknown format.
    """
    suffix = path.suffix.lower()
    with _reading(path, error):
        if suffix == ".npy":
            return {"": np.load(path, mmap_mode="r", allow_pickle=False).shape}
        if suffix == ".npz":
            heads = npz_heads(path).items()
            return {name: shape for name, (shape, kind) in heads if kind.kind in "biufc"}
        if suffix in HDF5_SUFFIXES or is_hdf5(path):
            return hdf5_shapes(path)
        if suffix == MATLAB:
            from scipy.io import whosmat

            return {key: shape for key, shape, kind in whosmat(path) if kind in _MATLAB_NUMBERS}
        if suffix in IMAGE_SUFFIXES:
            return {"": _read_image(path).shape}
    known = ", ".join((*ARRAY_SUFFIXES, *IMAGE_SUFFIXES))
    raise error(f"cannot read {path}: {suffix or 'no suffix'} is not one of {known}")


def find_key(path: Path, key: str | None, wanted: Wanted) -> str:
    """The key of the wanted array: the one given, or the file's only candidate.

    Raises:
        StRayError: Of the class ``wanted.error``: no such key, none of the right dimensions, or
            more than one.
    """
    shapes = array_shapes(path, wanted.error)
    if key is not None:
        if "" in shapes:
            raise wanted.error(
                f"{path} holds one array, without keys; leave --set {wanted.option}={key} out"
            )
        if key not in shapes:
            raise wanted.error(f"{path}: {unknown_name('key', key, shapes)}")
        shapes = {key: shapes[key]}
    found = [name for name, shape in shapes.items() if _fits(shape, wanted.ndim)]
    if not found and len(shapes) == 1:  # a scene may have one row
        found = [name for name, shape in shapes.items() if len(shape) == wanted.ndim and min(shape)]
    if len(found) > 1 and wanted.accepts is not None:
        accepted = [name for name in found if wanted.accepts(read_array(path, name, wanted.error))]
        found = accepted or found
    if len(found) == 1:
        return found[0]
    axes = "rows, columns, bands" if wanted.ndim == 3 else "rows, columns"
    listing = ", ".join(f"{name or 'one array'} {shape}" for name, shape in shapes.items())
    expected = f"{path}: expected a {wanted.what} of {wanted.ndim} dimensions ({axes})"
    if not found:
        raise wanted.error(f"{expected}, found {listing or 'no numeric array'}")
    choices = ", ".join(f"{name} {shapes[name]}" for name in found)
    raise wanted.error(f"{expected}, found {choices}; say which with --set {wanted.option}=NAME")


def read_array(path: Path, key: str, error: type[StRayError] = SceneError) -> NDArray[np.generic]:
    """Read one array whole.

    Raises:
        StRayError: Of the class ``error``: missing, unreadable, or larger than the free memory.
    """
    suffix = path.suffix.lower()
    with _reading(path, error):
        check_room(path, _claimed(path, key))
        if suffix == ".npy":
            return np.asarray(np.load(path, allow_pickle=False))
        if suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                return np.asarray(archive[key])
        if is_hdf5(path):
            return read_hdf5(path, key)
        if suffix == MATLAB:
            from scipy.io import loadmat

            return np.asarray(loadmat(path, variable_names=[key])[key])
        return _read_image(path)


@dataclass(frozen=True, kw_only=True, slots=True)
class FileStamp:
    """A file as it was at one moment: written anew, it has another stamp.

    Attributes:
        path: The file, absolute.
        size: Bytes.
        mtime_ns: Time of the last change, in nanoseconds.
    """

    path: str
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> FileStamp:
        """The stamp of an existing file."""
        stat = path.stat()
        return cls(path=str(path.resolve()), size=stat.st_size, mtime_ns=stat.st_mtime_ns)


@lru_cache(maxsize=8)
def map_array(stamp: FileStamp, key: str) -> NDArray[np.generic]:
    """Memory-map one array of real numbers; open maps are kept per process.

    A format that cannot be mapped is unpacked into the cache, once per version of the file.

    Raises:
        SceneError: The file cannot be read, holds something else than real numbers, or the cache
            cannot be written.
    """
    path = Path(stamp.path)
    if path.suffix.lower() == ".npy":
        return _map_npy(path)
    digest = hashlib.sha256(f"{stamp}|{key}".encode()).hexdigest()[:24]
    unpacked = cache_root() / "unpacked" / f"{path.stem}-{digest}.npy"
    if not unpacked.is_file():
        try:
            with replacing(unpacked) as file:
                _unpack(path, key, file)
        except OSError as problem:
            raise SceneError(
                f"cannot unpack {path} into {unpacked.parent} ({problem.strerror or problem}); "
                "set the environment variable ST_RAY_CACHE to a folder with space"
            ) from None
    return _map_npy(unpacked)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Write a file so that it appears whole or not at all.

    Yields:
        A temporary file beside ``path``, renamed to it at the end.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}.part")
    try:
        with part.open("xb") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _unpack(path: Path, key: str, file: BinaryIO) -> None:
    """Write an array as .npy; out of an .npz piece by piece, however large it is."""
    if path.suffix.lower() == ".npz":
        with _reading(path, SceneError), zipfile.ZipFile(path) as archive:
            size = archive.getinfo(f"{key}.npy").file_size
            with archive.open(f"{key}.npy") as member:
                shape, columns_fastest, kind = npy_header(member)
        if math.prod(shape) * kind.itemsize > size:
            raise SceneError(f"cannot read {path}: {key} claims {shape} and holds {size} bytes")
        free = shutil.disk_usage(Path(file.name).parent).free
        if size > free:
            said = f"it says that it holds {size / 1e9:.3g} GB, and {free / 1e9:.3g} GB are free"
            raise OSError(errno.ENOSPC, said)
        if kind.kind in _REAL and not columns_fastest:
            for piece in _pieces(path, f"{key}.npy"):
                file.write(piece)
            return
    values = read_array(path, key)
    _check_numeric(values, path)
    np.save(file, np.ascontiguousarray(values), allow_pickle=False)


def _pieces(path: Path, member: str) -> Iterator[bytes]:
    """The bytes of a member of an archive."""
    with _reading(path, SceneError), zipfile.ZipFile(path) as archive, archive.open(member) as file:
        while piece := file.read(_PIECE):
            yield piece


def _map_npy(path: Path) -> NDArray[np.generic]:
    with _reading(path, SceneError):
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    _check_numeric(mapped, path)
    return np.asanyarray(mapped)


def _fits(shape: tuple[int, ...], ndim: int) -> bool:
    # MATLAB stores scalars and vectors as 2-D; neither is a raster.
    return len(shape) == ndim and min(shape) > 0 and min(shape[:2]) > 1


def _check_numeric(values: NDArray[np.generic], path: Path) -> None:
    if values.dtype.kind not in _REAL:
        raise SceneError(f"{path}: expected real numbers, found values of type {values.dtype}")


@contextmanager
def _reading(path: Path, error: type[StRayError]) -> Iterator[None]:
    try:
        if path.is_dir():
            raise error(f"{path} is a folder; give the path of a file")
        if not path.is_file():
            raise error(f"no such file: {path}")
        yield
    except StRayError as problem:  # a package that is not installed
        raise error(str(problem)) from None
    except Exception as problem:  # a decoder may raise anything on a damaged file
        reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise error(f"cannot read {path}: {reason}") from None


def _claimed(path: Path, key: str) -> int:
    """Bytes of an array, as the head of a packed file has it; 0 where the file's size tells."""
    if path.suffix.lower() == ".npz":
        shape, kind = npz_heads(path)[key]
        return math.prod(shape) * kind.itemsize
    if is_hdf5(path):
        return hdf5_bytes(path, key)
    if path.suffix.lower() == MATLAB:
        from scipy.io import whosmat

        return sum(math.prod(shape) for name, shape, _ in whosmat(path) if name == key)
    return 0


def _read_image(path: Path) -> NDArray[np.generic]:
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image)
