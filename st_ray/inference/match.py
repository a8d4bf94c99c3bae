"""Whether a scene is what a model was trained on: the number of its bands, and where they lie."""

from __future__ import annotations

from st_ray.errors import SceneError
from st_ray.learn.card import ModelCard
from st_ray.spectral.cube import Cube
from st_ray.spectral.resample import ResampledCube, band_weights, differing_band


def match_scene(cube: Cube, card: ModelCard, *, resample: bool) -> tuple[Cube, tuple[str, ...]]:
    """The bands of a scene that a model uses.

    Bands match if there are as many as in the files of the training, and each lies within half a
    band's spacing (or 1 nm, if that is more) of its counterpart; see `differing_band`.

    Args:
        cube: The scene, with all bands of its file.
        card: The model's.
        resample: Whether bands that do not match are interpolated to the model's wavelengths.

    Returns:
        The bands, as the model's basis takes them; notes on what could not be checked.

    Raises:
        SceneError: They do not match, or cannot be resampled.
    """
    wanted, found = card.wavelengths, cube.meta.wavelengths
    wrong = _mismatch(cube, card)
    if wrong is None:
        cube = cube.select(card.bands)
        return cube, (*_unchecked(cube, card), *_marked_bad(cube, card))
    if not wanted or not found:
        whose = f"the file of {cube.path}" if wanted else "the model's bundle"
        raise SceneError(
            f"{wrong}; give a scene of the same sensor with all its bands ({whose} tells no "
            "wavelengths to resample by)"
        )
    if not resample:
        raise SceneError(f"{wrong}; pass --resample to interpolate its bands to the model's")
    band_weights(found, card.used_wavelengths)  # refuses what lies outside
    resampled = ResampledCube(source=cube, wavelengths=wanted).select(card.bands)
    return resampled, (f"{wrong}: its bands were interpolated",)


def _mismatch(cube: Cube, card: ModelCard) -> str | None:
    """What does not match, in words."""
    wanted, found = card.wavelengths, cube.meta.wavelengths
    bands = cube.file_shape[2]
    if bands != card.file_bands:
        return f"{cube.path} has {bands} bands, the model was trained on files of {card.file_bands}"
    band = differing_band(wanted, found)
    if band is None:
        return None
    return (
        f"band {band} of {cube.path} lies at {found[band]:g} nm, the model's at {wanted[band]:g} nm"
    )


def _unchecked(cube: Cube, card: ModelCard) -> tuple[str, ...]:
    if card.wavelengths and cube.meta.wavelengths:
        return ()
    whose = "the model" if not card.wavelengths else cube.path
    return (f"{whose} tells no wavelengths: only the number of bands was compared",)


def _marked_bad(cube: Cube, card: ModelCard) -> tuple[str, ...]:
    bad = sorted(set(cube.meta.bad_bands) & set(card.bands))
    if not bad:
        return ()
    listed = ", ".join(map(str, bad[:8])) + (", …" if len(bad) > 8 else "")
    return (f"{cube.path} marks bands as bad that the model uses: {listed}",)
