"""`st-ray bench pca`: statistics and basis against scikit-learn, on spectra with a large mean.

All rivals see the same array, in turn, with all the threads of this process. What is timed is
from the array to the components. The truth is the singular value decomposition of the centred
array in float64, by way of its triangular factor (which has the same singular values and right
vectors).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr, svd
from sklearn.decomposition import PCA, IncrementalPCA
from threadpoolctl import threadpool_limits

from st_ray.bench.statistics import spread
from st_ray.spectral.basis import SpectralBasis, solve_basis
from st_ray.spectral.moments import TYPES, Precision, block_rows, measure

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Result = TypeVar("Result")
PRECISIONS: tuple[Precision, ...] = ("fast", "exact")
BATCH = 10_000


def bench_pca(
    *,
    pixels: int,
    bands: int,
    rank: int,
    threads: int,
    rounds: int,
    seed: int,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Time and check the moments and the basis.

    Args:
        pixels: How many spectra.
        bands: Values of each.
        rank: Components asked for.
        threads: CPU threads of every rival.
        rounds: Times that ours and `PCA` are measured, in turn; `IncrementalPCA`, which takes the
            longest, is measured once.
        seed: Of the spectra.
        say: Told of every measurement.

    Returns:
        Ratios, errors and seconds, as in the written JSON.
    """
    spectra_NB = synthetic_spectra(pixels, bands, seed)
    seconds: dict[str, list[float]] = {}

    def clocked(name: str, work: Callable[[], Result]) -> Result:
        begun = time.perf_counter()
        result = work()
        seconds.setdefault(name, []).append(time.perf_counter() - begun)
        say(f"{name}: {seconds[name][-1]:.2f} s")
        return result

    bases: dict[Precision, SpectralBasis] = {}
    with threadpool_limits(threads):
        doubles_NB = spectra_NB.astype(np.float64)
        truth = true_components(doubles_NB)
        exact_eigh = partial(PCA, rank, svd_solver="covariance_eigh")
        for _ in range(rounds):
            clocked("PCA", partial(exact_eigh().fit, doubles_NB))
            clocked("exact, float64 input", partial(_ours, doubles_NB, rank, "exact", threads))
        del doubles_NB
        incremental = IncrementalPCA(rank, batch_size=BATCH)
        clocked("IncrementalPCA", partial(incremental.fit, spectra_NB))
        for _ in range(rounds):
            for p in PRECISIONS:
                bases[p] = clocked(p, partial(_ours, spectra_NB, rank, p, threads))
                moments = partial(measure, spectra_NB, precision=p, threads=threads)
                clocked(f"{p}, moments", moments)
                clocked(f"{p}, product", partial(products, pixels, bands, p, threads))
        careless = exact_eigh().fit(spectra_NB)
    best = {name: float(np.median(values)) for name, values in seconds.items()}
    return {
        "speedup_vs_incremental_pca": {p: best["IncrementalPCA"] / best[p] for p in PRECISIONS},
        "speedup_vs_pca_float64": best["PCA"] / best["exact, float64 input"],
        "variance_error": {p: variance_error(bases[p].variances_K, truth) for p in PRECISIONS},
        "subspace_sine": {p: subspace_sine(bases[p].axes_KB, truth) for p in PRECISIONS},
        "share_of_gemm_rate": {
            p: best[f"{p}, product"] / best[f"{p}, moments"] for p in PRECISIONS
        },
        "errors_of_scikit_learn": {
            name: {
                "variance_error": variance_error(pca.explained_variance_, truth),
                "subspace_sine": subspace_sine(pca.components_, truth),
            }
            for name, pca in (("IncrementalPCA", incremental), ("PCA, float32 input", careless))
        },
        "seconds": {name: spread(values) for name, values in seconds.items()},
        "pixels": pixels,
        "bands": bands,
        "rank": rank,
        "threads": threads,
        "batch": BATCH,
        "seed": seed,
    }


def synthetic_spectra(pixels: int, bands: int, seed: int) -> Float32:
    """Spectra (N, B) around a mean of 2,500, whose variances fall by nine orders of magnitude."""
    rng = np.random.default_rng(seed)
    axes_BB, _ = np.linalg.qr(rng.normal(size=(bands, bands)))
    mixing_BB = (np.geomspace(1000.0, 0.03, bands)[:, None] * axes_BB).astype(np.float32)
    mean_B = (2500 + 500 * np.sin(np.linspace(0, 6, bands))).astype(np.float32)
    spectra_NB = np.empty((pixels, bands), np.float32)
    for start in range(0, pixels, BATCH):
        block_nB = spectra_NB[start : start + BATCH]
        np.matmul(rng.standard_normal(block_nB.shape, np.float32), mixing_BB, out=block_nB)
        block_nB += mean_B
    return spectra_NB


def true_components(doubles_NB: Float) -> tuple[Float, Float]:
    """All variances and axes (B, B), largest first; the spectra are centred in place, and back."""
    mean_B = doubles_NB.mean(axis=0)
    doubles_NB -= mean_B
    (triangle_BB,) = qr(doubles_NB, mode="r", check_finite=False)
    doubles_NB += mean_B
    _, singular_B, axes_BB = svd(triangle_BB[: doubles_NB.shape[1]])
    return singular_B**2 / (len(doubles_NB) - 1), axes_BB


def variance_error(variances_K: Float, truth: tuple[Float, Float]) -> float:
    """Largest relative error of the explained variances."""
    true_K = truth[0][: len(variances_K)]
    return float(np.abs(variances_K / true_K - 1.0).max())


def subspace_sine(axes_KB: Float, truth: tuple[Float, Float]) -> float:
    """Sine of the largest angle between the two subspaces of K axes: 0 is equal, 1 is lost."""
    beyond_RB = truth[1][len(axes_KB) :]
    return float(np.linalg.norm(beyond_RB @ axes_KB.T, ord=2)) if len(beyond_RB) else 0.0


def products(pixels: int, bands: int, precision: Precision, threads: int) -> None:
    """Nothing but the matrix products that moments take, on a block that stays in the cache."""

    def one(share: int) -> None:
        block_nB = np.ones((rows, bands), TYPES[precision])
        for _ in range(share):
            np.matmul(block_nB.T, block_nB)

    rows = block_rows(bands, precision)
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, [round(pixels / rows / threads)] * threads))


def _ours(spectra_NB: NDArray[Any], rank: int, precision: Precision, threads: int) -> SpectralBasis:
    return solve_basis(measure(spectra_NB, precision=precision, threads=threads), rank, whitening=0)
