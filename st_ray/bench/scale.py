"""`st-ray bench scale`: time and memory of whole runs against the size of the scene.

Each run measures all pixels (bands and moments), projects the tiles that hold labels, and trains
a few epochs; only the first two grow with the scene, for about as many pixels are labelled in
each. Scenes are synthetic, one after another, and removed when measured. Each is read from the
disk, not from what writing it left in memory; the one nearest 2 GB again from there, which is what
a second run on it finds. Beside every run stands what `st-ray plan` would have said of it.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from st_ray.bench.children import watch_run
from st_ray.config import ClusterSpec, RunSpec
from st_ray.engine import usable_cores
from st_ray.errors import SpecError, writing
from st_ray.forecast import forecast
from st_ray.planning import Amounts, count_scene, machines_like, measure_rates, workload
from st_ray.spectral.basis import BasisSpec
from st_ray.spectral.scene import SceneSpec
from st_ray.spectral.split import SplitSpec
from st_ray.spectral.synthetic import NODATA, SyntheticSpec, write_synthetic

_GB = 1e9
_LABELLED = 5_000  # pixels of every scene, about
_LEAST_SIDE = 100  # pixels of a scene
_MARGIN = 2 * _GB  # of the disk, left free
_CACHED = 0.25  # of the memory: a scene that is as large is not expected to stay there
_LONGEST_RUN_S = 7200.0


def bench_scale(
    *,
    gigabytes: Sequence[float],
    bands: int,
    workers: int,
    threads: int,
    folder: Path,
    seed: int,
    say: Callable[[str], None],
    keep: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Run on scenes of several sizes.

    Args:
        gigabytes: Sizes of the cubes on disk, 10⁹ bytes each, two bytes a value.
        bands: Of every scene.
        workers: Ray workers; 0: this machine's process alone.
        threads: CPU threads of a worker.
        folder: On a disk with room for the largest.
        seed: Of the scenes.
        say: Told of every run.
        keep: Given after every scene what there would be to return.

    Returns:
        One row a scene, and how far throughput and memory hold, as in the written JSON.

    Raises:
        SpecError: The disk has no room for the largest scene.
        TrainingError: A run failed.
    """
    check_room(gigabytes, bands, folder)
    table: dict[str, Any] = {}
    rows, sides = [], [side_of(size, bands) for size in sorted(gigabytes)]
    near = nearest([_size(side, bands) for side in sides])
    for side in sides:
        labelled = min(0.5, _LABELLED / side**2)
        scene = SyntheticSpec(height=side, width=side, bands=bands, labelled=labelled, seed=seed)
        with writing(folder), tempfile.TemporaryDirectory(prefix="scene-", dir=folder) as place:
            cube, labels = write_synthetic(scene, Path(place), threads=max(1, threads))
            spec = _spec(cube, labels, workers, threads)
            amounts = count_scene(spec)
            expected = _forecast(spec, amounts, threads)
            forget_file(cube)
            row = {
                "pixels": side * side,
                "gigabytes": _size(side, bands),
                "labelled": int(amounts.labelled),
                **_measure(spec, side * side),
                "forecast": expected,
            }
            if (
                row["gigabytes"] == near
                and cube.stat().st_size < _CACHED * psutil.virtual_memory().total
            ):
                again = _measure(spec, side * side)
                row["again"] = {name: again[name] for name in ("seconds", "pixels_per_second")}
            rows.append(row)
        settings = {"bands": bands, "workers": workers, "threads": threads, "seed": seed}
        table = {"rows": rows, **settings, **ratios(rows)}
        keep(table)  # a later failure loses nothing
        say(
            f"{row['gigabytes']:.3g} GB, {row['pixels']:,} pixels: {row['seconds']:.1f} s, "
            f"{row['peak_rss_gigabytes']:.2f} GB of memory"
        )
    return table


