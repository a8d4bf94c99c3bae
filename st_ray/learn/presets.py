"""The curricula that have a name: full, pca, paper and default."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from st_ray.errors import SpecError, unknown_name
from st_ray.learn.curriculum import Axis, Curriculum, Stage, load_curriculum
from st_ray.storage import bare


@dataclass(frozen=True, slots=True)
class StageShape:
    """A stage of "default" before it is fitted to a scene.

    Attributes:
        components: At most (or groups of bands); a scene with fewer bands has as many as bands.
        patch: Share of the full patch's side.
        share: Of the epochs.
    """

    components: int
    patch: float
    share: float


@dataclass(frozen=True, slots=True)
class CurriculumShape:
    """The curriculum "default" of a backbone before it is fitted to a scene.

    Attributes:
        beta: Share of the backbone's T0.
        stages: In order.
        axis: See `Curriculum`.
    """

    beta: float
    stages: tuple[StageShape, ...]
    axis: Axis = "components"


# Of a backbone that says nothing of them: T0, peak of the learning rate, optimizer, global batch.
USUAL_EPOCHS, USUAL_RATE, USUAL_OPTIMIZER, USUAL_BATCH = 60, 1e-3, "adamw", 64
USUAL_SHAPE = CurriculumShape(0.3, (StageShape(60, 0.64, 0.6), StageShape(60, 1.0, 0.4)))

Preset = Callable[[int, int], Curriculum]


def full(bands: int, patch_size: int) -> Curriculum:
    """One stage, all standardised bands, T0 epochs: the usual baseline."""
    del bands
    stage = Stage(components=None, patch_size=patch_size)
    return Curriculum(name="full", stages=(stage,), axis="bands")


def pca(bands: int, patch_size: int) -> Curriculum:
    """One stage, 30 components, T0 epochs: what most published code does."""
    stage = Stage(components=min(30, bands), patch_size=patch_size)
    return Curriculum(name="pca", stages=(stage,))


def paper(bands: int, patch_size: int) -> Curriculum:
    """K and B both grow, up to all bands and the full patch, in half the epochs (SpectralTrain)."""
    stages = (
        Stage(components=max(1, bands // 20), patch_size=odd(patch_size / 3)),
        Stage(components=max(1, bands // 4), patch_size=odd(patch_size * 2 / 3)),
        Stage(components=None, patch_size=patch_size),
    )
    return Curriculum(name="paper", stages=stages, beta=0.5)


def default(bands: int, patch_size: int, shape: CurriculumShape = USUAL_SHAPE) -> Curriculum:
    """The backbone's own: as a rule 60 components and a growing patch, in a part of T0."""
    stages = tuple(
        Stage(
            components=min(stage.components, bands),
            patch_size=odd(patch_size * stage.patch),
            share=stage.share,
        )
        for stage in shape.stages
    )
    return Curriculum(name="default", stages=stages, beta=shape.beta, axis=shape.axis)


PRESETS: dict[str, Preset] = {"default": default, "full": full, "paper": paper, "pca": pca}


def odd(size: float) -> int:
    """The odd number of pixels nearest to a size, at least 1 (ties go up)."""
    return max(1, 2 * round((size - 1) / 2 + 1e-9) + 1)


def find_curriculum(
    name_or_file: str,
    bands: int,
    patch_size: int,
    shape: CurriculumShape = USUAL_SHAPE,
) -> Curriculum:
    """A preset fitted to the scene, or a curriculum file.

    Args:
        name_or_file: A name of `PRESETS`, or the path of a TOML file.
        bands: D of the scene.
        patch_size: B, the full patch.
        shape: Of "default" for the backbone.

    Raises:
        SpecError: There is no such preset or file, or the file is not a valid curriculum.
    """
    if name_or_file == "default":
        return default(bands, patch_size, shape)
    if name_or_file in PRESETS:
        return PRESETS[name_or_file](bands, patch_size)
    if not bare(name_or_file).endswith(".toml"):
        raise SpecError(unknown_name("curriculum", name_or_file, PRESETS) + ", or a .toml file")
    return load_curriculum(name_or_file)
