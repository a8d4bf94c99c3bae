"""Count, mean and scatter of spectra, mergeable in any order.

Merging (n, mean, scatter) of two parts is exact; scikit-learn's ``IncrementalPCA`` truncates at
every step instead and depends on the order of batches.

Source: Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance", The American
Statistician 37(3), 242-247, equation (2.1) in its matrix form.

Shape letters: N pixels, B bands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


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


def measure(pixels_NB: NDArray[np.floating]) -> SpectralMoments:
    """Moments of some pixels; those with a value that is not finite are left out.

    The pixels are centred before they are multiplied, so a large mean costs no precision.

    Args:
        pixels_NB: Spectra (N, B) of any float type.

    Returns:
        Their moments in float64. Cost: O(N B²) time, O(N B) memory.
    """
    valid_NB = np.asarray(pixels_NB, dtype=np.float64)
    finite_N = np.isfinite(valid_NB).all(axis=1)
    if not finite_N.all():
        valid_NB = valid_NB[finite_N]
    if len(valid_NB) == 0:
        return SpectralMoments.empty(pixels_NB.shape[1])
    mean_B = valid_NB.mean(axis=0)
    centred_NB = valid_NB - mean_B
    return SpectralMoments(count=len(valid_NB), mean_B=mean_B, scatter_BB=centred_NB.T @ centred_NB)


def merge_all(parts: Iterable[SpectralMoments]) -> SpectralMoments:
    """Merge any number of moments.

    Raises:
        TypeError: There is none.
    """
    return reduce(SpectralMoments.merge, parts)