def check_room(gigabytes: Sequence[float], bands: int, folder: Path) -> None:
    """Make the folder of the scenes, and see that each of them fits there and is not too small.

    Raises:
        OutputError: The folder cannot be made.
        SpecError: A scene has too few pixels, or does not fit.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    least = 2 * bands * _LEAST_SIDE**2 / _GB
    if min(gigabytes) < least:
        raise SpecError(f"--gigabytes {min(gigabytes):g}: expected at least {least:.2g}")
    room = shutil.disk_usage(folder).free - _MARGIN
    if max(gigabytes) * _GB > room:
        raise SpecError(
            f"--gigabytes {max(gigabytes):g}: {folder} has room for {room / _GB:.1f} GB; use "
            "another --folder or a smaller scene"
        )


def nearest(gigabytes: Sequence[float]) -> float:
    """The size that others are compared with: nearest 2 GB."""
    return min(gigabytes, key=lambda size: abs(math.log(size / 2.0)))


def forget_file(path: Path) -> None:
    """Have the system drop what it holds of a file in memory, where that can be asked for."""
    if hasattr(os, "posix_fadvise"):
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)  # what is not written yet would stay
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(file)


def side_of(gigabytes: float, bands: int) -> int:
    """Pixels on a side of a square scene of so many bands of two bytes."""
    return math.isqrt(int(gigabytes * _GB / (2 * bands)))


def _size(side: int, bands: int) -> float:
    """Gigabytes of a square scene of two bytes a value."""
    return side * side * bands * 2 / _GB


def _spec(cube: Path, labels: Path, workers: int, threads: int) -> RunSpec:
    return RunSpec(
        scene=SceneSpec(name=str(cube), labels=str(labels), nodata=NODATA),
        split=SplitSpec(train_fraction=0.2, validation_fraction=0.02),
        basis=BasisSpec(pixels="all", precision="fast"),
        backbone="resnet2d",
        epochs=5,
        beta=1.0,
        cluster=ClusterSpec(workers=workers, threads=threads, device="cpu"),
        map=False,
    )


def _measure(spec: RunSpec, pixels: int) -> dict[str, Any]:
    run = watch_run(spec, _LONGEST_RUN_S)
    at = run.times()
    seconds = {
        "start": at["statistics"] - run.asked,
        "statistics": at["ingest"] - at["statistics"],
        "ingest": at["train"] - at["ingest"],
        "train and report": at["ended"] - at["train"],
    }
    return {
        "seconds": at["ended"] - run.asked,
        "peak_rss_gigabytes": run.peak_bytes / _GB,
        "parts": seconds,
        "pixels_per_second": pixels / (seconds["statistics"] + seconds["ingest"]),
    }


def _forecast(spec: RunSpec, amounts: Amounts, threads: int) -> dict[str, float]:
    """Seconds by part, from rates measured just before the run, and what the driver would hold."""
    work, recipe = workload(spec, amounts)
    rates = measure_rates(spec, work, recipe, amounts.classes, threads=threads)
    workers = spec.cluster.workers or 0
    machines = machines_like(
        nodes=1, cores=len(usable_cores()) if workers else 1, workers=max(1, workers)
    )
    told = forecast(work, machines, rates)
    seconds = told.seconds
    return {
        "statistics": seconds["survey"] + seconds["moments"],
        "ingest": seconds["ingest"],
        "train and report": seconds["training"] + seconds["scoring"] + seconds["collectives"],
        "driver_gigabytes": told.driver_memory / _GB,
    }


def ratios(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """What the largest scene's throughput is to that of the one nearest 2 GB.

    Throughput is that of statistics and ingest: training has about as many samples in each. The
    reference is read from the disk; beside it, the ratio to what it was when read from memory.
    """
    near = nearest([row["gigabytes"] for row in rows])
    reference = next(row for row in rows if row["gigabytes"] == near)
    again = reference.get("again", {}).get("pixels_per_second", math.nan)
    return {
        "throughput_ratio": rows[-1]["pixels_per_second"] / reference["pixels_per_second"],
        "throughput_ratio_to_memory": rows[-1]["pixels_per_second"] / again,
        "reference_gigabytes": reference["gigabytes"],
        "memory_growth_gigabytes": (rows[-1]["peak_rss_gigabytes"] - rows[0]["peak_rss_gigabytes"]),
    }
