"""Synthetic scenes of any size, for trials of what a machine can take.

Classes form coherent regions, pixels mix the spectra of neighbouring regions, the light varies,
the sensor adds noise that differs by band, and stripes were never measured. Every row of pixels
depends on the seed and its own position only: however a scene is written, it is the same scene.

Shape letters: H W scene, h rows of a block, B bands, C classes, L lattice.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from st_ray.errors import SceneError, writing

Float32 = NDArray[np.float32]

NODATA = -9999
_REFLECTANCE = 10_000  # what a reflectance of 1 is stored as, as EnMAP and Sentinel-2 do
_SHARPNESS = 12.0  # of the borders between regions: at 12 about a tenth of the pixels are mixed
_ROWS = 64  # of a block


@dataclass(frozen=True, kw_only=True, slots=True)
class SyntheticSpec:
    """What to make.

    Attributes:
        height: Rows H.
        width: Columns W.
        bands: Bands B.
        classes: Classes C.
        region: Typical side of a region of one class, pixels.
        labelled: Share of the pixels that carry a label, in coherent fields.
        noise: Standard deviation of the sensor's noise, as reflectance, in its noisiest band.
        stripes: Share of the columns that were never measured.
        seed: Of everything.
    """

    height: int
    width: int
    bands: int = 200
    classes: int = 8
    region: int = 48
    labelled: float = 0.05
    noise: float = 0.02
    stripes: float = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"height": 2, "width": 2, "bands": 2, "classes": 2, "region": 2}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise SceneError(f"{name}={getattr(self, name)}: expected at least {bound}")
        if self.classes > 255:
            raise SceneError(f"classes={self.classes}: expected at most 255")
        for name in ("labelled", "noise", "stripes"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise SceneError(f"{name}={getattr(self, name)}: expected a share in [0, 1)")


def write_synthetic(spec: SyntheticSpec, folder: Path, *, threads: int = 1) -> tuple[Path, Path]:
    """Write a scene block by block; memory does not depend on its size.

    Args:
        spec: What to make.
        folder: Where ``cube.npy`` (H, W, B) int16 and ``labels.npy`` (H, W) uint8 go; existing
            ones are written over.
        threads: Blocks made at a time.

    Returns:
        The two paths. `NODATA` stands for "not measured" in the cube, 0 for "not labelled".

    Raises:
        OutputError: They cannot be written.
    """
    cube_path, labels_path = folder / "cube.npy", folder / "labels.npy"
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        shape = spec.height, spec.width
        cube = open_memmap(cube_path, "w+", np.int16, (*shape, spec.bands))
        labels = open_memmap(labels_path, "w+", np.uint8, shape)

        def write(top: int) -> None:
            rows = range(top, min(top + _ROWS, spec.height))
            cube[rows.start : rows.stop], labels[rows.start : rows.stop] = make_rows(spec, rows)

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(write, range(0, spec.height, _ROWS)))
        cube.flush()
        labels.flush()
    return cube_path, labels_path


def make_rows(spec: SyntheticSpec, rows: range) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Some rows of the scene.

    Returns:
        The cube (h, W, B) and the labels (h, W), 0 = unlabelled.
    """
    fields_hwC = np.stack(
        [_field(spec, rows, spec.region, kind) for kind in range(spec.classes)], axis=2
    )
    strengths_hwC = np.exp(_SHARPNESS * (fields_hwC - fields_hwC.max(axis=2, keepdims=True)))
    abundances_hwC = strengths_hwC / strengths_hwC.sum(axis=2, keepdims=True)
    light_hw1 = 1.0 + 0.1 * _field(spec, rows, 4 * spec.region, spec.classes)[..., None]
    cube_hwB: Float32 = (abundances_hwC @ endmembers(spec)) * light_hw1
    noise_B = spec.noise * (0.2 + 0.8 * np.linspace(-1, 1, spec.bands, dtype=np.float32) ** 2)
    for position, row in enumerate(rows):
        rng = np.random.default_rng([spec.seed, 2, row])
        cube_hwB[position] += noise_B * rng.standard_normal(cube_hwB.shape[1:], np.float32)
    most = np.iinfo(np.int16).max
    stored_hwB = np.rint(cube_hwB * _REFLECTANCE).clip(NODATA + 1, most).astype(np.int16)
    labels_hw = 1 + fields_hwC.argmax(axis=2).astype(np.uint8)
    survey_hw = _field(spec, rows, spec.region, spec.classes + 1)
    labels_hw[survey_hw < _survey_limit(spec)] = 0
    stripes_W = np.random.default_rng([spec.seed, 3]).random(spec.width) < spec.stripes
    stored_hwB[:, stripes_W] = NODATA
    return stored_hwB, labels_hw


def endmembers(spec: SyntheticSpec) -> Float32:
    """The pure spectra (C, B) of the classes, reflectances between 0.05 and 0.65.

    A few broad absorption features each, on a common continuum.
    """
    rng = np.random.default_rng([spec.seed, 1])
    wave_B = np.linspace(0.0, 1.0, spec.bands)
    spectra = []
    for _ in range(spec.classes):
        centres_F, widths_F = rng.random(6), rng.uniform(0.03, 0.2, 6)
        depths_F = rng.uniform(-0.15, 0.15, 6)
        bumps_FB = np.exp(-0.5 * ((wave_B - centres_F[:, None]) / widths_F[:, None]) ** 2)
        spectra.append(0.3 + 0.1 * wave_B + depths_F @ bumps_FB)
    return np.clip(spectra, 0.05, 0.65).astype(np.float32)


def _field(spec: SyntheticSpec, rows: range, scale: int, kind: int) -> Float32:
    """A smooth random field (h, W) around 0: a lattice of normal numbers, interpolated."""
    lattice_LL = np.stack(
        [
            np.random.default_rng([spec.seed, 0, kind, line]).standard_normal(
                spec.width // scale + 2, np.float32
            )
            for line in range(rows.start // scale, (rows.stop - 1) // scale + 2)
        ]
    )
    down_h = np.arange(rows.start, rows.stop) / scale - rows.start // scale
    across_W = np.arange(spec.width) / scale
    return _interpolate(_interpolate(lattice_LL, down_h).T, across_W).T


def _interpolate(values_LX: Float32, at_n: NDArray[np.float64]) -> Float32:
    """Values (n, X) between the lines of a lattice, smoothly (Perlin's cubic)."""
    line_n = at_n.astype(np.intp)
    part_n1 = (at_n - line_n).astype(np.float32)[:, None]
    weight_n1 = part_n1**2 * (3.0 - 2.0 * part_n1)
    between_nX = values_LX[line_n] * (1.0 - weight_n1) + values_LX[line_n + 1] * weight_n1
    return np.asarray(between_nX, dtype=np.float32)


@cache
def _survey_limit(spec: SyntheticSpec) -> float:
    """What a field exceeds on the labelled share of its pixels."""
    sample = SyntheticSpec(height=2048, width=2048, region=spec.region, seed=spec.seed)
    values = _field(sample, range(sample.height), spec.region, 0)
    return float(np.quantile(values, 1.0 - spec.labelled))
