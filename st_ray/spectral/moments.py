"""Count, mean and scatter of spectra, mergeable in any order.

Merging (n, mean, scatter) of two parts is exact; scikit-learn's ``IncrementalPCA`` truncates at
every step instead and depends on the order of batches.

Source: Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance", The American
Statistician 37(3), 242-247, equation (2.1) in its matrix form.

Shape letters: N pixels, B bands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

Float = NDArray[np.float64]
Precision = Literal["fast", "exact"]

TYPES = {"fast": np.float32, "exact": np.float64}
# What is centred and multiplied at once: little enough for a processor's cache.
_BLOCK_BYTES = 3 << 20
# Every so many of them are averaged to centre them all.
_STRIDE = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class SpectralMoments:
    """First and second moments of a set of spectra.

    Attributes:
        count: Number of pixels.
        mean_B: Mean spectrum, float64.
        scatter_BB: Sum of outer products of centred spectra, float64; the sample covariance is
            ``scatter_BB / (count - 1)``.
    """

    count: int
    mean_B: Float
    scatter_BB: Float

    @classmethod
    def empty(cls, bands: int) -> SpectralMoments:
        """The neutral element of `merge`."""
        return cls(count=0, mean_B=np.zeros(bands), scatter_BB=np.zeros((bands, bands)))

    def merge(self, other: SpectralMoments) -> SpectralMoments:
        """Moments of both sets of pixels; associative, and independent of the order."""
        if other.count == 0:
            return self
        if self.count == 0:
            return other
        count = self.count + other.count
        shift_B = other.mean_B - self.mean_B
        return SpectralMoments(
            count=count,
            mean_B=self.mean_B + shift_B * (other.count / count),
            scatter_BB=self.scatter_BB
            + other.scatter_BB
            + np.outer(shift_B, shift_B) * (self.count * (other.count / count)),
        )

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """One row of a table: arrays with a leading axis of 1."""
        return {
            "count": np.array([self.count]),
            "mean": self.mean_B[None],
            "scatter": self.scatter_BB[None],
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> SpectralMoments:
        """Merge all rows of tables made by `to_arrays`."""
        parts = zip(arrays["count"], arrays["mean"], arrays["scatter"], strict=True)
        return merge_all(
            cls(count=int(count), mean_B=np.asarray(mean), scatter_BB=np.asarray(scatter))
            for count, mean, scatter in parts
        )


def measure(
    pixels_NB: NDArray[np.number],
    chosen_N: NDArray[np.bool_] | None = None,
    *,
    precision: Precision = "exact",
    threads: int = 1,
) -> SpectralMoments:
    """Moments of some pixels; those with a value that is not finite are left out.

    One pass, block by block: each block is centred by what a few of its pixels average to, so a
    large mean costs no precision; the rest of the mean is made good afterwards, and the blocks are
    merged in float64. Pixels that do not count are zeros of the centred block: none is copied out.

    Args:
        pixels_NB: Spectra (N, B), any real type; may be memory-mapped, and is not changed.
        chosen_N: Which pixels count; None: all.
        precision: "exact" multiplies in float64, "fast" in float32 (errors: about 1e-6 of a
            variance, 1e-5 of a subspace's angle).
        threads: Share the pixels between so many threads, each with a BLAS of one thread.

    Returns:
        Their moments in float64. Cost: O(N B²) time; a few MB of memory for each thread.
    """
    cuts = [len(pixels_NB) * part // threads for part in range(threads + 1)]
    spans = [slice(start, stop) for start, stop in pairwise(cuts)]

    def one(span: slice) -> SpectralMoments:
        chosen = None if chosen_N is None else chosen_N[span]
        return _measure_blocks(pixels_NB[span], chosen, precision)

    if threads == 1:
        return one(spans[0])
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads) as pool:
        return merge_all(pool.map(one, spans))


def block_rows(bands: int, precision: Precision) -> int:
    """Pixels of a block: at least as many as bands, or merging would cost more than measuring."""
    return max(bands, _BLOCK_BYTES // (bands * np.dtype(TYPES[precision]).itemsize))


def _measure_blocks(
    pixels_NB: NDArray[np.number], chosen_N: NDArray[np.bool_] | None, precision: Precision
) -> SpectralMoments:
    bands = pixels_NB.shape[1]
    rows = block_rows(bands, precision)
    buffer_nB = np.empty((min(rows, len(pixels_NB)), bands), TYPES[precision])
    total = SpectralMoments.empty(bands)
    for start in range(0, len(pixels_NB), rows):
        span = slice(start, start + rows)
        block_nB = pixels_NB[span]
        chosen_n = None if chosen_N is None else chosen_N[span]
        total = total.merge(_measure_block(block_nB, chosen_n, buffer_nB[: len(block_nB)]))
    return total


def _measure_block(
    block_nB: NDArray[np.number], chosen_n: NDArray[np.bool_] | None, centred_nB: NDArray[Any]
) -> SpectralMoments:
    """Moments of a block; `centred_nB` is written over."""
    few_fB = (block_nB if chosen_n is None else block_nB[chosen_n])[::_STRIDE]
    few_fB = np.asarray(few_fB, dtype=np.float64)
    few_fB = few_fB[np.isfinite(few_fB).all(axis=1)]
    count, bands = block_nB.shape
    shift_B = (few_fB.mean(axis=0) if len(few_fB) else np.zeros(bands)).astype(centred_nB.dtype)
    np.subtract(block_nB, shift_B, out=centred_nB, casting="unsafe")
    left_out_n = ~np.isfinite(centred_nB @ np.ones(bands, centred_nB.dtype))
    if left_out_n.any():  # or a sum of large numbers was too large
        left_out_n[left_out_n] = ~np.isfinite(centred_nB[left_out_n]).all(axis=1)
    if chosen_n is not None:
        left_out_n |= ~chosen_n
    if left_out_n.any():
        centred_nB[left_out_n] = 0.0
        count -= int(left_out_n.sum())
    if count == 0:
        return SpectralMoments.empty(bands)
    rest_B = (np.ones(len(block_nB), centred_nB.dtype) @ centred_nB).astype(np.float64) / count
    scatter_BB = (centred_nB.T @ centred_nB).astype(np.float64)
    scatter_BB -= count * np.outer(rest_B, rest_B)
    return SpectralMoments(
        count=count, mean_B=shift_B.astype(np.float64) + rest_B, scatter_BB=scatter_BB
    )


def merge_all(parts: Iterable[SpectralMoments]) -> SpectralMoments:
    """Merge any number of moments.

    Raises:
        TypeError: There is none.
    """
    return reduce(SpectralMoments.merge, parts)
