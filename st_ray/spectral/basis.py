"""The spectral basis: principal components, standardised bands, or means of neighbouring bands.

The first k columns of a rank-K projection are the rank-k projection, so one basis solved at the
largest rank serves every stage of a curriculum as a slice.

Shape letters: N pixels, B bands, K components.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy.linalg import eigh

from st_ray.errors import SpecError
from st_ray.spectral.moments import Precision, SpectralMoments

if TYPE_CHECKING:
    from sklearn.decomposition import PCA

Float = NDArray[np.float64]

# Below this share of the largest variance a component is rounding noise, and whitening it would
# blow that noise up to unit variance.
_NOISE_FLOOR = 1e-12

_USUAL_WHITENING = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class BasisSpec:
    """Which pixels the basis sees, and how its components are scaled.

    Attributes:
        pixels: "train": training pixels only; "all": every valid pixel of the scene, labelled or
            not (transductive, as much of the literature does it).
        whitening: Exponent p in 0..0.5: component i is divided by λ_i^p, so 0 keeps the ratios of
            the variances and 0.5 makes them all one; None takes what the backbone's family wants.
        precision: "exact", or "fast": the moments in float32, about 1e-6 of the largest variance
            off, which is felt by components that hold less than a thousandth of it.
    """

    pixels: Literal["train", "all"] = "train"
    whitening: float | None = None
    precision: Precision = "exact"

    def __post_init__(self) -> None:
        if self.pixels not in ("train", "all"):
            raise SpecError(f"basis.pixels={self.pixels!r}: expected 'train' or 'all'")
        if self.precision not in ("exact", "fast"):
            raise SpecError(f"basis.precision={self.precision!r}: expected 'exact' or 'fast'")
        if self.whitening is not None and not 0.0 <= self.whitening <= 0.5:
            raise SpecError(f"basis.whitening={self.whitening}: expected 0 (none) to 0.5 (full)")

    @property
    def exponent(self) -> float:
        """The whitening; the usual one, full, where nothing was said."""
        return _USUAL_WHITENING if self.whitening is None else self.whitening


@dataclass(frozen=True, kw_only=True, slots=True)
class SpectralBasis:
    """An affine map from spectra to components.

    Attributes:
        mean_B: Mean spectrum.
        axes_KB: Orthonormal rows, the largest variance first, each row's entry of largest
            magnitude positive; of `standardise_bands` the bands themselves, in their order; of
            `group_bands` the means of their groups.
        variances_K: Variance along each axis (n - 1 in the denominator, as scikit-learn has it).
        total_variance: Sum of all B variances, kept or not.
        whitening: Exponent p. Component i is divided by ``variances_K[i] ** p``, and all alike by
            what then gives the first one unit variance, so a model sees the same range at any p.
        count: Number of pixels the moments were taken from.
    """

    mean_B: Float
    axes_KB: Float
    variances_K: Float
    total_variance: float
    whitening: float
    count: int

    @property
    def rank(self) -> int:
        """Number of components K."""
        return len(self.axes_KB)

    @property
    def scale_K(self) -> Float:
        """What each projected component is multiplied by; 0 for components that are noise."""
        floor = _NOISE_FLOOR * max(float(self.variances_K.max(initial=0.0)), 1e-300)
        alive = self.variances_K > floor
        powers = np.where(alive, self.variances_K, 1.0) ** -self.whitening
        common = float(self.variances_K.max(initial=1e-300)) ** (self.whitening - 0.5)
        return np.where(alive, powers * common, 0.0)

    @property
    def weights_KB(self) -> Float:
        """What a spectrum less the mean is multiplied by: the axes, scaled."""
        return self.axes_KB * self.scale_K[:, None]

    def project(
        self, pixels: NDArray[np.floating], components: int | None = None
    ) -> NDArray[np.float32]:
        """Project spectra; a pixel with a value that is not finite becomes the mean (zeros).

        Args:
            pixels: Spectra (..., B).
            components: How many leading components; None for all K.

        Returns:
            float32 (..., k).
        """
        centred = np.asarray(pixels, dtype=np.float32) - self.mean_B.astype(np.float32)
        invalid = ~np.isfinite(centred).all(axis=-1)
        if invalid.any():
            centred[invalid] = 0.0
        projected: NDArray[np.float32] = centred @ self.weights_KB[:components].T.astype(np.float32)
        return projected

    def save(self, path: Path) -> None:
        """Write as safetensors (float64)."""
        numbers = np.array([self.total_variance, self.whitening, float(self.count)])
        tensors = {
            "mean": self.mean_B,
            "axes": np.ascontiguousarray(self.axes_KB),
            "variances": self.variances_K,
            "total_variance_whitening_count": numbers,
        }
        save_file(tensors, path)

    @classmethod
    def load(cls, path: Path) -> SpectralBasis:
        """Read what `save` wrote."""
        tensors = load_file(path)
        total, whitening, count = tensors["total_variance_whitening_count"].tolist()
        return cls(
            mean_B=tensors["mean"],
            axes_KB=tensors["axes"],
            variances_K=tensors["variances"],
            total_variance=total,
            whitening=whitening,
            count=int(count),
        )

    def to_sklearn(self) -> PCA:
        """A fitted scikit-learn ``PCA`` with the same axes; ``whiten`` if the exponent is 0.5.

        Without whitening its ``transform`` keeps the data's unit, where `project` divides all
        components by the first one's standard deviation.

        Raises:
            SpecError: The exponent is neither 0 nor 0.5, which ``PCA`` cannot express.
        """
        from sklearn.decomposition import PCA

        if self.whitening not in (0.0, 0.5):
            raise SpecError(
                f"basis.whitening={self.whitening} has no counterpart in scikit-learn's PCA; "
                "use 0 or 0.5"
            )
        pca = PCA(n_components=self.rank, whiten=self.whitening == 0.5)
        bands = len(self.mean_B)
        rest = self.total_variance - float(self.variances_K.sum())
        pca.components_ = self.axes_KB
        pca.explained_variance_ = self.variances_K
        pca.explained_variance_ratio_ = self.variances_K / self.total_variance
        pca.singular_values_ = np.sqrt(self.variances_K * (self.count - 1))
        pca.mean_ = self.mean_B
        pca.n_components_ = self.rank
        pca.n_samples_ = self.count
        pca.n_features_in_ = bands
        pca.noise_variance_ = rest / (bands - self.rank) if bands > self.rank else 0.0
        return pca


def solve_basis(moments: SpectralMoments, rank: int | None, *, whitening: float) -> SpectralBasis:
    """Principal components of the moments.

    Args:
        moments: Moments of at least two pixels.
        rank: Number of components; None for all bands.
        whitening: Exponent p (see `BasisSpec`).

    Returns:
        The basis. Cost: O(B³), independent of the number of pixels.

    Raises:
        SpecError: More components than bands were asked for, or there are too few pixels.
    """
    bands = len(moments.mean_B)
    rank = bands if rank is None else rank
    if not 1 <= rank <= bands:
        raise SpecError(
            f"{rank} components exceed the scene's {bands} usable bands; "
            f"set components <= {bands} in every stage"
        )
    _require_two(moments)
    covariance_BB = moments.scatter_BB / (moments.count - 1)
    variances_K, axes_BK = eigh(covariance_BB, subset_by_index=(bands - rank, bands - 1))
    axes_KB = axes_BK.T[::-1]
    largest_K = np.abs(axes_KB).argmax(axis=1)
    signs_K = np.where(axes_KB[np.arange(rank), largest_K] < 0, -1.0, 1.0)
    return SpectralBasis(
        mean_B=moments.mean_B,
        axes_KB=np.ascontiguousarray(axes_KB * signs_K[:, None]),
        variances_K=np.ascontiguousarray(np.maximum(variances_K[::-1], 0.0)),
        total_variance=float(np.trace(covariance_BB)),
        whitening=whitening,
        count=moments.count,
    )


def standardise_bands(moments: SpectralMoments) -> SpectralBasis:
    """The bands themselves, each with zero mean and unit variance: the full-spectrum baseline."""
    _require_two(moments)
    variances_B = np.diag(moments.scatter_BB) / (moments.count - 1)
    return SpectralBasis(
        mean_B=moments.mean_B,
        axes_KB=np.eye(len(variances_B)),
        variances_K=np.ascontiguousarray(variances_B),
        total_variance=float(variances_B.sum()),
        whitening=0.5,
        count=moments.count,
    )


def group_bands(moments: SpectralMoments, groups: int) -> SpectralBasis:
    """Means of runs of neighbouring bands, each with zero mean and unit variance.

    Unlike components they keep the order of the spectrum, which a convolution along it needs, and
    averaging takes noise out.

    Args:
        moments: Moments of at least two pixels.
        groups: How many; their sizes differ by at most one band, the larger ones first.

    Raises:
        SpecError: More groups than bands were asked for, or there are too few pixels.
    """
    bands = len(moments.mean_B)
    if not 1 <= groups <= bands:
        raise SpecError(f"{groups} groups exceed the scene's {bands} usable bands")
    _require_two(moments)
    means_KB = np.zeros((groups, bands))
    for row_B, members in zip(means_KB, np.array_split(np.arange(bands), groups), strict=True):
        row_B[members] = 1.0 / len(members)
    covariance_BB = moments.scatter_BB / (moments.count - 1)
    return SpectralBasis(
        mean_B=moments.mean_B,
        axes_KB=means_KB,
        variances_K=np.einsum("kb,bc,kc->k", means_KB, covariance_BB, means_KB),
        total_variance=float(np.trace(covariance_BB)),
        whitening=0.5,
        count=moments.count,
    )


def _require_two(moments: SpectralMoments) -> None:
    if moments.count < 2:
        raise SpecError(
            f"the basis needs at least 2 valid pixels, got {moments.count}; "
            "use a larger training share or --basis-pixels all"
        )
