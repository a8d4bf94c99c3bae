"""The model bundle: weights, basis and a description; all that prediction needs, no pickle.

A bundle may come from anyone: its files are read as data only (safetensors and JSON), held
against each other, and none of them names code that is then run, unless the caller names it too.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from st_ray.errors import ModelError, StRayError
from st_ray.learn.backbones import backbones, build_backbone
from st_ray.learn.card import CARD, read_card
from st_ray.learn.card import ModelCard as ModelCard
from st_ray.learn.checkpoint import load_weights
from st_ray.learn.drafts import writing_tensors
from st_ray.spectral.basis import SpectralBasis
from st_ray.storage import exists, is_uri, join, pull

WEIGHTS, BASIS = "weights.safetensors", "basis.safetensors"
_IN_A_RUN = "model"  # where a run's folder has it
_USUAL = 1024  # an option may be as large whatever the weights are

Build = Callable[..., nn.Module]


def save_bundle(folder: Path, weights: Path, basis: SpectralBasis, card: ModelCard) -> None:
    """Write folder/weights.safetensors, basis.safetensors and model.json.

    Raises:
        OutputError: One cannot be written.
    """
    with writing_tensors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(weights, folder / WEIGHTS)
        basis.save(folder / BASIS)
        card = replace(card, sha256={name: _digest(folder / name) for name in (WEIGHTS, BASIS)})
        (folder / CARD).write_text(json.dumps(asdict(card), indent=1), encoding="utf-8")


def load_bundle(
    folder: Path | str, build: Build | str | None = None
) -> tuple[nn.Module, SpectralBasis, ModelCard]:
    """Read a bundle.

    Args:
        folder: Where `save_bundle` wrote it, the folder of its run, or a URI of one of them.
        build: Builder of a backbone that is not registered: a callable, or
            "package.module:function", which is called with the options of the card. A bundle
            alone cannot have such a function called.

    Returns:
        The model in evaluation mode, the basis, and what both are for.

    Raises:
        ModelError: A file of the bundle is missing or damaged, was changed, or does not fit the
            others; one line that names it.
        OutputError: The URI cannot be read.
    """
    with _on_this_machine(folder) as here:
        for name in (CARD, WEIGHTS, BASIS):
            if not (here / name).is_file():
                raise ModelError(
                    f"{here} is not a model bundle: {name} is missing; give the folder of a run, "
                    "or the model/ in it"
                )
        card = read_card(here / CARD)
        for name, expected in card.sha256.items():
            if name in (WEIGHTS, BASIS) and _digest(here / name) != expected:
                raise ModelError(
                    f"{here / name} is damaged or not the model's own: its SHA-256 is not the one "
                    f"in {CARD}; copy the bundle anew, all three files"
                )
        basis = _load_basis(here / BASIS, card)
        model = _load_model(here, card, build)
    return model.eval(), basis, card


@contextmanager
def _on_this_machine(place: Path | str) -> Iterator[Path]:
    """The folder with the bundle's files; of a URI, a copy of these and nothing else."""
    if not is_uri(place):
        folder = Path(place).expanduser()
        inner = folder / _IN_A_RUN
        yield inner if (inner / CARD).is_file() and not (folder / CARD).is_file() else folder
        return
    uri = str(place)
    if not exists(join(uri, CARD)) and exists(join(join(uri, _IN_A_RUN), CARD)):
        uri = join(uri, _IN_A_RUN)
    with tempfile.TemporaryDirectory(prefix="st_ray-") as copy:
        for name in (CARD, WEIGHTS, BASIS):
            if exists(join(uri, name)):
                pull(join(uri, name), Path(copy) / name)
        try:
            yield Path(copy)
        except ModelError as error:
            raise ModelError(str(error).replace(copy, uri)) from None


def _load_basis(path: Path, card: ModelCard) -> SpectralBasis:
    try:
        basis = SpectralBasis.load(path)
    except (SafetensorError, OSError, KeyError, ValueError, OverflowError) as problem:
        first = str(problem).partition("\n")[0]
        raise ModelError(f"cannot read {path}: {first}; copy the bundle anew") from None
    bands, rank = len(card.bands), len(basis.variances_K)
    shapes = basis.mean_B.shape, basis.axes_KB.shape, basis.variances_K.shape
    if shapes != ((bands,), (rank, bands), (rank,)) or rank < card.components:
        raise ModelError(
            f"{path} holds a basis of shape {' x '.join(map(str, basis.axes_KB.shape))}, "
            f"{CARD} tells of {card.components} components of {bands} bands; copy the bundle anew"
        )
    arrays = basis.mean_B, basis.axes_KB, basis.variances_K
    sound = all(values.dtype.kind == "f" and np.isfinite(values).all() for values in arrays)
    if not sound or (basis.variances_K < 0).any() or not 0.0 <= basis.whitening <= 0.5:
        raise ModelError(f"{path} holds numbers that no basis has; copy the bundle anew")
    return basis


def _load_model(folder: Path, card: ModelCard, build: Build | str | None) -> nn.Module:
    path = folder / WEIGHTS
    make = _builder(folder, card, build)
    try:
        with safe_open(path, "pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - not a dict
        if build is None:
            _check_options(card, shapes, folder)
            # Without memory for its weights: a card may claim a network of any size.
            with torch.device("meta"):
                _compare(make().state_dict(), shapes, path, card)
        model = make()
        load_weights(folder, model)
    except ModelError:
        raise
    except StRayError as problem:
        raise ModelError(f"{folder / CARD}: {problem}") from None
    except Exception as problem:  # a user's builder may raise anything, and so may torch
        first = next(iter(str(problem).strip().splitlines()), type(problem).__name__)
        raise ModelError(
            f"{path} cannot be read into backbone {card.backbone} as {CARD} describes it: {first}"
        ) from None
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ModelError(f"{path}: {name} holds NaN or infinity; train the model again")
    return model


def _check_options(card: ModelCard, found: dict[str, tuple[int, ...]], folder: Path) -> None:
    """See that no option is larger than the weights: so many layers would be built for hours."""
    most = max(_USUAL, len(found), *(side for shape in found.values() for side in shape))
    for name, value in card.backbone_options.items():
        if isinstance(value, int) and value > most:
            raise ModelError(
                f"{folder / CARD}: backbone_options.{name}={value}: expected at most {most}, as "
                f"{WEIGHTS} shows; copy the bundle anew"
            )


def _builder(folder: Path, card: ModelCard, build: Build | str | None) -> Callable[[], nn.Module]:
    sizes: dict[str, Any] = {
        "components": card.components,
        "patch_size": card.patch_size,
        "classes": len(card.classes),
    }
    if callable(build):
        return partial(build, **sizes)
    name = card.backbone if build is None else build
    if build is None and name not in backbones():
        how = name if ":" in name else "package.module:function"
        raise ModelError(
            f"{folder}: its backbone {name!r} is none of st_ray's, and a bundle may not choose "
            f"what code is run; if you trust that function, name it: --backbone {how}"
        )
    return partial(build_backbone, name, **{**card.backbone_options, **sizes})


def _compare(
    wanted: dict[str, torch.Tensor], found: dict[str, tuple[int, ...]], path: Path, card: ModelCard
) -> None:
    """See that a file holds the tensors of a model."""
    for name in sorted(wanted.keys() | found.keys()):
        shape = tuple(wanted[name].shape) if name in wanted else None
        if found.get(name) != shape:
            raise ModelError(
                f"{path} does not fit backbone {card.backbone} as {CARD} describes it: {name} is "
                f"{found.get(name, 'missing')}, expected {shape or 'no such tensor'}; copy the "
                "bundle anew"
            )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
