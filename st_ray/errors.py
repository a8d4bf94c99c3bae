"""The errors a user can cause, each one line: what was expected, what came, the remedy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any


class StRayError(Exception):
    """Base of every error that bad input causes; the command line prints it as one line."""


class SceneError(StRayError):
    """A scene or its labels cannot be used."""


class SplitError(StRayError):
    """A split cannot be made from these labels."""


class SpecError(StRayError):
    """A run, curriculum, backbone or option is not valid."""


class OutputError(StRayError):
    """The output directory cannot be used."""


class ModelError(StRayError):
    """A model bundle cannot be used: damaged, changed, or not for this."""


class TrainingError(StRayError):
    """Training broke: a factory returned the wrong thing, or a worker died too often."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """One line for an unknown name: what it is, the nearest, and all the known ones.

    Example: ``unknown backbone 'resnet'; did you mean 'resnet2d'? known: cnn1d, resnet2d, …``
    """
    known = sorted(known)
    near = get_close_matches(name, known, n=1)
    hint = f" did you mean {near[0]!r}?" if near else ""
    return f"unknown {kind} {name!r};{hint} known: {', '.join(known)}"


def require(module: str, extra: str, purpose: str, error: type[StRayError] = SceneError) -> Any:
    """Import a module of an optional package.

    Args:
        module: Such as "rasterio.features".
        extra: The extra of st_ray that installs it.
        purpose: What it is needed for, to begin the line with.
        error: The class of error to raise.

    Raises:
        StRayError: Of the class ``error``: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as problem:
        package = module.partition(".")[0]
        why = "" if isinstance(problem, ModuleNotFoundError) else f" ({problem})"
        raise error(
            f"{purpose} needs the package {package}, which is not installed{why}; "
            f"run: pip install 'st_ray[{extra}]'"
        ) from None


@contextmanager
def writing(
    place: Path | str, remedy: str = "free space there or choose another --out"
) -> Iterator[None]:
    """Around what writes to a place: a path, or words that name it after "cannot write".

    Raises:
        OutputError: It cannot be written: no space, no permission, not there any more.
    """
    try:
        yield
    except OSError as problem:
        raise OutputError(
            f"cannot write {place}: {problem.strerror or problem}; {remedy}"
        ) from None
