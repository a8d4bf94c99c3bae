from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from st_ray.spectral.basis import solve_basis
from st_ray.spectral.moments import SpectralMoments, measure, merge_all
from st_ray.spectral.tiles import TileSpec, plan_tiles


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


@pytest.mark.parametrize("empty", [slice(0, 33), slice(1, 64)])
@pytest.mark.parametrize(("precision", "tolerance"), [("exact", 1e-11), ("fast", 1e-5)])
def test_a_margin_without_data_costs_no_precision(empty, precision, tolerance) -> None:
    """Of a tile of 64 columns, which pixels come every so often are in a few columns only."""
    tile = spectra(64 * 64).reshape(64, 64, 7) + 1e4
    tile[:, empty] = np.nan
    pixels = tile.reshape(-1, 7)
    expected = np.cov(pixels[np.isfinite(pixels[:, 0])].T)
    moments = measure(pixels, precision=precision)
    found = moments.scatter_BB / (moments.count - 1)
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    assert (np.abs(found - expected) / scale).max() < tolerance


def test_the_only_pixel_with_data_is_found() -> None:
    pixels = np.full((100, 3), np.nan)
    pixels[50] = 2500.0
    assert measure(pixels, precision="fast").mean_B.tolist() == [2500.0] * 3


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


def ill_conditioned(kind: str, count: int = 6000) -> np.ndarray:
    """Spectra of 20 bands that make a careless sum of squares fail."""
    rng = np.random.default_rng(7)
    pixels = rng.normal(size=(count, 20)) @ np.diag(np.geomspace(100, 1, 20))
    if kind == "offset":
        pixels += 2.0**17
    elif kind == "nearly constant":
        pixels[:, 3] = 2500 + 1e-3 * rng.normal(size=count)
    elif kind == "rank-deficient":
        pixels[:, 10:] = pixels[:, :10] @ rng.normal(size=(10, 10))
    elif kind == "drift":  # one end of the scene is far from the other
        pixels += np.linspace(0, 1e5, count)[:, None]
    return pixels.astype(np.float32)


KINDS = ("plain", "offset", "nearly constant", "rank-deficient", "drift")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("precision", "tolerance"), [("exact", 1e-11), ("fast", 1e-5)])
def test_ill_conditioned_spectra_give_numpys_covariance(kind, precision, tolerance) -> None:
    pixels = ill_conditioned(kind)
    moments = measure(pixels, precision=precision)
    expected = np.cov(pixels.astype(np.float64).T)
    deviations = np.sqrt(np.diag(expected))
    found = moments.scatter_BB / (moments.count - 1)
    error = np.abs(found - expected) / np.outer(deviations, deviations)
    assert error.max() < tolerance
    shift = moments.mean_B - pixels.astype(np.float64).mean(0)
    assert np.abs(shift / deviations).max() < 10 * tolerance


EXACT, FAST = ("exact", 1e-8, 1e-9), ("fast", 1e-5, 1e-6)
# Of a drift a million times as large as the rest, float32 keeps the drift; `exact` is for that.
COMPONENTS = [(kind, *EXACT) for kind in KINDS] + [(kind, *FAST) for kind in KINDS[:-1]]


@pytest.mark.parametrize(("kind", "precision", "variances", "angle"), COMPONENTS)
def test_ill_conditioned_spectra_give_scikit_learns_components(
    kind, precision, variances, angle
) -> None:
    pixels = ill_conditioned(kind)
    theirs = PCA(8, svd_solver="full").fit(pixels.astype(np.float64))
    ours = solve_basis(measure(pixels, precision=precision), 8, whitening=0.0)
    np.testing.assert_allclose(ours.variances_K, theirs.explained_variance_, rtol=variances)
    cosines = np.linalg.svd(ours.axes_KB @ theirs.components_.T, compute_uv=False)
    np.testing.assert_allclose(cosines, 1.0, atol=angle)


