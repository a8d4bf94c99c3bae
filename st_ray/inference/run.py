"""From scenes to maps on disk: plan, predict tile by tile, bring into form, put into place."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np
from torch import nn

from st_ray.config import ClusterSpec
from st_ray.engine import Engine, open_engine
from st_ray.errors import SpecError, writing
from st_ray.events import Event
from st_ray.inference.draft import Draft
from st_ray.inference.layers import Layer, Legend, Made, windows
from st_ray.inference.spec import MapResult, PredictSpec
from st_ray.inference.task import Bundle, MapTask, plan_maps
from st_ray.learn.fit import Listen
from st_ray.learn.tilemap import PredictTiles
from st_ray.spectral.scene import SceneSpec
from st_ray.storage import bare, is_uri, join, parent, push

_FORM = "form"  # folder of a draft in which the map gets its form
_COUNTED = 2048  # pixels on a side that are counted at a time


def predict_map(
    model: str | Path,
    scene: str | Path | SceneSpec,
    out: str | Path | None = None,
    *,
    probability: bool = False,
    confidence: bool = False,
    resample: bool = False,
    overwrite: bool = False,
    cluster: ClusterSpec | None = None,
    backbone: Callable[..., nn.Module] | str | None = None,
    listen: Listen | None = None,
) -> MapResult:
    """Predict the class of every valid pixel of a scene, by a model bundle alone.

    The map is written while it is made; memory does not grow with the scene. A process that was
    killed is gone on with by the same call.

    Args:
        model: The folder of a run, its model/, or a URI of one.
        scene: A registered name, the path of a cube, or how to read it.
        out: The map's file (or URI); its suffix says how it is written: .tif (Cloud-Optimised
            GeoTIFF), .img (ENVI), .zarr, .npy or .png. None: map.tif, without rasterio map.png.
        probability: Also write the softmax of every class, float32: ``map_probability.tif``.
        confidence: Also write the largest of them: ``map_confidence.tif``.
        resample: Interpolate bands that do not match the model's.
        overwrite: Replace what is there.
        cluster: Where to work; None: in this process, without Ray.
        backbone: Builder of a model that is none of st_ray's, or its "package.module:function".
        listen: Called with a dict for every phase and while tiles are done (see `st_ray.events`).

    Raises:
        StRayError: Bad input, in one line.
    """
    source = scene if isinstance(scene, SceneSpec) else SceneSpec(name=str(scene))
    spec = PredictSpec(
        model=str(model),
        scene=replace(source, resample=resample or source.resample),
        out=None if out is None else str(out),
        probability=probability,
        confidence=confidence,
        overwrite=overwrite,
        backbone=backbone if isinstance(backbone, str) else None,
        cluster=cluster or ClusterSpec(workers=0),
    )
    if "*" in spec.scene.name:
        raise SpecError(
            f"{spec.scene.name}: expected one scene; call it for each, or st-ray predict"
        )
    build = None if isinstance(backbone, str) else backbone
    return predict_maps(spec, build=build, listen=listen)[0]


def predict_maps(
    spec: PredictSpec,
    *,
    build: Callable[..., nn.Module] | None = None,
    listen: Listen | None = None,
    verbose: bool = False,
) -> tuple[MapResult, ...]:
    """One map for each scene; all are opened and checked before anything starts.

    Args:
        spec: What to predict.
        build: Builder of a model that was made in Python.
        listen: Called with a dict for every phase and while tiles are done.
        verbose: Let Ray talk.

    Raises:
        StRayError: Bad input, in one line.
    """
    listen = listen or _ignore
    bundle = Bundle.load(spec, build)
    tasks = plan_maps(spec, bundle)
    if all(task.made for task in tasks):
        return tuple(task.made for task in tasks if task.made)
    engine = open_engine(spec.cluster, verbose=verbose)
    listen({"kind": "phase", "name": "startup"})
    results = []
    with engine:
        for task in tasks:
            if len(tasks) > 1:
                listen({"kind": "note", "message": f"{task.cube.path} to {task.place}"})
            results.append(task.made or _Mapping(spec, bundle, task, listen).run(engine))
    return tuple(results)


def _ignore(event: Event) -> None:
    del event


@dataclass(slots=True)
class _Mapping:
    """One map under way.

    Attributes:
        spec: What to predict.
        bundle: The model.
        task: The scene.
        listen: Told how far it is.
        begun: When, by `time.perf_counter`.
        forward: Seconds in the network so far.
        predicted: Pixels of the tiles done here.
    """

    spec: PredictSpec
    bundle: Bundle
    task: MapTask
    listen: Listen
    begun: float = field(default_factory=time.perf_counter)
    forward: float = 0.0
    predicted: int = 0

    def run(self, engine: Engine) -> MapResult:
        """Make it."""
        self.begun = time.perf_counter()
        task, spec = self.task, self.spec
        layers = task.layers(spec, self.bundle.card)
        self.listen({"kind": "phase", "name": "map"})
        with Draft(task.draft, layers, task.identity, anew=spec.overwrite) as draft:
            self._fill(engine, draft)
            return self._finish(draft)

    def _fill(self, engine: Engine, draft: Draft) -> None:
        task, spec, bundle = self.task, self.spec, self.bundle
        tiles = task.tiles(spec.side)
        by_index = {tile.index: tile for tile in tiles}
        left = [tile for tile in tiles if tile.index not in draft.done]
        before = sum(tile.height * tile.width for tile in tiles if tile.index in draft.done)
        work = PredictTiles(
            cube=task.cube,
            model=bundle.model,
            basis=bundle.basis,
            card=bundle.card,
            side=spec.side,
            device=engine.device,
            probability=spec.probability,
            confidence=spec.confidence,
            dense=spec.dense,
        )
        self._tell(before)
        for part in engine.stream_tiles(work, left) if left else ():
            tile = by_index[int(part["index"])]
            draft.write(tile, part)
            self.forward += float(part["forward"])
            self.predicted += tile.height * tile.width
            self._tell(before)

    def _tell(self, before: int) -> None:
        height, width = self.task.shape
        self.listen(
            {
                "kind": "mapped",
                "before": before,
                "pixels": self.predicted,
                "total": height * width,
                "seconds": time.perf_counter() - self.begun,
            }
        )

    def _finish(self, draft: Draft) -> MapResult:
        """Bring the rasters into form, and put what came of it into its place."""
        task, legend = self.task, Legend.of(self.bundle.card)
        self.listen({"kind": "phase", "name": "form"})
        formed = time.perf_counter()
        draft.settle()
        folder = draft.folder / _FORM
        made = Made(layers=draft.layers, legend=legend, grid=task.cube.meta.grid)
        with writing(folder):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            name = PurePosixPath(bare(task.place)).name
            task.form.write(made, folder / name)
        valid = count_valid(draft.layers[0])
        ended = time.perf_counter()
        account = PurePosixPath(bare(task.account)).name
        height, width = task.shape
        result = MapResult(
            place=task.place,
            files=(*sorted(path.name for path in folder.iterdir()), account),
            pixels=height * width,
            valid_pixels=valid,
            predicted_pixels=self.predicted,
            seconds=ended - self.begun,
            forward_seconds=self.forward,
            format_seconds=ended - formed,
            notes=task.notes if valid else (*task.notes, _NOTHING_VALID),
        )
        with writing(folder):
            (folder / account).write_text(task.describe(result, legend), encoding="utf-8")
        put_into_place(folder, task.place, last=(name, account))
        draft.remove()
        return result


_NOTHING_VALID = (
    "no pixel has a value in all bands that the model uses: the map is empty; see scene.nodata and "
    "st-ray inspect"
)


def count_valid(layer: Layer) -> int:
    """How many pixels have a class."""
    classes_HW = layer.open()[:, :, 0]
    return sum(int(np.count_nonzero(classes_HW[w])) for w in windows(layer.shape, _COUNTED))


def put_into_place(folder: Path, place: str, last: tuple[str, ...]) -> None:
    """Move the files of a map to where they stay.

    Args:
        folder: What holds them and nothing else, on the same disk as a path.
        place: Of the map itself, a path or URI.
        last: Names of the files that go after all others, in this order.

    Raises:
        OutputError: They cannot be written there.
    """
    rank = {name: number for number, name in enumerate(last, 1)}
    paths = sorted(folder.iterdir(), key=lambda path: (rank.get(path.name, 0), path.name))
    if is_uri(place):
        for path in paths:
            push(path, join(parent(place), path.name))
        return
    with writing(place):
        for path in paths:
            target = Path(place).with_name(path.name)
            if target.is_dir():
                shutil.rmtree(target)
            path.replace(target)
