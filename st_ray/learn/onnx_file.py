"""A model as an ONNX file: the basis folded in, checked against torch before it is written.

Shape letters: N patches, B bands, K components, S patch side, C classes.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from st_ray.errors import SpecError, TrainingError, require
from st_ray.learn.backbones import one_line
from st_ray.learn.card import ModelCard
from st_ray.learn.folded import Folded
from st_ray.spectral.basis import SpectralBasis

INPUT, OUTPUT = "spectra", "logits"
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_RANDOM = 32  # patches that every file is checked on
_TOLERANCE = 1e-3  # of the largest logit


def build_onnx(model: Folded, card: ModelCard) -> bytes:
    """Translate a network to ONNX.

    The input "spectra" is float32 (N, B, S, S) for any N: values of the bands in the metadata
    "bands", in this order, in the unit in which st_ray reads the scene (scale and offset of the
    file applied); NaN or infinity where there is none. The output "logits" is (N, C); the class
    of output c is entry c of the metadata "classes".

    Raises:
        SpecError: A package of the extra "onnx" is missing.
        TrainingError: The network has a part that ONNX does not know.
    """
    onnx, *_ = (require(name, "onnx", "st-ray export", SpecError) for name in _PACKAGES)
    model.eval()
    spectra = torch.zeros(2, len(card.bands), card.patch_size, card.patch_size)
    try:
        with _quiet():
            program = torch.onnx.export(
                model,
                (spectra,),
                dynamo=True,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes={INPUT: {0: torch.export.Dim("patches")}},
                verbose=False,
            )
    except Exception as problem:
        cause = problem.__cause__ if isinstance(problem.__cause__, Exception) else problem
        raise TrainingError(
            f"backbone {card.backbone} cannot be exported to ONNX: {one_line(cause)}"
        ) from problem
    assert program is not None
    proto = program.model_proto
    onnx.helper.set_model_props(proto, metadata(card))
    data: bytes = proto.SerializeToString()
    return data


def metadata(card: ModelCard) -> dict[str, str]:
    """What the file says of itself; lists as JSON."""
    lists = {
        "classes": card.classes,
        "class_names": card.class_names,
        "bands": card.bands,
        "wavelengths": card.used_wavelengths,
    }
    return {
        **{name: json.dumps(list(values)) for name, values in lists.items()},
        "file_bands": str(card.file_bands),
        "patch_size": str(card.patch_size),
        "backbone": card.backbone,
        "fingerprint": card.fingerprint,
        "producer": "st_ray",
    }


def likely_spectra(
    basis: SpectralBasis, components: int, patch_size: int, seed: int = 0
) -> NDArray[np.float32]:
    """Random patches (N, B, S, S) with the mean and the variances of the training pixels.

    One pixel of the first has no value.
    """
    rng = np.random.default_rng(seed)
    deviations_K = np.sqrt(basis.variances_K[:components])
    pixels = rng.standard_normal((_RANDOM, patch_size, patch_size, len(deviations_K)))
    spectra = (pixels * deviations_K) @ np.linalg.pinv(basis.axes_KB[:components]).T + basis.mean_B
    spectra[0, 0, 0] = np.nan
    return np.ascontiguousarray(np.moveaxis(spectra, 3, 1), dtype=np.float32)


def compare(data: bytes, model: Folded, spectra: NDArray[np.float32]) -> tuple[float, float]:
    """Run an ONNX model, and the network that it was made of, on the same patches.

    Returns:
        The largest difference of a logit, and the largest logit.

    Raises:
        TrainingError: They differ by more than rounding, or ONNX gives something not finite.
    """
    runtime = require("onnxruntime", "onnx", "st-ray export", SpecError)
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    (got,) = session.run([OUTPUT], {INPUT: spectra})
    with torch.inference_mode():
        expected = model.eval()(torch.from_numpy(spectra)).numpy()
    largest = float(np.abs(expected).max())
    difference = float(np.abs(got - expected).max())
    if not difference <= _TOLERANCE * largest:
        raise TrainingError(
            f"the exported model differs from the network by {difference:.3g} where the largest "
            f"logit is {largest:.3g}; expected at most {_TOLERANCE:g} of it; nothing was written"
        )
    return difference, largest


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch's exporter says of itself."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    with warnings.catch_warnings():
        # torch copies tree specs of its own by a way that it has deprecated.
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
