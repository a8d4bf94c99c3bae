"""The registry of backbones: register, list, build, load a user's own, check.

A backbone is any function of ``components``, ``patch_size`` and ``classes`` that returns an
``nn.Module`` mapping float32 patches ``(M, K, S, S)`` to logits ``(M, C)``; further keyword
arguments with defaults are its options. A model that reads only the middle of a patch may say so
in an attribute ``reads`` (pixels on a side, odd), and is then given no more. A model that takes a
tensor in any layout may say ``channels_last = True``, and is spared a copy. A model that can tell
the logits of all patches of a tile at once has a method ``over_windows``, and may have another,
``dense_gain``; see `st_ray.learn.dense`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from st_ray.errors import SpecError, TrainingError, unknown_name
from st_ray.learn.backbones.factory import load_factory, one_line
from st_ray.learn.presets import (
    USUAL_BATCH,
    USUAL_EPOCHS,
    USUAL_OPTIMIZER,
    USUAL_RATE,
    USUAL_SHAPE,
    CurriculumShape,
)

Factory = Callable[..., nn.Module]

_SIZES = ("components", "patch_size", "classes")
_REGISTRY: dict[str, BackboneEntry] = {}


@dataclass(frozen=True, kw_only=True, slots=True)
class BackboneEntry:
    """One registered backbone.

    Attributes:
        name: What the user types.
        build: The factory.
        paper: The source, as a reference.
        whitening: Default exponent p of the scaling lambda^-p of each component: 0.5 whitens,
            0 leaves the components at their own variance.
        full_epochs: Default T0: about the shortest training on all bands and the full patch that
            reaches its plateau on Indian Pines (`st-ray bench training` finds it), or of the
            slowest as long a training as could be measured.
        learning_rate: Default peak of the schedule.
        optimizer: Default, by name.
        batch_size: Default global batch, samples.
        flips: Whether batches are mirrored and transposed at random by default.
        shape: Of the curriculum "default".
        growth: One sentence: what a hand-over to more components or a larger patch keeps.
        exact_every: With the default options, the evaluation logits stay exactly as they were
            when the number of components grows from any multiple of this; None: they never do.
        exact_in_patch: Whether the evaluation logits stay exactly as they were when the patch
            grows.
    """

    name: str
    build: Factory
    paper: str
    whitening: float
    full_epochs: int
    learning_rate: float
    optimizer: str
    batch_size: int
    flips: bool
    shape: CurriculumShape
    growth: str
    exact_every: int | None
    exact_in_patch: bool

    @property
    def exact_in_k(self) -> bool:
        """Whether growing the number of components is exact from every number of components."""
        return self.exact_every == 1

    def exact_from(self, components: int) -> bool:
        """Whether growing from this many components leaves the evaluation logits unchanged."""
        return self.exact_every is not None and components % self.exact_every == 0

    @property
    def options(self) -> dict[str, int | float]:
        """The options and their defaults."""
        parameters = inspect.signature(self.build).parameters.values()
        return {p.name: p.default for p in parameters if p.name not in _SIZES}


def register_backbone(
    name: str,
    *,
    paper: str,
    whitening: float,
    growth: str,
    exact_every: int | None,
    exact_in_patch: bool = False,
    full_epochs: int = USUAL_EPOCHS,
    learning_rate: float = USUAL_RATE,
    optimizer: str = USUAL_OPTIMIZER,
    batch_size: int = USUAL_BATCH,
    flips: bool = False,
    shape: CurriculumShape = USUAL_SHAPE,
) -> Callable[[Factory], Factory]:
    """Decorate a factory to enter it under ``name``; see `BackboneEntry` for the fields.

    Raises:
        ValueError: The name is taken.
    """

    def enter(build: Factory) -> Factory:
        if name in _REGISTRY:
            raise ValueError(f"a backbone named {name!r} is registered already")
        _REGISTRY[name] = BackboneEntry(
            name=name,
            build=build,
            paper=paper,
            whitening=whitening,
            full_epochs=full_epochs,
            learning_rate=learning_rate,
            optimizer=optimizer,
            batch_size=batch_size,
            flips=flips,
            shape=shape,
            growth=growth,
            exact_every=exact_every,
            exact_in_patch=exact_in_patch,
        )
        return build

    return enter


def backbones() -> dict[str, BackboneEntry]:
    """All registered backbones by name, sorted."""
    return dict(sorted(_REGISTRY.items()))


def backbone_entry(name: str) -> BackboneEntry:
    """The registered backbone of this name.

    Raises:
        SpecError: There is none; the message lists the known names.
    """
    if name not in _REGISTRY:
        known = [*_REGISTRY, "package.module:function"]
        raise SpecError(unknown_name("backbone", name, known))
    return _REGISTRY[name]


def build_backbone(
    name: str, *, components: int, patch_size: int, classes: int, **options: Any
) -> nn.Module:
    """Build a backbone with weights drawn from torch's global generator.

    Args:
        name: A registered name, or ``package.module:function`` for a factory of the user's.
        components: K, input channels, >= 1.
        patch_size: S, pixels on a side, odd.
        classes: C, outputs, >= 2.
        **options: The backbone's own options.

    Raises:
        SpecError: Unknown name or option, or a value out of range.
        TrainingError: The user's factory raised, or did not return an ``nn.Module``.
    """
    sizes = {"components": components, "patch_size": patch_size, "classes": classes}
    _check_sizes(name, **sizes)
    if ":" not in name:
        entry = backbone_entry(name)
        _check_options(entry, options)
        return entry.build(**sizes, **options)
    factory = load_factory(name)
    try:
        model = factory(**sizes, **options)
    except Exception as error:
        raise TrainingError(
            f"backbone {name} failed when called as function({_call(sizes | options)}): "
            f"{one_line(error)}"
        ) from error
    if not isinstance(model, nn.Module):
        raise TrainingError(
            f"backbone {name} returned {type(model).__name__}, expected a torch.nn.Module; "
            "return the model from the function"
        )
    return model


def check_backbone(
    model: nn.Module, components: int, patch_size: int, classes: int, *, name: str = "backbone"
) -> None:
    """Run two zero patches through the model and check what comes back.

    In evaluation mode without gradients; the mode of every module, the normalisation
    statistics and torch's generators are left as they were.

    Args:
        model: The model to check.
        components: K of the patches it will see.
        patch_size: S of the patches it will see.
        classes: C, the columns of the logits expected.
        name: What the messages call it.

    Raises:
        TrainingError: It raised, or returned something else than a ``(2, C)`` float tensor.
    """
    if not isinstance(model, nn.Module):
        raise TrainingError(f"{name} is {type(model).__name__}, expected a torch.nn.Module")
    asked = f"patches of shape (2, {components}, {patch_size}, {patch_size})"
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    patches = torch.zeros(2, components, patch_size, patch_size, device=device)
    modes = [(module, module.training) for module in model.modules()]
    forked = [device.index or 0] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=forked), torch.no_grad():
            logits = model.eval()(patches)
    except Exception as error:
        raise TrainingError(f"backbone {name} failed on {asked}: {one_line(error)}") from error
    finally:
        for module, mode in modes:
            module.training = mode
    if not isinstance(logits, torch.Tensor):
        raise TrainingError(
            f"backbone {name} returned {type(logits).__name__}, expected a tensor of logits "
            f"(2, {classes}) = (batch, classes)"
        )
    if logits.shape != (2, classes) or not logits.is_floating_point():
        kind = "" if logits.is_floating_point() else f" of {logits.dtype}"
        raise TrainingError(
            f"backbone {name} returned shape {tuple(logits.shape)}{kind} for {asked}, expected "
            f"floating-point (2, {classes}) = (batch, classes); return one logit per class"
        )


def _check_sizes(name: str, *, components: int, patch_size: int, classes: int) -> None:
    for label, value, least in (
        ("components", components, 1),
        ("patch_size", patch_size, 1),
        ("classes", classes, 2),
    ):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise SpecError(
                f"backbone {name}: {label} must be a whole number >= {least}, got {value!r}"
            )
    if patch_size % 2 == 0:
        raise SpecError(
            f"backbone {name}: patch_size must be odd, so that a patch has a centre pixel, "
            f"got {patch_size}; use {patch_size - 1} or {patch_size + 1}"
        )


def _check_options(entry: BackboneEntry, options: dict[str, Any]) -> None:
    """Check names against the factory's signature and values against its defaults' types."""
    for key, value in options.items():
        if key not in entry.options:
            raise SpecError(unknown_name(f"option of backbone {entry.name}", key, entry.options))
        default = entry.options[key]
        if isinstance(default, int):
            wanted = "a whole number >= 1"
            valid = isinstance(value, int) and not isinstance(value, bool) and value >= 1
        else:
            wanted = "a number in [0, 1)"
            valid = type(value) in (int, float) and 0 <= value < 1
        if not valid:
            raise SpecError(
                f"backbone {entry.name}: {key} must be {wanted}, got {value!r}; "
                f"the default is {default}"
            )


def _call(arguments: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in arguments.items())
