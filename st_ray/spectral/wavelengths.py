"""Wavelengths as files write them, in nanometres."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

# Nanometres in one of each; what is not here is no length.
_UNITS = {
    "nm": 1.0,
    "nanometer": 1.0,
    "nanometre": 1.0,
    "um": 1e3,
    "μm": 1e3,
    "micron": 1e3,
    "micrometer": 1e3,
    "micrometre": 1e3,
    "mm": 1e6,
    "millimeter": 1e6,
    "millimetre": 1e6,
    "m": 1e9,
    "meter": 1e9,
    "metre": 1e9,
    "angstrom": 0.1,
}
_WAVENUMBERS = ("cm-1", "1/cm", "wavenumber")
_UNKNOWN = ("", "unknown")
_LEAST_NM = 100.0  # below it, a number without a unit is in micrometres
_MOST_NM = 30_000.0
_IN_TEXT = re.compile(r"(\d+(?:\.\d+)?)\s*\(?\s*([a-zµμ]+)\b", re.IGNORECASE)


def to_nanometres(values: Sequence[float], unit: str | None) -> tuple[float, ...]:
    """Wavelengths in nanometres; empty if the unit is not one of wavelength.

    Without a unit, numbers below 100 are micrometres: no sensor's bands lie at 0.4 to 15 nm, none
    at 400 to 15,000 µm.

    Args:
        values: As the file has them.
        unit: Such as "Nanometers", "um" or "cm-1"; None or "Unknown" if the file does not say.
    """
    numbers = np.asarray(values, np.float64)
    if not numbers.size or not (numbers > 0).all():
        return ()
    name = _plain(unit)
    with np.errstate(over="ignore"):
        if name in _WAVENUMBERS:
            scaled = 1e7 / numbers
        elif name in _UNKNOWN:
            scaled = numbers * (1e3 if numbers.max() < _LEAST_NM else 1.0)
            if scaled.min() < _LEAST_NM or scaled.max() > _MOST_NM:
                return ()
        else:
            scaled = numbers * _UNITS.get(name, 0.0)
    if not np.isfinite(scaled).all() or not scaled.all():
        return ()
    # Six digits after the point: 0.4 µm is 400 nm, not 400.00000000000006.
    return tuple(round(float(value), 6) for value in scaled)


def is_wavelength_unit(unit: object) -> bool:
    """Whether a unit is one in which wavelengths are written (metres are rather distances)."""
    name = _plain(unit)
    return name in _WAVENUMBERS or 0 < _UNITS.get(name, 0.0) < _UNITS["mm"]


def wavelengths_in(texts: Sequence[str | None]) -> tuple[float, ...]:
    """Nanometres out of band names such as "Band 3 (0.45 µm)"; empty unless every name has one."""
    found = []
    for text in texts:
        for number, unit in _IN_TEXT.findall(text or ""):
            if is_wavelength_unit(unit):
                found.append(to_nanometres([float(number)], unit)[0])
                break
        else:
            return ()
    return tuple(found)


def _plain(unit: object) -> str:
    """A unit in lower case, in the singular, with one of the two signs for micro."""
    name = str(unit or "").strip().lower().replace("µ", "μ")
    return name if name in _UNITS or name in _WAVENUMBERS else name.removesuffix("s")
