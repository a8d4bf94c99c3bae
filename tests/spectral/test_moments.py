from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from st_ray.spectral.moments import SpectralMoments, measure, merge_all


def spectra(count: int = 300, bands: int = 7) -> np.ndarray:
    rng = np.random.default_rng(3)
    return rng.normal(size=(count, bands)) @ rng.normal(size=(bands, bands)) + 2500


def assert_same(left: SpectralMoments, right: SpectralMoments) -> None:
    assert left.count == right.count
    np.testing.assert_allclose(left.mean_B, right.mean_B, rtol=1e-12)
    scale = np.abs(right.scatter_BB).max()
    np.testing.assert_allclose(left.scatter_BB, right.scatter_BB, atol=1e-11 * scale)


def test_moments_match_numpys() -> None:
    pixels = spectra()
    moments = measure(pixels)
    np.testing.assert_allclose(moments.mean_B, pixels.mean(0), rtol=1e-12)
    covariance = moments.scatter_BB / (moments.count - 1)
    np.testing.assert_allclose(covariance, np.cov(pixels.T), rtol=1e-9)


@given(st.lists(st.integers(0, 300), max_size=8), st.randoms(use_true_random=False))
def test_merging_does_not_depend_on_cuts_or_order(cuts, random) -> None:
    pixels = spectra()
    parts = [measure(part) for part in np.split(pixels, sorted(cuts))]
    random.shuffle(parts)
    assert_same(merge_all(parts), measure(pixels))


def test_empty_moments_change_nothing() -> None:
    moments = measure(spectra())
    assert_same(moments.merge(SpectralMoments.empty(7)), moments)
    assert_same(SpectralMoments.empty(7).merge(moments), moments)


def test_pixels_with_nan_are_left_out() -> None:
    pixels = spectra()
    holed = np.concatenate([pixels, pixels[:5]])
    holed[-5:, 2] = [np.nan, np.inf, -np.inf, np.nan, np.nan]
    assert_same(measure(holed), measure(pixels))


def test_a_large_mean_costs_no_precision() -> None:
    centred = spectra().astype(np.float64)
    far = centred + 1e7
    np.testing.assert_allclose(
        measure(far).scatter_BB, measure(centred).scatter_BB, rtol=1e-6, atol=1e-4
    )


def test_moments_survive_a_table() -> None:
    parts = [measure(part) for part in np.split(spectra(), 3)]
    table = {
        key: np.concatenate([part.to_arrays()[key] for part in parts])
        for key in parts[0].to_arrays()
    }
    assert_same(SpectralMoments.from_arrays(table), measure(spectra()))


def test_merging_nothing_is_an_error() -> None:
    with pytest.raises(TypeError):
        merge_all([])
