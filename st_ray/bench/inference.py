"""`st-ray bench inference`: what a map costs beside the network, and what dense evaluation saves.

A synthetic scene is mapped by a new interpreter whose memory is watched from outside. The
machinery's share is measured on small parts of it, where the same tiles go through the network
alone, in turn with whole maps. The network's weights are random: they do not change its time.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from st_ray.bench.children import watch_code
from st_ray.bench.made import InferenceSpec, make_network, make_scene, map_task, save_model
from st_ray.bench.scale import check_room, side_of
from st_ray.bench.statistics import spread
from st_ray.engine import settle_process
from st_ray.errors import writing
from st_ray.inference.run import predict_maps
from st_ray.inference.spec import PredictSpec
from st_ray.learn.backbones import backbones
from st_ray.learn.bundle import load_bundle
from st_ray.learn.dense import offers_dense
from st_ray.learn.scoring import Stopwatch, tile_logits
from st_ray.spectral.scene import open_cube
from st_ray.spectral.tiles import TileSpec, plan_tiles, read_padded

Say = Callable[[str], None]

_GB = 1e9
_LONGEST_S = 6 * 3600.0
_TILE = 64  # pixels on a side of the tile that dense evaluation is measured on
_SAMPLE = 1024  # of its pixels go through the network patch by patch
# Pixels on a side of the scenes that the machinery is measured on.
_SIDES = {"dense": 512, "patches": 128}

# What children run: a map; or all that a map's process holds before its first tile.
_MAP = """
import json, sys
from pathlib import Path
from pydantic import TypeAdapter
from st_ray.inference.run import predict_maps
from st_ray.inference.spec import PredictSpec
spec = TypeAdapter(PredictSpec).validate_json(Path(sys.argv[1]).read_text())
(result,) = predict_maps(spec)
rate = result.megapixels_per_second
Path(sys.argv[2]).write_text(json.dumps({
    "seconds": result.seconds, "forward_seconds": result.forward_seconds, "rate": rate,
    "pixels": result.pixels, "valid_pixels": result.valid_pixels,
}))
"""
_BASE = """
import sys, time
from pathlib import Path
from pydantic import TypeAdapter
from st_ray.engine import open_engine
from st_ray.inference.run import predict_maps
from st_ray.inference.spec import PredictSpec
spec = TypeAdapter(PredictSpec).validate_json(Path(sys.argv[1]).read_text())
with open_engine(spec.cluster):
    time.sleep(3)
