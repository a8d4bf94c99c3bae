"""Bands at other wavelengths: linear interpolation, NaN where a band that counts is missing."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from st_ray.errors import SceneError
from st_ray.spectral.cube import FileCube
from st_ray.spectral.metadata import Metadata
from st_ray.spectral.resample import ResampledCube, band_weights, differing_band
from st_ray.spectral.scene import SceneSpec, open_scene
from tests.rasters import write_envi, write_tif

if TYPE_CHECKING:
    from tests.conftest import SceneFiles

ALL = slice(None)
OWN = (400.0, 500.0, 600.0, 700.0)


def resample_bands(
    values: NDArray[np.float32], from_nm: Sequence[float], to_nm: Sequence[float]
) -> NDArray[np.float32]:
    return band_weights(from_nm, to_nm).apply(values)


def test_values_lie_on_the_line_between_neighbouring_bands() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(5, 7, 4)).astype(np.float32)
    wanted = rng.uniform(400, 700, 30)
    expected = np.apply_along_axis(lambda one: np.interp(wanted, OWN, one), 2, values)
    np.testing.assert_allclose(resample_bands(values, OWN, wanted), expected, rtol=1e-5, atol=1e-6)


def test_the_files_own_wavelengths_give_its_own_values_bit_for_bit() -> None:
    values = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    np.testing.assert_array_equal(resample_bands(values, OWN, OWN), values)
    order = (2, 0, 3, 1)
    shuffled = tuple(OWN[band] for band in order)
    np.testing.assert_array_equal(resample_bands(values[:, order], shuffled, OWN), values)
    np.testing.assert_array_equal(
        resample_bands(values, (400.0, 500.0, 500.0, 700.0), (500.0,))[:, 0], values[:, 1]
    )


def test_a_missing_band_counts_only_where_it_is_used() -> None:
    values = np.array([1, np.nan, 3, 4], dtype=np.float32)
    read = resample_bands(values, OWN, (400, 450, 500, 550, 600, 650))
    np.testing.assert_array_equal(read, np.float32([1, np.nan, np.nan, np.nan, 3, 3.5]))


def test_one_band_beyond_the_ends_takes_the_last_value_and_more_is_refused() -> None:
    values = np.arange(4, dtype=np.float32)
    np.testing.assert_array_equal(resample_bands(values, OWN, (300, 800)), [0, 3])
    with pytest.raises(SceneError, match=r"400 to 700 nm cannot be resampled to 299 nm \(1 of 2"):
        resample_bands(values, OWN, (299, 500))
    with pytest.raises(SceneError, match="wavelengths of one side are not known"):
        resample_bands(values, (), (500,))


def test_wavelengths_differ_beyond_half_a_band_or_a_nanometre() -> None:
    assert differing_band(OWN, (449.0, 500, 600, 700)) is None
    assert differing_band(OWN, (400, 500, 600.0, 751)) == 3
    assert differing_band((400, 400.5, 401), (400.9, 401.4, 401.9)) is None
    assert differing_band((400, 400.5, 401), (400, 401.6, 402)) == 1
    assert differing_band((), OWN) is None


def test_a_resampled_cube_reads_only_what_it_needs(
    scene_files: SceneFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tuple(400.0 + 10 * band for band in range(12))
    meta = Metadata(wavelengths=own, bad_bands=(3,))
    source = FileCube(path=str(scene_files.cube), key="", file_shape=(30, 26, 12), meta=meta)
    cube = ResampledCube(source=source, wavelengths=(405.0, 430.0, 435.0, 505.0))
    assert (cube.shape, cube.file_shape, cube.extents) == ((30, 26, 4), (30, 26, 4), source.extents)
    assert cube.meta.bad_bands == (1, 2)
    values = scene_files.values.astype(np.float32)
    expected = np.stack(
        [values[..., list(bands)].mean(2) for bands in ((0, 1), (3,), (3, 4), (10, 11))], axis=2
    )
    np.testing.assert_allclose(cube.read(ALL, ALL), expected)
    less = pickle.loads(pickle.dumps(cube.drop((1, 2))))
    assert less.band_indices == (0, 3)
    asked = []
    read = FileCube.read
    monkeypatch.setattr(
        FileCube,
        "read",
        lambda self, rows, cols: asked.append(self.bands) or read(self, rows, cols),
    )
    np.testing.assert_allclose(less.read(slice(2), slice(3)), expected[:2, :3, [0, 3]])
    assert asked == [(0, 1, 10, 11)]
    with pytest.raises(SceneError, match=r"bands \[4\]"):
        cube.select((4,))


@pytest.fixture
def pair(scene_files: SceneFiles, tmp_path: Path) -> SceneSpec:
    """Two scenes of one sensor whose bands have moved, the second with a band more."""
    first = [400.0 + 50 * band for band in range(12)]
    write_tif(tmp_path / "a.tif", scene_files.values, centres=first)
    moved = np.concatenate([scene_files.values, scene_files.values[:, :, -1:]], axis=2)
    write_tif(tmp_path / "b.tif", moved, centres=[each + 30 for each in [350, *first]])
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", scene_files.truth)
    return SceneSpec(name=str(tmp_path / "*.tif"), labels=str(tmp_path / "*.npy"))


def test_scenes_at_other_wavelengths_are_refused_or_resampled(
    pair: SceneSpec, scene_files: SceneFiles, tmp_path: Path
) -> None:
    with pytest.raises(SceneError, match=r"b.tif has 13 bands, .*a.tif has 12; .*scene.resample"):
        open_scene(pair)
    scene = open_scene(replace(pair, resample=True))
    assert scene.cube.shape[2] == 12
    top, bottom = scene.cube.extents
    np.testing.assert_array_equal(scene.cube.read(top.rows, slice(26)), scene_files.values)
    second = FileCube(path=str(tmp_path / "b.tif"), key="", file_shape=(30, 26, 13))
    expected = resample_bands(
        second.read(ALL, ALL),
        [380.0 + 50 * band for band in range(13)],
        scene.cube.meta.wavelengths,
    )
    np.testing.assert_array_equal(scene.cube.read(bottom.rows, slice(26)), expected)
    np.testing.assert_array_equal(
        scene.cube.drop((0, 5)).read(bottom.rows, slice(26)),
        np.delete(expected, (0, 5), axis=2),
    )


def test_bands_of_equal_number_that_moved_are_named(
    scene_files: SceneFiles, tmp_path: Path
) -> None:
    for name, shift in (("a", 0), ("b", 30), ("c", 20)):
        centres = [400.0 + 50 * band + (shift if band > 4 else 0) for band in range(12)]
        write_tif(tmp_path / f"{name}.tif", scene_files.values, centres=centres)
        np.save(tmp_path / f"{name}.npy", scene_files.truth)
    spec = SceneSpec(name=str(tmp_path / "*.tif"), labels=str(tmp_path / "*.npy"))
    with pytest.raises(SceneError, match=r"band 5 of .*b.tif lies at 680 nm, that of .* at 650 nm"):
        open_scene(spec)
    (tmp_path / "b.tif").unlink()
    assert open_scene(spec).cube.shape[2] == 12  # 20 nm are less than half a band


def test_bands_that_any_scene_marks_as_bad_are_bad_in_all(
    scene_files: SceneFiles, tmp_path: Path
) -> None:
    for name, bad in (("a", 3), ("b", 7)):
        flags = [int(band != bad) for band in range(12)]
        write_envi(tmp_path / f"{name}.hdr", scene_files.values, bbl=flags)
        np.save(tmp_path / f"{name}.npy", scene_files.truth)
    spec = SceneSpec(name=str(tmp_path / "*.hdr"), labels=str(tmp_path / "*.npy"))
    assert open_scene(spec).cube.meta.bad_bands == (3, 7)
