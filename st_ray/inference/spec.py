"""What to predict and where to, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from st_ray.config import ClusterSpec
from st_ray.errors import SpecError
from st_ray.spectral.scene import SceneSpec

# Larger tiles share more of their margin, smaller ones are done, kept and seen sooner.
SIDE = 128


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictSpec:
    """All that decides a map, or several.

    Attributes:
        model: The folder of a run, its model/, or a URI of one.
        scene: What to read; its labels do not count. A ``*`` stands for several scenes. With its
            ``resample``, bands that do not match the model's are interpolated.
        out: File of the class ids, whose suffix says how it is written (see
            `st_ray.inference.formats`): a path or URI. A ``*`` is filled with what the scene's
            stood for. None: a name that fits, in the current directory.
        probability: Whether the softmax of every class is written, too.
        confidence: Whether the largest of them is.
        overwrite: Whether a map that is there gives way.
        backbone: "package.module:function" of a model that is none of st_ray's, to allow it.
        side: Of a tile, pixels.
        dense: Whether what neighbouring patches share may be computed once (see
            `st_ray.learn.dense`).
        cluster: Where to work: ``workers`` are processes that predict.
    """

    model: str
    scene: SceneSpec = field(default_factory=SceneSpec)
    out: str | None = None
    probability: bool = False
    confidence: bool = False
    overwrite: bool = False
    backbone: str | None = None
    side: int = SIDE
    dense: bool = True
    cluster: ClusterSpec = field(default_factory=ClusterSpec)

    def __post_init__(self) -> None:
        if self.side < 1:
            raise SpecError(f"tiles.side={self.side}: a tile is at least 1 pixel wide")


@dataclass(frozen=True, kw_only=True, slots=True)
class MapResult:
    """A finished map.

    Attributes:
        place: The file of the class ids, a path or URI.
        files: Names of all that was written beside it and with it.
        pixels: H * W.
        valid_pixels: Of them, those with a class.
        predicted_pixels: Pixels of the tiles that this process has done, valid or not; an
            earlier one may have done the others.
        seconds: Wall-clock of this process: from the first tile to the last file.
        forward_seconds: Of that in the network, summed over all workers.
        format_seconds: Of that for bringing the map into its form.
        notes: What should be known of it.
    """

    place: str
    files: tuple[str, ...]
    pixels: int
    valid_pixels: int
    predicted_pixels: int
    seconds: float
    forward_seconds: float
    format_seconds: float
    notes: tuple[str, ...] = ()

    @property
    def megapixels_per_second(self) -> float:
        """Rate of this process; 0 where it had nothing to do."""
        return self.predicted_pixels / self.seconds / 1e6 if self.predicted_pixels else 0.0
