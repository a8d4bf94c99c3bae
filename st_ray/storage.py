"""Files at a place: a path on this machine, or any URI that pyarrow knows.

``s3://bucket/run``, ``gs://bucket/run``, ``abfs://…``, ``fsspec+sftp://…``; ``file://…`` is a path.
A store has no rename: of a folder that must appear whole, one file is pushed last and removed
first, and who does not find it takes the folder for absent. A server that does not answer is
given up within a minute or so.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOENT
from pathlib import Path, PurePath, PurePosixPath
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pyarrow as pa
from pyarrow import fs

from st_ray.errors import OutputError

_CONNECT_S, _SILENCE_S, _ATTEMPTS = 5, 20, 3
_KNOWN = "a path, file://, s3://, gs:// or another URI that pyarrow knows"
_TRUTH = {"true": True, "false": False}
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")

# What a problem's text tells of its remedy; the first that fits is taken.
_REMEDIES = (
    (
        r"NO_SUCH_BUCKET|[Bb]ucket '?[\w.-]+'? (not found|does not exist)|notFound|Unknown bucket",
        "make the bucket first, or name another",
    ),
    (
        r"ACCESS_DENIED|INVALID_ACCESS_KEY|SIGNATURE|credential|[Aa]uthenticat|PERMISSION_DENIED"
        r"|HTTP response code 403",
        "set the credentials where the run and its workers run (for s3, AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY)",
    ),
    (
        r"NETWORK_CONNECTION|CURL error|Could not resolve|Timeout",
        "see that the server runs and that every machine of the run reaches it",
    ),
)
_REMEDY = {"open": f"expected {_KNOWN}", "write": "free space there or choose another place"}


def is_uri(place: str | Path) -> bool:
    """Whether a place is a URI rather than a path."""
    return "://" in str(place)


def settle(place: str | Path) -> str:
    """A place as it is best used: an absolute path, also of file://, or the URI that it is.

    Raises:
        OutputError: It is a URI that nothing here can open.
    """
    if not is_uri(place):
        return str(Path(place).absolute())
    system, path = open_uri(str(place))
    return str(path) if isinstance(system, fs.LocalFileSystem) else str(place).rstrip("/")


def bare(place: str | Path) -> str:
    """A place without the options that a URI may end with, ``?region=…``."""
    return str(place).partition("?")[0] if is_uri(place) else str(place)


def extend(place: str | Path, text: str) -> str:
    """A place with text after its path: a URI's options stay at its end."""
    path = bare(place)
    return path.rstrip("/") + text + str(place)[len(path) :]


def join(place: str | Path, name: str) -> str:
    """Something in a folder."""
    return extend(place, f"/{name}")


def parent(uri: str) -> str:
    """The folder that something lies in."""
    path = bare(uri)
    return path.rpartition("/")[0] + uri[len(path) :]


def exists(place: str | Path) -> bool:
    """Whether there is a file or a folder.

    Raises:
        OutputError: It cannot be asked.
    """
    if not is_uri(place):
        try:
            return Path(place).exists()
        except OSError as problem:  # one may not look there, or no name can be so long
            raise OutputError(f"cannot look into {place}: {problem.strerror}") from None
    system, path = open_uri(str(place))
    with telling("read", place):
        return bool(system.get_file_info(str(path)).type != fs.FileType.NotFound)


def lies(path: Path) -> bool:
    """Whether a path is there, as far as one may look: who opens it will say what is wrong."""
    try:
        return path.exists()
    except OSError:
        return False


def read_text(place: str | Path) -> str:
    """The text of a file.

    Raises:
        OSError: It is not there, or a path cannot be read.
        OutputError: A URI cannot be read.
        UnicodeDecodeError: It is no text.
    """
    if not is_uri(place):
        return Path(place).read_text(encoding="utf-8")
    if not exists(place):
        raise FileNotFoundError(ENOENT, "it is not there")
    system, path = open_uri(str(place))
    with telling("read", place), system.open_input_stream(str(path)) as file:
        return bytes(file.readall()).decode()


def names(uri: str) -> tuple[str, ...]:
    """What lies directly in a folder, sorted; nothing in one that is not there.

    Raises:
        OutputError: It cannot be asked.
    """
    system, path = open_uri(uri)
    with telling("read", uri):
        found = system.get_file_info(fs.FileSelector(str(path), allow_not_found=True))
    return tuple(sorted(item.base_name for item in found))


def make(uri: str) -> None:
    """See that a folder is there, and so that it can be written to.

    Raises:
        OutputError: It cannot be opened or made.
    """
    system, path = open_uri(uri)
    with telling("write", uri):
        system.create_dir(str(path), recursive=True)


