from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA

from st_ray.errors import SpecError
from st_ray.spectral.basis import (
    BasisSpec,
    SpectralBasis,
    group_bands,
    solve_basis,
    standardise_bands,
)
from st_ray.spectral.moments import SpectralMoments, measure


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    rng = np.random.default_rng(5)
    scales = np.geomspace(300, 0.5, 12)
    return (rng.normal(size=(800, 12)) * scales) @ np.linalg.qr(rng.normal(size=(12, 12)))[0] + 2e3


@pytest.mark.parametrize("whitening", [0.0, 0.5])
def test_the_basis_is_scikit_learns_pca_up_to_sign(pixels: np.ndarray, whitening: float) -> None:
    ours = solve_basis(measure(pixels), 6, whitening=whitening)
    theirs = PCA(6, whiten=whitening == 0.5, svd_solver="full").fit(pixels)
    np.testing.assert_allclose(ours.variances_K, theirs.explained_variance_, rtol=1e-10)
    cosines = (ours.axes_KB * theirs.components_).sum(1)
    np.testing.assert_allclose(np.abs(cosines), 1.0, atol=1e-10)
    unit = 1.0 if whitening else theirs.explained_variance_[0] ** -0.5
    expected = theirs.transform(pixels) * np.sign(cosines) * unit
    np.testing.assert_allclose(ours.project(pixels), expected, rtol=2e-3, atol=2e-3)


def test_conversion_gives_a_fitted_scikit_learn_pca(pixels: np.ndarray) -> None:
    ours = solve_basis(measure(pixels), 6, whitening=0.5)
    theirs = PCA(6, whiten=True, svd_solver="full").fit(pixels)
    converted = ours.to_sklearn()
    np.testing.assert_allclose(converted.transform(pixels), ours.project(pixels), atol=2e-3)
    for name in ("explained_variance_", "explained_variance_ratio_", "singular_values_", "mean_"):
        np.testing.assert_allclose(getattr(converted, name), getattr(theirs, name), rtol=1e-9)
    assert converted.noise_variance_ == pytest.approx(theirs.noise_variance_, rel=1e-8)
    back = converted.inverse_transform(converted.transform(pixels[:3]))
    np.testing.assert_allclose(back, theirs.inverse_transform(theirs.transform(pixels[:3])))


def test_partial_whitening_has_no_counterpart_in_scikit_learn(pixels: np.ndarray) -> None:
    with pytest.raises(SpecError, match=r"basis.whitening=0.25"):
        solve_basis(measure(pixels), 3, whitening=0.25).to_sklearn()


def test_fewer_components_are_the_first_columns(pixels: np.ndarray) -> None:
    whole = solve_basis(measure(pixels), 9, whitening=0.5)
    part = solve_basis(measure(pixels), 4, whitening=0.5)
    np.testing.assert_allclose(whole.project(pixels)[:, :4], part.project(pixels), atol=1e-4)
    # not to the bit: BLAS picks another kernel for another shape on some processors
    np.testing.assert_allclose(whole.project(pixels, 4), whole.project(pixels)[:, :4], atol=1e-5)


@pytest.mark.parametrize("whitening", [0.0, 0.2, 0.5])
def test_the_first_component_has_unit_variance_at_any_exponent(pixels, whitening) -> None:
    basis = solve_basis(measure(pixels), 4, whitening=whitening)
    deviations = basis.project(pixels).std(0, ddof=1)
    assert deviations[0] == pytest.approx(1.0, rel=1e-3)
    ratios = (basis.variances_K / basis.variances_K[0]) ** (0.5 - whitening)
    np.testing.assert_allclose(deviations, ratios, rtol=1e-3)


def test_a_whitened_projection_has_unit_variance(pixels: np.ndarray) -> None:
    projected = solve_basis(measure(pixels), None, whitening=0.5).project(pixels)
    np.testing.assert_allclose(projected.std(0, ddof=1), 1.0, rtol=1e-3)


def test_standardised_bands_are_the_z_scores(pixels: np.ndarray) -> None:
    projected = standardise_bands(measure(pixels)).project(pixels)
    expected = (pixels - pixels.mean(0)) / pixels.std(0, ddof=1)
    np.testing.assert_allclose(projected, expected, atol=1e-3)


def test_rank_deficient_data_never_become_noise_or_nan(pixels: np.ndarray) -> None:
    doubled = np.concatenate([pixels, pixels[:, :3]], axis=1)
    projected = solve_basis(measure(doubled), None, whitening=0.5).project(doubled)
    assert np.isfinite(projected).all()
    assert np.abs(projected).max() < 20
    assert (projected[:, 12:] == 0).all()


def test_an_invalid_pixel_projects_to_the_mean(pixels: np.ndarray) -> None:
    holed = pixels[:2].copy()
    holed[1, 4] = np.nan
    projected = solve_basis(measure(pixels), 5, whitening=0.5).project(holed)
    assert (projected[1] == 0).all()
    assert (projected[0] != 0).all()


def test_a_saved_basis_is_read_back_equal(pixels: np.ndarray, tmp_path: Path) -> None:
    basis = solve_basis(measure(pixels), 5, whitening=0.25)
    basis.save(tmp_path / "basis.safetensors")
    again = SpectralBasis.load(tmp_path / "basis.safetensors")
    for name in SpectralBasis.__dataclass_fields__:
        assert np.array_equal(getattr(again, name), getattr(basis, name)), name


def test_more_components_than_bands_are_refused(pixels: np.ndarray) -> None:
    with pytest.raises(SpecError, match="13 components exceed the scene's 12 usable bands"):
        solve_basis(measure(pixels), 13, whitening=0.5)


def test_one_pixel_is_too_few() -> None:
    with pytest.raises(SpecError, match="at least 2 valid pixels, got 0"):
        solve_basis(SpectralMoments.empty(4), 2, whitening=0.0)


@pytest.mark.parametrize("bad", [{"pixels": "test"}, {"whitening": 0.6}, {"whitening": -0.1}])
def test_a_bad_basis_spec_is_refused(bad: dict) -> None:
    with pytest.raises(SpecError, match="expected"):
        BasisSpec(**bad)


def test_groups_are_standardised_means_of_neighbours(pixels: np.ndarray) -> None:
    basis = group_bands(measure(pixels), 5)
    means = np.stack([pixels[:, part].mean(1) for part in np.array_split(np.arange(12), 5)], axis=1)
    expected = (means - means.mean(0)) / means.std(0, ddof=1)
    common = basis.project(pixels)[0] / expected[0]
    np.testing.assert_allclose(basis.project(pixels), expected * common, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(common, common[0], rtol=1e-3)


def test_as_many_groups_as_bands_are_the_bands(pixels: np.ndarray) -> None:
    groups, bands = group_bands(measure(pixels), 12), standardise_bands(measure(pixels))
    np.testing.assert_allclose(groups.project(pixels), bands.project(pixels), atol=1e-5)


def test_more_groups_than_bands_are_refused(pixels: np.ndarray) -> None:
    with pytest.raises(SpecError, match="13 groups exceed the scene's 12 usable bands"):
        group_bands(measure(pixels), 13)