"""


def bench_inference(spec: InferenceSpec, *, folder: Path, say: Say) -> dict[str, Any]:
    """Measure dense evaluation, the machinery's share, and the map of a scene.

    Args:
        spec: What to measure.
        folder: On a disk with room for the scene and its map.
        say: Told of every measurement.

    Returns:
        Ratios, rates and sizes, as in the written JSON. ``machinery_overhead``: a map's time over
        that of the network alone, patch by patch in batches, less 1;
        ``machinery_overhead_dense``: the same where both are dense. ``peak_rss_gigabytes``: above
        a process that has opened its engine and does nothing.

    Raises:
        SpecError: The disk has no room for the scene, or the backbone is unknown.
        TrainingError: A map failed.
    """
    check_room([spec.gigabytes], spec.bands, folder)
    settle_process(spec.threads)
    speedups = {name: dense_speedups(name, spec, say) for name in dense_backbones(spec)}
    with writing(folder), tempfile.TemporaryDirectory(prefix="scene-", dir=folder) as made:
        place = Path(made)
        save_model(spec, place / "model")
        kinds = _SIDES if spec.backbone in speedups else {"patches": _SIDES["patches"]}
        overheads = {
            kind: machinery(spec, place, side, dense=kind == "dense", say=say)
            for kind, side in kinds.items()
        }
        large = map_scene(spec, place, say)
    return {
        "machinery_overhead": float(np.median(overheads["patches"])),
        "machinery_overhead_dense": float(np.median(overheads.get("dense", [np.nan]))),
        "dense_speedup": {name: float(np.median(ratios)) for name, ratios in speedups.items()},
        **large,
        "dense_speedups": {name: spread(ratios) for name, ratios in speedups.items()},
        "machinery_overheads": overheads,
        **asdict(spec),
    }


def dense_backbones(spec: InferenceSpec) -> list[str]:
    """The registered backbones that offer dense evaluation."""
    return [name for name in backbones() if offers_dense(make_network(name, spec))]


def dense_speedups(name: str, spec: InferenceSpec, say: Say) -> list[float]:
    """How many times faster a tile is densely than patch by patch, in each round."""
    model = make_network(name, spec)
    edge = _TILE + spec.patch_size - 1
    tile_EEK = torch.randn(edge, edge, spec.components)
    everything = np.ones((_TILE, _TILE), dtype=bool)
    sample = np.arange(_TILE**2).reshape(_TILE, _TILE) < _SAMPLE

    def seconds_a_pixel(wanted_hw: NDArray[np.bool_], *, dense: bool) -> float:
        begun = time.perf_counter()
        tile_logits(
            model,
            tile_EEK,
            wanted_hw,
            patch_size=spec.patch_size,
            watch=Stopwatch(),
            dense=dense,
        )
        return (time.perf_counter() - begun) / float(wanted_hw.sum())

    ratios = []
    for turn in range(spec.rounds + 1):
        patches = seconds_a_pixel(sample, dense=False)
        dense = seconds_a_pixel(everything, dense=True)
        if turn:  # the first only warms up
            ratios.append(patches / dense)
    say(f"{name}: {np.median(ratios):.3g} times faster densely, {1e6 * dense:.3g} us a pixel")
    return ratios


def machinery(spec: InferenceSpec, place: Path, side: int, *, dense: bool, say: Say) -> list[float]:
    """A small map's seconds over those of the network alone, less 1, in each round."""
    side = min(side, side_of(spec.gigabytes, spec.bands))
    scene = make_scene(spec, side, place / f"small-{side}")
    task = replace(map_task(spec, place, scene, workers=0), dense=dense, overwrite=True)
    overheads = []
    for turn in range(spec.rounds + 1):
        whole = predict_maps(task)[0]
        alone = network_alone(task)
        if turn:
            overheads.append(whole.seconds / alone - 1.0)
            how = "densely" if dense else "by patches"
            say(f"{side} x {side} pixels {how}: {whole.seconds:.2f} s, network {alone:.2f} s")
    return overheads


def network_alone(task: PredictSpec) -> float:
    """Seconds in the network, one tile after another with nothing beside it."""
    model, basis, card = load_bundle(task.model)
    (cube, _), watch, halo = open_cube(task.scene), Stopwatch(), card.patch_size // 2
    for tile in plan_tiles(cube.shape, TileSpec(side=task.side)):
        values_EEB = read_padded(cube, tile, task.side, halo)
        core = values_EEB[halo : halo + tile.height, halo : halo + tile.width]
        valid_hw: NDArray[np.bool_] = np.asarray(np.isfinite(core).all(axis=2))
        tile_logits(
            model,
            torch.from_numpy(basis.project(values_EEB, card.components)),
            valid_hw,
            patch_size=card.patch_size,
            watch=watch,
            dense=task.dense,
        )
    return watch.take()


def map_scene(spec: InferenceSpec, place: Path, say: Say) -> dict[str, Any]:
    """Map the large scene in a new interpreter: rate and memory."""
    scene = make_scene(spec, side_of(spec.gigabytes, spec.bands), place / "large")
    task, told = place / "task.json", place / "told.json"
    asked = asdict(map_task(spec, place, scene, workers=spec.workers))
    task.write_text(json.dumps(asked), encoding="utf-8")
    base = watch_code(_BASE, [str(task)], _LONGEST_S)
    peak = watch_code(_MAP, [str(task), str(told)], _LONGEST_S)
    row = json.loads(told.read_text(encoding="utf-8"))
    say(
        f"{row['pixels']:,} pixels: {row['seconds']:.1f} s, {row['rate']:.3g} megapixels/s, "
        f"{(peak - base) / _GB:.2f} GB of memory above {base / _GB:.2f} GB"
    )
    return {
        "megapixels_per_second": row["rate"],
        "peak_rss_gigabytes": (peak - base) / _GB,
        "base_rss_gigabytes": base / _GB,
        "pixels": row["pixels"],
        "valid_pixels": row["valid_pixels"],
        "seconds": row["seconds"],
        "forward_seconds": row["forward_seconds"],
    }
