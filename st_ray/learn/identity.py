"""What a builder, loss or optimizer is, in words that are the same in every process.

A run's fingerprint holds them, so that a resumed run refuses changed ones.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from enum import Enum
from functools import partial
from pathlib import PurePath
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_PLAIN = (
    *(bool, int, float, complex, str, bytes, range, type(None), type(...), PurePath),
    *(torch.dtype, torch.device),
)
# Their code changes with a version, not with a run's settings.
_KNOWN_BY_NAME = ("torch", "st_ray")

# The ids of the things around the one described, to end where one holds itself.
_Above = tuple[int, ...]


def identity(thing: object) -> str:
    """Describe a callable: its name, its settings, and a digest of its code or tensors.

    What it calls by a global name is not looked into, nor are the methods of a class.
    """
    return _describe(thing, ())


def _describe(thing: object, above: _Above) -> str:
    if isinstance(thing, Enum):
        return f"{_name(type(thing))} {thing.name}"
    if isinstance(thing, _PLAIN):
        return f"{type(thing).__name__} {thing!r}"
    if isinstance(thing, Tensor):
        values = thing.detach().cpu().contiguous()
        data = values.flatten().view(torch.uint8).numpy().tobytes()
        return f"tensor {values.dtype} {tuple(values.shape)} {_digest(data)}"
    if isinstance(thing, np.ndarray | np.generic) and not thing.dtype.hasobject:
        return f"array {thing.dtype} {thing.shape} {_digest(thing.tobytes())}"
    if id(thing) in above:
        return "itself"
    above = (*above, id(thing))
    if isinstance(thing, list | tuple):
        return f"{type(thing).__name__} ({', '.join(_describe(item, above) for item in thing)})"
    if isinstance(thing, set | frozenset):
        return f"{type(thing).__name__} {sorted(_describe(item, above) for item in thing)}"
    if isinstance(thing, Mapping):
        return f"{type(thing).__name__} {_pairs(thing.items(), above)}"
    if callable(thing) or dataclasses.is_dataclass(thing):
        return _describe_callable(thing, above)
    return _name(type(thing))


def _describe_callable(thing: Any, above: _Above) -> str:
    if isinstance(thing, type | BuiltinFunctionType):
        return _name(thing)
    if isinstance(thing, FunctionType):
        return _function(thing, above)
    if isinstance(thing, nn.Module):
        return _module(thing, above)
    if isinstance(thing, partial):
        parts = (thing.func, thing.args, thing.keywords)
        return f"partial ({', '.join(_describe(part, above) for part in parts)})"
    if isinstance(thing, MethodType):
        return f"{_describe(thing.__func__, above)} of {_describe_callable(thing.__self__, above)}"
    return f"{_name(type(thing))} {_pairs(_state(thing), above)}"


def _function(function: FunctionType, above: _Above) -> str:
    if (function.__module__ or "").partition(".")[0] in _KNOWN_BY_NAME:
        return _name(function)
    code = function.__code__
    cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
    parts = (
        [*enumerate(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).items()],
        [(name, _content(cell)) for name, cell in cells],
    )
    held = " ".join(_pairs(part, above) for part in parts)
    return f"{_name(function)} {held} {_digest(_code(code).encode())}"


def _content(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _code(code: CodeType) -> str:
    items = code.co_consts
    constants = [_code(i) if isinstance(i, CodeType) else _describe(i, ()) for i in items]
    return f"{code.co_code.hex()} {code.co_names} {constants}"


def _module(module: nn.Module, above: _Above) -> str:
    """The types and settings of a module and those in it, and their tensors."""
    parts = [
        f"{path} {_name(type(part))} {_pairs(_settings(part), above)}"
        for path, part in module.named_modules()
    ]
    tensors = _pairs((*module.named_parameters(), *module.named_buffers()), above)
    return f"{'; '.join(parts)} {_digest(tensors.encode())}"


def _settings(module: nn.Module) -> Iterable[tuple[str, object]]:
    """A module's public attributes; `training` is the loop's."""
    return [(k, v) for k, v in vars(module).items() if k[0] != "_" and k != "training"]


def _state(thing: object) -> Iterable[tuple[str, object]]:
    slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
    named = [(name, getattr(thing, name)) for name in slots if hasattr(thing, name)]
    return [*named, *getattr(thing, "__dict__", {}).items()]


def _pairs(items: Iterable[tuple[object, object]], above: _Above) -> str:
    described = (f"{_describe(key, above)}={_describe(value, above)}" for key, value in items)
    return f"({', '.join(sorted(described))})"


def _name(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
