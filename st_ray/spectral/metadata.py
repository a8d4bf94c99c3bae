"""What a scene's file says beside its values: wavelengths, units, invalid bands, coordinates."""

from __future__ import annotations

from dataclasses import dataclass

from st_ray.errors import SceneError


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """Where a raster's pixels lie on the ground.

    Attributes:
        crs: Coordinate reference system, as WKT; "" if the file names none.
        transform: (a, b, c, d, e, f): the upper left corner of pixel (row, col) lies at
            x = a col + b row + c, y = d col + e row + f, in the units of the crs.
    """

    crs: str
    transform: tuple[float, float, float, float, float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Metadata:
    """What a cube's file says of its bands and pixels; all bands of the file, kept or not.

    Attributes:
        wavelengths: Of each band, nanometres; empty if unknown.
        band_names: Of each band; empty if unnamed.
        scale: Stored values are multiplied by it: one number, or one a band.
        offset: Then this is added, likewise.
        nodata: Stored value that stands for "not measured", or None.
        bad_bands: Bands that the file marks as bad, 0-based.
        grid: Where the pixels lie, or None.
    """

    wavelengths: tuple[float, ...] = ()
    band_names: tuple[str, ...] = ()
    scale: tuple[float, ...] = (1.0,)
    offset: tuple[float, ...] = (0.0,)
    nodata: float | None = None
    bad_bands: tuple[int, ...] = ()
    grid: Grid | None = None

    def check(self, bands: int, path: str) -> None:
        """See that lists of bands have one entry for each of the file's.

        Raises:
            SceneError: One has not.
        """
        for name, values, lengths in (
            ("wavelengths", self.wavelengths, (0, bands)),
            ("band names", self.band_names, (0, bands)),
            ("scale factors", self.scale, (1, bands)),
            ("offsets", self.offset, (1, bands)),
        ):
            if len(values) not in lengths:
                raise SceneError(f"{path}: expected {bands} {name}, found {len(values)}")
