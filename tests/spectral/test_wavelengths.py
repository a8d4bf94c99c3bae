"""Wavelengths as files write them come as nanometres, or not at all."""

from __future__ import annotations

import pytest

from st_ray.spectral.wavelengths import is_wavelength_unit, to_nanometres, wavelengths_in


@pytest.mark.parametrize(
    ("values", "unit", "expected"),
    [
        ((400.5, 2500), "Nanometers", (400.5, 2500)),
        ((0.4, 2.5), "micrometres", (400, 2500)),
        ((0.4, 2.5), "µm", (400, 2500)),  # the micro sign
        ((0.4, 2.5), "μm", (400, 2500)),  # the Greek letter
        ((0.4, 2.5), "Microns", (400, 2500)),
        ((4e-7, 2.5e-6), "m", (400, 2500)),
        ((4000, 25000), "Angstroms", (400, 2500)),
        ((25000, 4000), "cm-1", (400, 2500)),
        ((0.4, 2.5), None, (400, 2500)),
        ((8.1, 14.2), "Unknown", (8100, 14200)),
        ((400.5, 2500), "", (400.5, 2500)),
        ((1, 2, 200), None, ()),  # numbers of bands
        ((400, 500), "GHz", ()),
        ((400, 0), "nm", ()),
        ((400, -1), "nm", ()),
        ((400, float("nan")), "nm", ()),
        ((400, float("inf")), "nm", ()),
        ((1e308,), "m", ()),
        ((), "nm", ()),
    ],
)
def test_any_unit_becomes_nanometres(
    values: tuple[float, ...], unit: str | None, expected: tuple[float, ...]
) -> None:
    assert to_nanometres(values, unit) == pytest.approx(expected)


def test_metres_are_distances_and_micrometres_wavelengths() -> None:
    assert all(is_wavelength_unit(unit) for unit in ("um", "nm", "Wavenumber", "nanometers"))
    assert not any(is_wavelength_unit(unit) for unit in ("m", "mm", "degrees", "1", None, 5))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["Band 1 (0.45 um)", "Band 2 (550 Nanometers)"], (450, 550)),
        (["B1: 450nm, 10 nm wide", "B2: 550 nm"], (450, 550)),
        (["450.25 (nm)"], (450.25,)),
        (["Band 1 (450 nm)", "water"], ()),
        (["5 m", "Band 2"], ()),
        ([None, "450 nm"], ()),
    ],
)
def test_band_names_may_hold_wavelengths(
    names: list[str | None], expected: tuple[float, ...]
) -> None:
    assert wavelengths_in(names) == expected
