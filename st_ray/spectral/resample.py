"""Cubes at other wavelengths: linear interpolation between a file's own bands.

Shape letters: B bands of the file, T target bands, h w window.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from st_ray.errors import SceneError
from st_ray.spectral.cube import Cube, Extent, known_bands
from st_ray.spectral.metadata import Metadata

_LEAST_TOLERANCE = 1.0  # nanometres; two calibrations of one sensor differ by as much


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BandWeights:
    """How each target band is made of two bands of the file.

    Attributes:
        below: (T,) the file's band at or below each target, 0-based.
        above: (T,) the file's band at or above it.
        share: (T,) float32 in 0..1, how much of ``above`` there is in it.
    """

    below: NDArray[np.int64]
    above: NDArray[np.int64]
    share: NDArray[np.float32]

    def apply(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values (..., B) at the targets (..., T); NaN where a band that counts is NaN."""
        low, high = values[..., self.below], values[..., self.above]
        mixed = low + self.share * (high - low)
        # At a band's own wavelength the other one does not count, not even where it is NaN.
        return np.where(self.share == 0, low, np.where(self.share == 1, high, mixed))


def band_weights(from_nm: Sequence[float], to_nm: Sequence[float]) -> BandWeights:
    """Weights of the linear interpolation from some bands to others.

    A target up to one band spacing beyond the first or last band takes that band's value.

    Args:
        from_nm: (B,) wavelengths of the file's bands, in any order.
        to_nm: (T,) wavelengths wanted.

    Raises:
        SceneError: A target lies further outside, or a list is empty.
    """
    known, wanted = np.asarray(from_nm, np.float64), np.asarray(to_nm, np.float64)
    if not known.size or not wanted.size:
        raise SceneError("bands cannot be resampled: the wavelengths of one side are not known")
    order = np.argsort(known, kind="stable")
    known, first = np.unique(known[order], return_index=True)
    order = order[first]
    steps = np.diff(known) if len(known) > 1 else np.array([_LEAST_TOLERANCE])
    outside = (wanted < known[0] - steps[0]) | (wanted > known[-1] + steps[-1])
    if outside.any():
        raise SceneError(
            f"bands at {known[0]:g} to {known[-1]:g} nm cannot be resampled to "
            f"{wanted[outside][0]:g} nm ({int(outside.sum())} of {len(wanted)} wavelengths lie "
            "outside by more than one band); train on wavelengths that both have"
        )
    wanted = wanted.clip(known[0], known[-1])
    above = np.searchsorted(known, wanted).clip(0, len(known) - 1)
    below = (above - 1).clip(min=0)
    below = np.where(known[above] == wanted, above, below)
    width = known[above] - known[below]
    share = (wanted - known[below]) / np.where(width > 0, width, 1)
    return BandWeights(below=order[below], above=order[above], share=share.astype(np.float32))


def differing_band(one: Sequence[float], other: Sequence[float]) -> int | None:
    """The first band whose wavelengths differ by more than half a band (at least 1 nm), or None.

    Args:
        one: Wavelengths in nanometres; empty if unknown, which differs from nothing.
        other: As many, or none.
    """
    if not one or not other:
        return None
    first, second = np.asarray(one, np.float64), np.asarray(other, np.float64)
    spacing = np.abs(np.gradient(first)) if len(first) > 1 else np.zeros(1)
    differs = np.abs(first - second) > np.maximum(spacing / 2, _LEAST_TOLERANCE)
    return int(differs.argmax()) if differs.any() else None


@dataclass(frozen=True, kw_only=True, slots=True)
class ResampledCube:
    """A cube at other wavelengths than its file's. Small and picklable, as its source is.

    Attributes:
        source: A cube with known wavelengths.
        wavelengths: (T,) of the target bands, nanometres; bands are numbered in this list.
        bands: Kept target bands, 0-based; None keeps all.
    """

    source: Cube
    wavelengths: tuple[float, ...]
    bands: tuple[int, ...] | None = None

    @property
    def path(self) -> str:
        """The source's file."""
        return self.source.path

    @property
    def file_shape(self) -> tuple[int, int, int]:
        """(H, W, T) with all target bands."""
        return (*self.source.file_shape[:2], len(self.wavelengths))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, T) with the kept target bands only."""
        return (*self.file_shape[:2], len(self.band_indices))

    @property
    def band_indices(self) -> tuple[int, ...]:
        """Kept target bands, 0-based, in the order `read` returns them."""
        return tuple(range(len(self.wavelengths))) if self.bands is None else self.bands

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the source's values as they are stored."""
        return self.source.dtype

    @property
    def extents(self) -> tuple[Extent, ...]:
        """The source's scenes."""
        return self.source.extents

    @property
    def meta(self) -> Metadata:
        """What is known of the target bands; made of a bad band, one is bad."""
        meta, weights = self.source.meta, self._weights(range(len(self.wavelengths)))
        bad = np.isin(weights.below, meta.bad_bands) & (weights.share < 1)
        bad |= np.isin(weights.above, meta.bad_bands) & (weights.share > 0)
        return Metadata(
            wavelengths=self.wavelengths,
            bad_bands=tuple(int(band) for band in np.flatnonzero(bad)),
            grid=meta.grid,
        )

    def extent_at(self, row: int) -> Extent:
        """The source's scene that holds a row."""
        return self.source.extent_at(row)

    def read(self, rows: slice, cols: slice) -> NDArray[np.float32]:
        """Read a window (h, w, T); only the source bands that it needs are read."""
        weights = self._weights(self.band_indices)
        needed = np.union1d(weights.below, weights.above)
        values = self.source.select(needed.tolist()).read(rows, cols)
        return replace(
            weights,
            below=np.searchsorted(needed, weights.below),
            above=np.searchsorted(needed, weights.above),
        ).apply(values)

    def expect(self, rows: slice, cols: slice) -> None:
        """See `Cube.expect`."""
        self.source.expect(rows, cols)

    def select(self, bands: Iterable[int]) -> ResampledCube:
        """The same cube with only these target bands, in this order.

        Raises:
            SceneError: There is no such band.
        """
        return replace(self, bands=known_bands(bands, len(self.wavelengths)))

    def drop(self, bands: Iterable[int]) -> ResampledCube:
        """The same cube without these target bands."""
        dropped = set(bands)
        return self.select(band for band in self.band_indices if band not in dropped)

    def _weights(self, bands: Iterable[int]) -> BandWeights:
        return band_weights(
            self.source.meta.wavelengths, [self.wavelengths[band] for band in bands]
        )
