"""ENVI headers as they are in the wild: what is plain is repaired and told, the rest refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from st_ray.errors import SceneError
from st_ray.spectral.scene import SceneSpec, open_cube
from tests.rasters import MAP_INFO, edit, write_envi

if TYPE_CHECKING:
    from tests.conftest import SceneFiles

ALL = slice(None)


@pytest.fixture
def header(scene_files: SceneFiles, tmp_path: Path) -> Path:
    """An ENVI scene beside which nothing else lies."""
    return write_envi(tmp_path / "a scène.hdr", scene_files.values, interleave="bil")


def _opened(header: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    cube, notes = open_cube(SceneSpec(name=str(header)))
    return cube.read(ALL, ALL), notes


def _error(header: Path) -> str:
    with pytest.raises(SceneError) as caught:
        open_cube(SceneSpec(name=str(header)))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def _rename(header: Path, name: str) -> Path:
    header.with_suffix(".dat").rename(header.with_name(name))
    return header


def _rewrite(header: Path, change: Callable[[str], str], encoding: str = "utf-8") -> Path:
    header.write_bytes(change(header.read_text()).encode(encoding))
    return header


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda h: edit(h, byte_order=None), "no byte order in the header; 0, least significant"),
        (lambda h: edit(h, byte_order="host"), "byte order = host in the header; 0, least"),
        (lambda h: edit(h, interleave="BIL"), "interleave = BIL in the header is read as bil"),
        (lambda h: edit(h, interleave="Bil"), "interleave = Bil in the header is read as bil"),
        (lambda h: edit(h, header_offset=None), None),
        (lambda h: edit(h, file_type=None), None),
        (lambda h: edit(h, Description="{ two\n lines } "), None),
        (
            lambda h: edit(h, wavelength="{1, 2, 3}"),
            "3 values of 'wavelength' for 12 bands; unused",
        ),
        (lambda h: edit(h, bbl="{1, 0}"), "2 values of 'bbl' for 12 bands; unused"),
        (lambda h: edit(h, wavelength="{a, b}"), None),
        (lambda h: edit(h, reflectance_scale_factor="0"), None),
        (lambda h: _rewrite(h, lambda text: text.removeprefix("ENVI\n")), None),
        (lambda h: _rewrite(h, lambda text: text.replace("\n", "\r\n")), None),
        (lambda h: _rewrite(h, lambda text: "\ufeff" + text), None),
        (lambda h: _rewrite(h, lambda text: text + "; 5 °C\nsite = Gäu\n", "latin-1"), None),
        (lambda h: _rename(h, "a scène"), None),
        (lambda h: _rename(h, "A SCÈNE.IMG".lower().replace("img", "IMG")), None),
        (lambda h: _rename(h, "a scène.bip"), None),
        (lambda h: h.rename(h.with_name("a scène.dat.hdr")), None),
        (lambda h: h.rename(h.with_suffix(".HDR")).with_suffix(".dat"), None),
    ],
)
def test_what_is_plain_is_repaired_and_told(
    damage: Callable[[Path], Path], told: str | None, header: Path, scene_files: SceneFiles
) -> None:
    path = damage(header)
    values, notes = _opened(path)
    np.testing.assert_array_equal(values, scene_files.values)
    if told is None:
        assert notes == ()
    else:
        assert len(notes) == 1
        assert notes[0].startswith("a scène.hdr: ")
        assert told in notes[0]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"interleave": None}, "no interleave in the header; expected bsq, bil or bip"),
        ({"interleave": "tile"}, "interleave = tile in the header; expected bsq, bil or bip"),
        ({"data_type": None}, "no 'data type'; add the line `data type = ...`"),
        ({"data_type": "6"}, "data type = 6: expected one of 1, 2, 3, 4, 5, 12, 13, 14, 15"),
        ({"lines": "thirty"}, "lines = thirty: expected a whole number of 1 or more"),
        ({"samples": "0"}, "samples = 0: expected a whole number of 1 or more"),
        ({"samples": None}, "expected an ENVI header, found no samples"),
        ({"reflectance_scale_factor": "nan"}, "scale factors and offsets (nan, nan) make no"),
        ({"reflectance_scale_factor": "inf"}, "offsets (0) make no values"),
        ({"lines": "9" * 5000}, "expected a whole number of 1 or more"),
        ({"lines": "9" * 40}, "the file is cut short, or a number in the header is wrong"),
        ({"header_offset": "-4"}, "header offset = -4: expected a whole number of 0 or more"),
        ({"file_compression": "1"}, "the data file is compressed; save it uncompressed"),
        ({"band_names": "{a,"}, "the list 'band names' has no closing brace; add it"),
    ],
)
def test_what_nothing_tells_is_refused(
    changes: dict[str, str | None], says: str, header: Path
) -> None:
    message = _error(edit(header, **changes))
    assert message.startswith(f"{header}: ")
    assert len(message) < 400
    assert says in message


def test_a_size_that_does_not_match_is_refused_with_both_numbers(header: Path) -> None:
    size = 30 * 26 * 12 * 2
    message = _error(edit(header, bands="13"))
    assert f"30 lines x 26 samples x 13 bands of 2 bytes are {size + 30 * 26 * 2} bytes" in message
    assert f"a scène.dat has {size}; the file is cut short, or a number" in message
    message = _error(edit(header, bands="11"))
    assert f"has {size}; correct the numbers" in message
    assert f"add `header offset = {30 * 26 * 2}`" in message


def test_a_header_offset_that_explains_the_size_is_taken(
    header: Path, scene_files: SceneFiles
) -> None:
    data = header.with_suffix(".dat")
    data.write_bytes(b"#" * 100 + data.read_bytes())
    assert "add `header offset = 100`" in _error(header)
    values, notes = _opened(edit(header, header_offset="100"))
    np.testing.assert_array_equal(values, scene_files.values)
    assert notes == ()


def test_of_several_data_files_the_one_that_fits_is_taken(
    header: Path, scene_files: SceneFiles
) -> None:
    data = header.with_suffix(".dat")
    header.with_suffix(".img").write_bytes(b"another file")
    np.testing.assert_array_equal(_opened(header)[0], scene_files.values)
    header.with_suffix(".raw").write_bytes(bytes(data.stat().st_size))
    message = _error(header)
    assert "any of a scène.dat, a scène.img, a scène.raw may be its data; name that" in message
    np.testing.assert_array_equal(_opened(data)[0], scene_files.values)
    assert not _opened(header.with_suffix(".raw"))[0].any()


def test_a_header_without_data_and_data_without_a_header_say_so(header: Path) -> None:
    data = header.with_suffix(".dat")
    data.rename(header.parent / "elsewhere.dat")
    assert "its data file is not beside it; expected a scène, or that name with one" in _error(
        header
    )
    assert "an ENVI file with its .hdr" in _error(header.parent / "elsewhere.dat")


def test_the_header_of_another_program_is_not_taken_for_envi(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    (tmp_path / "a.bil").write_bytes(values.tobytes())
    (tmp_path / "a.hdr").write_text(
        "NROWS 2\nNCOLS 4\nNBANDS 3\nNBITS 8\nLAYOUT BIL\nBYTEORDER I\n"
    )
    cube, _ = open_cube(SceneSpec(name=str(tmp_path / "a.bil")))
    np.testing.assert_array_equal(cube.read(ALL, ALL), values.transpose(0, 2, 1))
    assert "expected an ENVI header, found no samples" in _error(tmp_path / "a.hdr")


@pytest.mark.parametrize(
    ("unit", "values", "expected"),
    [
        ("Nanometers", (400.5, 2500), (400.5, 2500)),
        ("Micrometers", (0.4, 2.5), (400, 2500)),
        ("um", (0.4, 2.5), (400, 2500)),
        ("Unknown", (0.4, 2.5), (400, 2500)),
        (None, (400.5, 2500), (400.5, 2500)),
        ("Wavenumber", (25000, 4000), (400, 2500)),
        ("Index", (1, 2), ()),
        (None, (1, 200), ()),
    ],
)
def test_wavelengths_are_nanometres_whatever_the_unit(
    unit: str | None, values: tuple[float, float], expected: tuple[float, ...], tmp_path: Path
) -> None:
    header = write_envi(tmp_path / "a.hdr", np.ones((2, 3, 2), np.float32), wavelength=values)
    cube, _ = open_cube(SceneSpec(name=str(edit(header, wavelength_units=unit))))
    assert cube.meta.wavelengths == pytest.approx(expected)


def test_marked_bands_names_and_gains_are_kept(tmp_path: Path) -> None:
    header = write_envi(
        tmp_path / "a.hdr",
        np.ones((2, 3, 3), np.int16),
        bbl=["1", "0.0", "1"],
        band_names=["blue", "water", "red"],
        data_gain_values=[0.1, 0.2, 0.3],
        reflectance_scale_factor=10,
    )
    meta = open_cube(SceneSpec(name=str(header)))[0].meta
    assert meta.bad_bands == (1,)
    assert meta.band_names == ("blue", "water", "red")
    assert meta.scale == pytest.approx((0.01, 0.02, 0.03))


def test_map_info_without_numbers_leaves_a_scene_without_coordinates(
    header: Path, scene_files: SceneFiles
) -> None:
    listed = ", ".join(map(str, MAP_INFO))
    good, _ = open_cube(SceneSpec(name=str(edit(header, map_info=f"{{{listed}}}"))))
    assert good.meta.grid is not None
    assert good.meta.grid.transform == (20, 0, 500_000, 0, -20, 4_477_000)
    broken, _ = open_cube(SceneSpec(name=str(edit(header, map_info="{UTM, 1}"))))
    assert broken.meta.grid is None
    np.testing.assert_array_equal(broken.read(ALL, ALL), scene_files.values)
