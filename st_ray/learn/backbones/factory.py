"""Factories of the user's own, by import path: backbones, losses, optimizers."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from st_ray.errors import SpecError, unknown_name


def load_factory(path: str) -> Callable[..., Any]:
    """Import the callable at ``package.module:function``.

    Used for backbones, and for any other factory that the user names: loss, optimizer.

    Raises:
        SpecError: The path is malformed, the module cannot be imported, or the attribute is
            missing or not callable.
    """
    module_name, _, attribute = path.partition(":")
    if not module_name or not attribute.isidentifier():
        raise SpecError(f"expected package.module:function, got {path!r}")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise SpecError(
            f"cannot import module {module_name!r} of {path!r}: {one_line(error)}; "
            "install it or add its folder to PYTHONPATH"
        ) from error
    factory = getattr(module, attribute, None)
    if factory is None:
        known = [key for key, value in vars(module).items() if inspect.isfunction(value)]
        raise SpecError(unknown_name(f"function in {module_name}", attribute, known))
    if not callable(factory):
        raise SpecError(f"{path!r} is {type(factory).__name__}, expected a function or a class")
    return factory  # type: ignore[no-any-return]


def one_line(error: Exception) -> str:
    """The error's type and the first line of its message."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