def push(source: Path, uri: str, last: str = "") -> None:
    """Copy a file, or all files of a folder, to a URI.

    Args:
        source: What to copy.
        uri: What it is to be called there.
        last: Name of the file that is copied after all others.

    Raises:
        OutputError: It cannot be written.
    """
    system, root = open_uri(uri)
    files = [source] if source.is_file() else [p for p in source.rglob("*") if p.is_file()]
    places = {file: root / file.relative_to(source) for file in files}
    with telling("write", uri):
        for folder in sorted({str(place.parent) for place in places.values()}):
            system.create_dir(folder, recursive=True)
        for file in sorted(files, key=lambda file: (file.name == last, file)):
            _copy(fs.LocalFileSystem(), file, system, places[file])


def pull(uri: str, target: Path) -> None:
    """Copy a file, or all files of a folder, from a URI.

    Args:
        uri: What to copy.
        target: What it is to be called here.

    Raises:
        OutputError: It cannot be read, or not be written here.
    """
    system, path = open_uri(uri)
    with telling("read", uri):
        _copy(system, path, fs.LocalFileSystem(), target)


def remove(uri: str, first: str = "") -> None:
    """Remove a folder and all in it, if it is there.

    Args:
        uri: What to remove.
        first: Name of the file that goes before all others.

    Raises:
        OutputError: It cannot be removed.
    """
    system, path = open_uri(uri)
    with telling("write", uri):
        if first and system.get_file_info(str(path / first)).type == fs.FileType.File:
            system.delete_file(str(path / first))
        if system.get_file_info(str(path)).type == fs.FileType.Directory:
            system.delete_dir(str(path))


@contextmanager
def filling(place: str | Path) -> Iterator[Path]:
    """A file to write, and others beside it, that are at a place afterwards.

    Yields:
        Where to write it: the path, or for a URI one in a new folder on this machine.

    Raises:
        OutputError: A URI cannot be written.
    """
    if not is_uri(place):
        yield Path(place)
        return
    with tempfile.TemporaryDirectory(prefix="st_ray-") as folder:
        yield Path(folder) / PurePosixPath(bare(place)).name
        push(Path(folder), parent(str(place)))


def open_uri(place: str) -> tuple[fs.FileSystem, PurePosixPath]:
    """The file system of a path or URI, and the path in it.

    Raises:
        OutputError: Nothing here can open it, or it holds a password, which reports would repeat.
    """
    if not is_uri(place):
        return fs.LocalFileSystem(), PurePosixPath(place)
    parts = urlsplit(place)
    if parts.password is not None:
        raise OutputError(
            f"{parts.scheme}://…@{parts.hostname} holds a password; give it by the environment"
        )
    with telling("open", place):
        if parts.scheme == "s3":
            return _open_s3(place)
        if parts.scheme in ("gs", "gcs") and "retry_limit_seconds=" not in parts.query:
            place += f"{'&' if parts.query else '?'}retry_limit_seconds={_SILENCE_S}"
        system, path = fs.FileSystem.from_uri(place)
        return system, PurePosixPath(path)


def _open_s3(uri: str) -> tuple[fs.FileSystem, PurePosixPath]:
    """As pyarrow would open it, but with an end to waiting."""
    system, path = fs.FileSystem.from_uri(uri)  # knows what is right, and finds the region
    parts = urlsplit(uri)
    options: dict[str, Any] = {
        "region": system.region,
        "endpoint_override": next(filter(None, map(os.environ.get, _ENDPOINTS)), None),
        **{key: _TRUTH.get(value, value) for key, value in parse_qsl(parts.query)},
        "connect_timeout": _CONNECT_S,
        "request_timeout": _SILENCE_S,
        "retry_strategy": fs.AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS),
    }
    return fs.S3FileSystem(**options), PurePosixPath(path)


@contextmanager
def telling(verb: str, place: str | Path) -> Iterator[None]:
    """Around what touches a file system of any kind: its errors in one line.

    Args:
        verb: What fails: "cannot <verb> <place>".
        place: A path or URI.

    Raises:
        OutputError: It fails.
    """
    try:
        yield
    except FileNotFoundError:
        raise OutputError(f"cannot {verb} {place}: it is not there") from None
    except (OSError, pa.ArrowException, ValueError, TypeError, ImportError) as problem:
        text = " ".join(str(problem).partition(" error_info=")[0].split())
        remedy = next((what for sign, what in _REMEDIES if re.search(sign, text)), None)
        remedy = remedy or _REMEDY.get(verb, "see that it is whole")
        raise OutputError(f"cannot {verb} {place}: {text}; {remedy}") from None


def _copy(source: fs.FileSystem, path: PurePath, target: fs.FileSystem, to: PurePath) -> None:
    fs.copy_files(str(path), str(to), source_filesystem=source, destination_filesystem=target)
