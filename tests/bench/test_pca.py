"""Ours against scikit-learn's, small: the figures mean what they say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from st_ray.bench.pca import subspace_sine, synthetic_spectra, true_components, variance_error


def test_the_truth_is_numpys_decomposition() -> None:
    spectra = synthetic_spectra(3000, 12, 0).astype(np.float64)
    before = spectra.copy()
    variances, axes = true_components(spectra)
    np.testing.assert_allclose(spectra, before, atol=1e-9)
    values, vectors = np.linalg.eigh(np.cov(before.T))
    np.testing.assert_allclose(variances, values[::-1], rtol=1e-6)
    assert subspace_sine(vectors.T[::-1][:5], (variances, axes)) < 1e-6


def test_errors_are_those_of_what_is_wrong() -> None:
    truth = np.array([4.0, 2.0, 1.0]), np.eye(3)
    assert variance_error(np.array([4.0, 2.2]), truth) == pytest.approx(0.1)
    assert subspace_sine(np.eye(3)[:2], truth) == 0.0
    turned = np.array([[1.0, 0.0, 0.0], [0.0, np.cos(0.1), np.sin(0.1)]])
    assert subspace_sine(turned, truth) == pytest.approx(np.sin(0.1))


def test_the_command_writes_its_figures(st_ray, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "pca.json"
    options = ("--pixels", 5000, "--bands", 20, "--rank", 5, "--rounds", 1, "--threads", 1)
    code, text, error = st_ray("bench", "pca", *options, "--out", out)
    assert code == 0, error
    assert "speedup_vs_incremental_pca: fast" in text
    table = json.loads(out.read_text())
    assert table["variance_error"]["exact"] < 1e-10
    assert table["subspace_sine"]["exact"] < 1e-10
    assert 0 < table["variance_error"]["fast"] < 1e-5
    assert set(table["share_of_gemm_rate"]) == {"fast", "exact"}
    assert table["speedup_vs_pca_float64"] > 0


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--rank", 300, "--rank 300: expected 1 to 200"),
        ("--pixels", 30, "--pixels 30: expected at least 400"),
        ("--rounds", 0, "--rounds 0: expected at least 1"),
    ],
)
def test_a_wrong_number_is_one_line(st_ray, tmp_path, option, value, message) -> None:
    code, _, error = st_ray("bench", "pca", option, value, "--out", tmp_path / "pca.json")
    assert code == 2
    assert message in error
