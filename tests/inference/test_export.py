"""`st-ray export` on a finished run."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from st_ray.learn.bundle import load_bundle
from st_ray.learn.folded import Folded


def test_export_writes_a_checked_file_that_classifies_the_scene(
    st_ray, finished, scene_files, tmp_path: Path
) -> None:
    import onnxruntime

    run = finished[1]
    code, told, error = st_ray("export", run, "--out", "a/net.onnx", "--scene", scene_files.cube)
    assert (code, error) == (0, "")
    differences = [float(number) for number in re.findall(r"torch's by (\S+) at", told)]
    assert len(differences) == 2
    assert max(differences) < 1e-3
    assert "spectra (N, 12, 5, 5) -> logits (N, 3)" in told
    session = onnxruntime.InferenceSession(tmp_path / "a" / "net.onnx")
    assert session.get_modelmeta().custom_metadata_map["classes"] == "[2, 5, 9]"
    inner = scene_files.values[4:9, 14:19].transpose(2, 0, 1)[None].astype(np.float32)
    (logits,) = session.run(None, {"spectra": inner})
    model, basis, card = load_bundle(run)
    with torch.no_grad():
        expected = Folded(basis, model, card.components)(torch.from_numpy(inner)).numpy()
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-4)
    assert card.classes[int(logits.argmax())] == 9  # class 9 fills the right half


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere",), "nowhere is not a model bundle: model.json is missing"),
        (("RUN", "--out", "net.pt"), "--out net.pt: expected a name that ends in .onnx"),
        (("RUN", "--scene", "none.npy"), "none.npy"),
        (("RUN", "--out", "file/net.onnx"), "cannot write"),
    ],
)
def test_wrong_input_is_one_line(st_ray, finished, tmp_path: Path, words, message) -> None:
    (tmp_path / "file").write_text("")
    words = [str(finished[1]) if word == "RUN" else word for word in words]
    code, _, error = st_ray("export", *words)
    assert (code, error.strip().count("\n")) == (2, 0), error
    assert message in error
    assert not list(tmp_path.glob("*.onnx"))
