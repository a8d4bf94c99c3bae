"""One scene to be mapped: what is read, where the map goes, and whether it is there already."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from torch import nn

from st_ray.errors import OutputError, SceneError
from st_ray.inference.formats import MapFormat, default_name, find_format
from st_ray.inference.layers import Layer, Legend, plan_layers
from st_ray.inference.match import match_scene
from st_ray.inference.spec import MapResult, PredictSpec
from st_ray.learn.bundle import load_bundle
from st_ray.learn.card import ModelCard
from st_ray.learn.identity import identity
from st_ray.report.palette import hexadecimal
from st_ray.spectral.basis import SpectralBasis
from st_ray.spectral.cube import Cube
from st_ray.spectral.files import cache_root
from st_ray.spectral.manifest import MANIFEST_SUFFIXES
from st_ray.spectral.mosaic import match_files
from st_ray.spectral.readers.choose import family
from st_ray.spectral.readers.envi import open_envi
from st_ray.spectral.scene import SceneSpec, open_cube
from st_ray.spectral.tiles import Tile, TileSpec, plan_tiles
from st_ray.storage import bare, exists, extend, is_uri, read_text, settle


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundle:
    """A model that was loaded.

    Attributes:
        model: The network.
        basis: What spectra are projected on.
        card: What both are for.
    """

    model: nn.Module
    basis: SpectralBasis
    card: ModelCard

    @classmethod
    def load(cls, spec: PredictSpec, build: Callable[..., nn.Module] | None) -> Bundle:
        """See `load_bundle`."""
        model, basis, card = load_bundle(spec.model, build or spec.backbone)
        return cls(model=model, basis=basis, card=card)


@dataclass(frozen=True, kw_only=True, slots=True)
class MapTask:
    """One scene, opened and matched with the model.

    Attributes:
        cube: The bands that the model uses.
        place: Where the map goes: an absolute path or a URI.
        form: How it is written.
        draft: Folder of the unfinished map, on this machine.
        identity: Digest of all that decides its values.
        notes: What should be known of it.
        made: The map, if it is there already.
    """

    cube: Cube
    place: str
    form: MapFormat
    draft: Path
    identity: str
    notes: tuple[str, ...]
    made: MapResult | None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.cube.shape[:2]

    @property
    def account(self) -> str:
        """Where what tells of the map lies; a map with it is whole."""
        return extend(self.place, ".json")

    def tiles(self, side: int) -> tuple[Tile, ...]:
        """The whole plan."""
        return plan_tiles(self.shape, TileSpec(side=side), self.cube.extents)

    def layers(self, spec: PredictSpec, card: ModelCard) -> tuple[Layer, ...]:
        """The rasters of the map, in its draft."""
        return plan_layers(
            self.draft,
            card,
            self.shape,
            probability=spec.probability,
            confidence=spec.confidence,
        )

    def describe(self, result: MapResult, legend: Legend) -> str:
        """The account of a finished map, as JSON."""
        grid = self.cube.meta.grid
        classes = [
            {"id": index, "name": name, "colour": hexadecimal(colour)}
            for index, name, colour in zip(legend.ids, legend.names, legend.colours, strict=True)
        ]
        table = {
            **{key: value for key, value in asdict(result).items() if key != "place"},
            "megapixels_per_second": result.megapixels_per_second,
            "scene": self.cube.path,
            "classes": classes,
            "grid": None if grid is None else asdict(grid),
            "identity": self.identity,
        }
        return json.dumps(table, indent=1) + "\n"


def _with_suffix(place: str, suffix: str) -> str:
    path = bare(place)
    stem = path[: len(path) - len(PurePosixPath(path).suffix)]
    return stem + suffix + place[len(path) :]


def plan_maps(spec: PredictSpec, bundle: Bundle) -> tuple[MapTask, ...]:
    """Open all scenes, and see that each can be mapped, before anything starts.

    Raises:
        StRayError: One cannot be read, does not match the model, or its map is in the way.
    """
    pairs = _places(spec)
    model = _model_identity(bundle)
    return tuple(
        _plan(replace(spec.scene, name=name), out, spec, bundle, model) for name, out in pairs
    )


def _plan(scene: SceneSpec, out: str, spec: PredictSpec, bundle: Bundle, model: str) -> MapTask:
    form = find_format(out, bundle.card, more=spec.probability or spec.confidence)
    place = _with_suffix(settle(out), form.suffix)
    whole, opened = open_cube(scene, bundle.card.file_bands)
    cube, notes = match_scene(whole, bundle.card, resample=scene.resample)
    told = (
        model,
        (cube.path, _versions(Path(cube.path)), cube.file_shape, cube.band_indices),
        (scene.cube_key, scene.nodata, repr(cube.meta)),
        (spec.side, spec.probability, spec.confidence, form.name),
    )
    task = MapTask(
        cube=cube,
        place=place,
        form=form,
        draft=_draft(place),
        identity=_digest(repr(told)),
        notes=(*opened, *notes),
        made=None,
    )
    return task if spec.overwrite else replace(task, made=_find_made(task))


def _find_made(task: MapTask) -> MapResult | None:
    """The map, if the same command has made it before.

    Raises:
        OutputError: Another one is in its place.
    """
    if not exists(task.place):
        return None
    try:
        table: dict[str, Any] = json.loads(read_text(task.account))
        names = [name for name in MapResult.__dataclass_fields__ if name != "place"]
        if table["identity"] == task.identity:
            facts = {name: table[name] for name in names}
            facts.update(files=tuple(facts["files"]), notes=tuple(facts["notes"]))
            return MapResult(place=task.place, **facts)
    except (OSError, ValueError, KeyError, TypeError):
        pass  # no account, or none of ours: not the same map
    raise OutputError(
        f"{task.place} is there already, made of another model, scene or settings; choose another "
        "--out, or pass --overwrite"
    )


def _places(spec: PredictSpec) -> list[tuple[str, str]]:
    """Each scene and the name of its map."""
    pattern = spec.scene.name
    if Path(pattern).suffix.lower() in MANIFEST_SUFFIXES:
        raise SceneError(
            f"{pattern} lists scenes to train on; to map them, name the images, as in "
            "'scenes/*.tif' --out 'maps/*.tif'"
        )
    scenes = [name for name, _ in match_files(pattern, None)]
    many = "*" in pattern
    stem = Path(pattern).stem if "*" in Path(pattern).stem else "*"
    out = spec.out or (f"{stem}_{default_name()}" if many else default_name())
    if many != ("*" in out):
        raise OutputError(
            f"--out {out} for {pattern}: expected a * in both, which stands for what the scenes "
            "differ in"
            if many
            else f"--out {out}: expected a plain name for one scene"
        )
    if not many:
        return [(scenes[0], out)]
    head, tail = (re.escape(part) for part in str(Path(pattern).expanduser()).split("*"))
    matches = [re.fullmatch(f"{head}(.*){tail}", name) for name in scenes]
    return [
        (name, out.replace("*", match[1]))
        for name, match in zip(scenes, matches, strict=True)
        if match
    ]


def _draft(place: str) -> Path:
    """Beside the map; of a URI in the cache of this machine, where the same command finds it."""
    if is_uri(place):
        return cache_root() / "maps" / _digest(place)[:24]
    path = Path(place)
    return path.with_name(f"{path.name}.part")


def _versions(path: Path) -> tuple[tuple[int, int], ...]:
    """Size and time of the last change of every file that a cube is read from."""
    files = [path]
    if path.is_dir():
        files = sorted(item for item in path.rglob("*") if item.is_file())
    elif family(path) == "envi":  # named by its header or by its data
        envi = open_envi(path)
        files = [envi.header, envi.data]
    return tuple((stat.st_size, stat.st_mtime_ns) for stat in map(Path.stat, files))


def _model_identity(bundle: Bundle) -> str:
    told = replace(bundle.card, sha256={})
    return _digest(f"{identity(bundle.model)} {identity(bundle.basis)} {told!r}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
