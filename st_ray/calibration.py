"""The rates of this machine that a forecast rests on, measured in some seconds."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from st_ray.forecast import Rates, Workload
from st_ray.learn.curriculum import PlannedStage
from st_ray.spectral.basis import solve_basis
from st_ray.spectral.cube import FileCube
from st_ray.spectral.ingest import StackPlan
from st_ray.spectral.moments import Precision
from st_ray.spectral.synthetic import NODATA, SyntheticSpec, write_synthetic
from st_ray.spectral.tiles import TileSpec, plan_tiles
from st_ray.spectral.work import MeasureTiles, ProjectTiles, SurveyTiles, read_moments

_SIDE = 256  # of the scene that rates are measured on, at most
_VALUES = 20_000_000  # of that scene, at most


def calibrate(
    work: Workload,
    precision: Precision,
    sample: Callable[[int, int, bool], float],
    pixel: Callable[[int, int], float | None],
    rounds: int = 3,
) -> Rates:
    """Measure the rates on this machine, on the threads of this process, in some seconds.

    Args:
        work: Its bands, halo and stages.
        precision: Of the moments.
        sample: Seconds of a sample of (components, patch size), trained or only scored.
        pixel: Seconds of a pixel of a whole tile of (components, patch size); None: as a sample.
        rounds: Times that each is measured; the median counts.
    """
    side = min(_SIDE, 8 * work.side, max(16, math.isqrt(_VALUES // work.bands)))
    tiles = plan_tiles((side, side), TileSpec(side=work.side))
    pixels, ones = side**2, [np.ones((work.side, work.side), np.uint8)] * len(tiles)
    with tempfile.TemporaryDirectory(prefix="st_ray-plan-") as folder:
        spec = SyntheticSpec(height=side, width=side, bands=work.bands)
        path, _ = write_synthetic(spec, Path(folder))
        cube = FileCube(path=str(path), key="", file_shape=(side, side, work.bands), nodata=NODATA)
        measured = MeasureTiles(cube, precision)
        moments = read_moments([measured(tiles, ones)])
        plan = StackPlan(
            cube=cube,
            basis=solve_basis(
                moments,
                min(work.bands, max(stage.components for stage in work.stages)),
                whitening=0.5,
            ),
            tiles=tiles,
            side=work.side,
            halo=work.halo,
        )
        project = ProjectTiles(plan)
        return Rates(
            survey=_clock(lambda: SurveyTiles(cube)(tiles, ones), rounds) / pixels,
            moments=_clock(lambda: measured(tiles, ones), rounds) / pixels,
            project=_clock(lambda: project(tiles[:1], ones), rounds) / plan.edge**2,
            train=_by_stage(work.stages, lambda k, side: sample(k, side, True)),
            score=_by_stage(work.stages, lambda k, side: sample(k, side, False)),
            pixel=pixel(work.stages[-1].components, work.stages[-1].patch_size),
        )


def _by_stage(
    stages: Sequence[PlannedStage], sample: Callable[[int, int], float]
) -> tuple[float, ...]:
    return tuple(sample(stage.components, stage.patch_size) for stage in stages)


def _clock(work: Callable[[], object], rounds: int) -> float:
    spent = []
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        spent.append(time.perf_counter() - begun)
    return float(np.median(spent))