@pytest.mark.parametrize("precision", ["exact", "fast"])
def test_components_beyond_the_rank_hold_nothing(precision) -> None:
    pixels = ill_conditioned("rank-deficient")
    basis = solve_basis(measure(pixels, precision=precision), 14, whitening=0.5)
    theirs = PCA(14, svd_solver="full").fit(pixels.astype(np.float64))
    assert np.isfinite(basis.project(pixels)).all()
    scale = theirs.explained_variance_[0]
    np.testing.assert_allclose(
        basis.variances_K / scale, theirs.explained_variance_ / scale, atol=1e-6
    )
    np.testing.assert_allclose(basis.project(pixels)[:, :10].std(0, ddof=1), 1.0, rtol=1e-3)


@given(
    st.lists(st.integers(0, 9000), max_size=6),
    st.randoms(use_true_random=False),
    st.sampled_from([20, 1000, 4096]),
    st.sampled_from([1, 2, 3]),
    st.sampled_from(["exact", "fast"]),
)
@settings(deadline=None, max_examples=40)
def test_blocks_cuts_threads_and_order_change_nothing(
    cuts, random, block, threads, precision
) -> None:
    pixels = ill_conditioned("drift", 9000)
    chosen = np.random.default_rng(1).random(len(pixels)) < 0.7
    parts = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("st_ray.spectral.moments._BLOCK_BYTES", block * 20 * 8)
        for part, kept in zip(
            np.split(pixels, sorted(cuts)), np.split(chosen, sorted(cuts)), strict=True
        ):
            parts.append(measure(part, kept, threads=threads, precision=precision))
    random.shuffle(parts)
    merged, whole = merge_all(parts), measure(pixels[chosen])
    if precision == "exact":
        assert_same(merged, whole)
    else:
        assert merged.count == whole.count
        scale = np.abs(whole.scatter_BB).max()
        np.testing.assert_allclose(merged.scatter_BB, whole.scatter_BB, atol=1e-6 * scale)


@given(
    st.integers(1, 40),
    st.integers(1, 30),
    st.integers(1, 12),
    st.randoms(use_true_random=False),
)
@settings(deadline=None, max_examples=25)
def test_tiles_of_any_side_in_any_order_give_the_scenes_moments(
    height, width, side, random
) -> None:
    scene = ill_conditioned("offset", height * width).reshape(height, width, 20)
    tiles = list(plan_tiles((height, width), TileSpec(side=side)))
    random.shuffle(tiles)
    parts = [measure(scene[tile.rows, tile.cols].reshape(-1, 20)) for tile in tiles]
    assert_same(merge_all(parts), measure(scene.reshape(-1, 20)))


@pytest.mark.parametrize("precision", ["fast", "exact"])
def test_masked_and_invalid_pixels_count_nothing_wherever_they_lie(precision) -> None:
    pixels = ill_conditioned("offset")
    rng = np.random.default_rng(2)
    chosen, holed = rng.random(len(pixels)) < 0.6, pixels.copy()
    holed[::32] = np.nan  # those that the centre is taken from
    holed[5::70, 3] = np.inf
    valid = chosen & np.isfinite(holed).all(axis=1)
    found = measure(holed, chosen, precision=precision)
    expected = measure(pixels[valid], precision=precision)
    assert found.count == expected.count == valid.sum()
    tolerance = 1e-11 if precision == "exact" else 1e-5
    scale = np.abs(expected.scatter_BB).max()
    np.testing.assert_allclose(found.scatter_BB, expected.scatter_BB, atol=tolerance * scale)


def test_values_whose_sum_is_too_large_for_float32_still_count() -> None:
    pixels = np.full((40, 20), 3e37, dtype=np.float32)
    pixels[::2] *= -1
    assert measure(pixels, precision="exact").count == 40


@pytest.mark.parametrize("kind", ["u2", "i2", "f8", ">f4", "u1"])
def test_any_real_type_is_measured(kind) -> None:
    pixels = np.random.default_rng(0).integers(0, 250, (500, 6))
    assert_same(measure(pixels.astype(kind)), measure(pixels.astype(np.float64)))
