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
_BLOCK_BYTES = 2 << 20
# Every so many of a block's pixels are averaged to centre them all: a prime, or only a few columns
# of most tiles would be looked at, perhaps those of a margin that holds no data.
_STRIDE = 37
# Blocks whose shifts are held before they are made good.
_HELD = 1024


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
    sums, total = _Sums(bands), SpectralMoments.empty(bands)
    for start in range(0, len(pixels_NB), rows):
        span = slice(start, start + rows)
        block_nB = pixels_NB[span]
        sums.add(block_nB, None if chosen_N is None else chosen_N[span], buffer_nB[: len(block_nB)])
        if len(sums.counts) == _HELD:
            sums, total = _Sums(bands), total.merge(sums.moments())
    return total.merge(sums.moments())


class _Sums:
    """Sums over blocks, each centred in its own way; what that shifts is made good once.

    Merging block by block would cost about as much as centring.
    """

    def __init__(self, bands: int) -> None:
        self.products_BB = np.zeros((bands, bands))
        self.counts: list[int] = []
        self.shifts: list[Float] = []
        self.rests: list[Float] = []

    def add(
        self,
        block_nB: NDArray[np.number],
        chosen_n: NDArray[np.bool_] | None,
        centred_nB: NDArray[Any],
    ) -> None:
        """Add a block; `centred_nB` is written over."""
        with np.errstate(invalid="ignore", over="ignore"):  # of values that are left out below
            self._add(block_nB, chosen_n, centred_nB)

    def _add(
        self,
        block_nB: NDArray[np.number],
        chosen_n: NDArray[np.bool_] | None,
        centred_nB: NDArray[Any],
    ) -> None:
        kind, (count, bands) = centred_nB.dtype, block_nB.shape
        shift_B = _rough_mean(block_nB, chosen_n).astype(kind)
        np.subtract(block_nB, shift_B, out=centred_nB, casting="unsafe")
        left_out_n = None if chosen_n is None else ~chosen_n
        ones_n = np.ones(count, kind)
        rest_B = ones_n @ centred_nB if left_out_n is None else np.full(bands, np.nan)
        if not np.isfinite(rest_B).all():  # a sum is finite only if all of it is
            left_out_n = _left_out(centred_nB, left_out_n)
            centred_nB[left_out_n] = 0.0
            count -= int(left_out_n.sum())
            rest_B = ones_n @ centred_nB
        if count == 0:
            return
        self.products_BB += centred_nB.T @ centred_nB
        self.counts.append(count)
        self.shifts.append(shift_B.astype(np.float64))
        self.rests.append(rest_B.astype(np.float64) / count)

    def moments(self) -> SpectralMoments:
        """Of all blocks so far (Chan et al. 1983, for any number of parts at once)."""
        if not self.counts:
            return SpectralMoments.empty(len(self.products_BB))
        counts_P = np.array(self.counts, dtype=np.float64)
        rests_PB = np.array(self.rests)
        means_PB = np.array(self.shifts) + rests_PB
        mean_B = counts_P @ means_PB / counts_P.sum()
        apart_PB = means_PB - mean_B
        scatter_BB = self.products_BB - (rests_PB.T * counts_P) @ rests_PB
        scatter_BB += (apart_PB.T * counts_P) @ apart_PB
        return SpectralMoments(count=sum(self.counts), mean_B=mean_B, scatter_BB=scatter_BB)


def _rough_mean(block_nB: NDArray[np.number], chosen_n: NDArray[np.bool_] | None) -> Float:
    """What a few of the pixels that count average to; all of them, if none of those is finite."""
    rows_n = np.arange(len(block_nB)) if chosen_n is None else np.flatnonzero(chosen_n)
    for some_n in (rows_n[::_STRIDE], rows_n):
        few_fB = np.asarray(block_nB[some_n], dtype=np.float64)
        few_fB = few_fB[np.isfinite(few_fB).all(axis=1)]
        if len(few_fB):
            return np.asarray(few_fB.mean(axis=0))
    return np.zeros(block_nB.shape[1])


def _left_out(centred_nB: NDArray[Any], left_out_n: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """The pixels of a block that do not count: not chosen, or with a value that is not finite."""
    odd_n: NDArray[np.bool_] = ~np.isfinite(
        centred_nB @ np.ones(centred_nB.shape[1], centred_nB.dtype)
    )
    odd_n[odd_n] = ~np.isfinite(centred_nB[odd_n]).all(axis=1)  # or a sum was too large
    return odd_n if left_out_n is None else odd_n | left_out_n


def merge_all(parts: Iterable[SpectralMoments]) -> SpectralMoments:
    """Merge any number of moments.

    Raises:
        TypeError: There is none.
    """
    return reduce(SpectralMoments.merge, parts)
