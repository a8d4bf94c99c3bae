"""`st-ray bench pca` and its neighbours: what the data plane costs, as ratios within one run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from errno import EISDIR
from pathlib import Path
from typing import Annotated, Any

import typer

from st_ray.options import Assignments, refuse, settle_spec, within


def pca(
    pixels: Annotated[
        int, typer.Option(help="Spectra; each takes 20 bytes a band of memory.")
    ] = 2_000_000,
    bands: Annotated[int, typer.Option(help="Values of a spectrum.")] = 200,
    rank: Annotated[int, typer.Option(help="Components.")] = 60,
    threads: Annotated[int, typer.Option(help="CPU threads of every rival; 0: all.")] = 0,
    rounds: Annotated[int, typer.Option(help="Times that all are measured, in turn.")] = 3,
    seed: Annotated[int, typer.Option(help="Of the spectra.")] = 0,
    out: Annotated[str, typer.Option(help="Where the figures go, JSON.")] = "runs/bench/pca.json",
) -> None:
    """Statistics and components against scikit-learn's. Time and precision of both."""
    from st_ray.bench.pca import bench_pca
    from st_ray.engine import free_memory, usable_cores
    from st_ray.errors import SpecError

    within("--bands", bands, 2)
    within("--rank", rank, 1, bands)
    within("--pixels", pixels, 2 * bands)
    within("--threads", threads, 0)
    within("--rounds", rounds, 1)
    within("--seed", seed, 0)
    need, free = 20.0 * pixels * bands, free_memory()
    if need > free:
        raise SpecError(
            f"--pixels {pixels} of {bands} bands take {need / 1e9:.1f} GB of memory and "
            f"{free / 1e9:.1f} GB are free; use fewer"
        )
    _ready(out)
    table = bench_pca(
        pixels=pixels,
        bands=bands,
        rank=rank,
        threads=threads or len(usable_cores()),
        rounds=rounds,
        seed=seed,
        say=_say,
    )
    _write(table, out)


def patches(
    scene: Annotated[
        str, typer.Option(help="A registered scene or the path of a cube.")
    ] = "indian_pines",
    labels: Annotated[
        str | None, typer.Option(help="Its label raster, where it is not registered.")
    ] = None,
    components: Annotated[int, typer.Option(help="Of a patch.")] = 60,
    patch_size: Annotated[int, typer.Option(help="Pixels on a side, odd.")] = 11,
    batch_size: Annotated[int, typer.Option(help="Patches of a batch.")] = 64,
    threads: Annotated[int, typer.Option(help="CPU threads of this process; 0: all.")] = 0,
    rounds: Annotated[int, typer.Option(help="Times that all are measured, in turn.")] = 3,
    out: Annotated[
        str, typer.Option(help="Where the figures go, JSON.")
    ] = "runs/bench/patches.json",
) -> None:
    """Gathering patches against a DataLoader and against memcpy."""
    from st_ray.bench.patches import bench_patches
    from st_ray.engine import usable_cores
    from st_ray.spectral.scene import SceneSpec

    within("--components", components, 1)
    within("--batch-size", batch_size, 1)
    within("--threads", threads, 0)
    within("--rounds", rounds, 1)
    _ready(out)
    table = bench_patches(
        scene=SceneSpec(name=scene, labels=labels),
        components=components,
        patch_size=patch_size,
        batch_size=batch_size,
        threads=threads or len(usable_cores()),
        rounds=rounds,
        say=_say,
    )
    _write(table, out)


def tax(
    scene: Annotated[
        str, typer.Option(help="A registered scene or the path of a cube.")
    ] = "indian_pines",
    labels: Annotated[
        str | None, typer.Option(help="Its label raster, where it is not registered.")
    ] = None,
    backbone: Annotated[str, typer.Option(help="A registered backbone.")] = "resnet2d",
    epochs: Annotated[
        int | None, typer.Option(help="T0, epochs; the backbone's own if left out.")
    ] = None,
    rounds: Annotated[int, typer.Option(help="Times that all are run, in turn.")] = 3,
    out: Annotated[str, typer.Option(help="Where the figures go, JSON.")] = "runs/bench/tax.json",
    set_: Assignments = None,
) -> None:
    """What Ray costs: no worker, one, and two of a thread each."""
    from st_ray.bench.tax import bench_tax
    from st_ray.config import anchor
    from st_ray.recipe import fill_in, settle_recipe

    within("--rounds", rounds, 1)
    decided = ("cluster.workers", "cluster.least_workers", "cluster.threads", "map", "out")
    refuse(set_ or (), dict.fromkeys(decided, "its help"))
    _ready(out)
    given = {"scene.name": scene, "scene.labels": labels, "backbone": backbone, "epochs": epochs}
    spec = settle_spec(given, None, set_)
    settle_recipe(spec, None, None, None)  # an unknown backbone is told before anything runs
    _write(bench_tax(fill_in(anchor(spec)), rounds=rounds, say=_say), out)


def scale(
    gigabytes: Annotated[
        str, typer.Option(help="Sizes of the scenes on disk, with commas.")
    ] = "0.04,0.4,2,4,40",
    bands: Annotated[int, typer.Option(help="Values of a pixel, two bytes each.")] = 200,
    workers: Annotated[int, typer.Option(help="Ray workers; 0: without Ray.")] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads of a worker; 0: all.")] = 0,
    folder: Annotated[
        str, typer.Option(help="Where the scenes are made, and removed again.")
    ] = "runs/bench/scenes",
    seed: Annotated[int, typer.Option(help="Of the scenes.")] = 0,
    out: Annotated[str, typer.Option(help="Where the figures go, JSON; a PNG beside it.")] = (
        "runs/bench/scale.json"
    ),
) -> None:
    """Time and memory of a run against the size of its scene."""
    from st_ray.bench.plots import save_scale
    from st_ray.bench.scale import bench_scale
    from st_ray.engine import usable_cores

    within("--bands", bands, 2)
    within("--workers", workers, 0)
    within("--threads", threads, 0)
    within("--seed", seed, 0)
    _ready(out)
    table = bench_scale(
        gigabytes=_numbers("--gigabytes", gigabytes),
        bands=bands,
        workers=workers,
        threads=threads or len(usable_cores()),
        folder=Path(folder),
        seed=seed,
        say=_say,
        keep=lambda table: _keep(table, out, save_scale),
    )
    _tell(table, out, ", and a picture beside them")


def inference(
    gigabytes: Annotated[float, typer.Option(help="Size of the scene on disk.")] = 0.1,
    bands: Annotated[int, typer.Option(help="Values of a pixel, two bytes each.")] = 200,
    backbone: Annotated[str, typer.Option(help="A registered backbone, which maps it.")] = "ssftt",
    components: Annotated[int, typer.Option(help="Of a patch.")] = 60,
    patch_size: Annotated[int, typer.Option(help="Pixels on a side, odd.")] = 11,
    workers: Annotated[int, typer.Option(help="Ray workers; 0: without Ray.")] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads of a worker; 0: all.")] = 0,
    rounds: Annotated[int, typer.Option(help="Times that all are measured, in turn.")] = 3,
    folder: Annotated[
        str, typer.Option(help="Where the scene is made, and removed again.")
    ] = "runs/bench/scenes",
    seed: Annotated[int, typer.Option(help="Of the scene and the network's weights.")] = 0,
    out: Annotated[str, typer.Option(help="Where the figures go, JSON.")] = (
        "runs/bench/inference.json"
    ),
) -> None:
    """A scene's map: memory, rate, and what dense evaluation saves."""
    from st_ray.bench.inference import bench_inference
    from st_ray.bench.made import InferenceSpec, make_network
    from st_ray.engine import usable_cores

    within("--bands", bands, 2)
    within("--components", components, 1, bands)
    within("--workers", workers, 0)
    within("--threads", threads, 0)
    within("--rounds", rounds, 1)
    within("--seed", seed, 0)
    _numbers("--gigabytes", str(gigabytes))
    spec = InferenceSpec(
        gigabytes=gigabytes,
        bands=bands,
        backbone=backbone,
        components=components,
        patch_size=patch_size,
        workers=workers,
        threads=threads or len(usable_cores()),
        rounds=rounds,
        seed=seed,
    )
    make_network(backbone, spec)  # an unknown one is told before anything runs
    _ready(out)
    _write(bench_inference(spec, folder=Path(folder), say=_say), out)


def _numbers(option: str, text: str) -> list[float]:
    """Positive numbers with commas.

    Raises:
        SpecError: It is something else.
    """
    from st_ray.errors import SpecError

    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(0.0 < number < float("inf") for number in numbers):
        raise SpecError(f"{option} {text!r}: expected positive numbers with commas, such as 1,10")
    return numbers


def _say(text: str) -> None:
    from rich.console import Console

    Console(soft_wrap=True, markup=False).print(text, highlight=False)


def _ready(out: str) -> None:
    """See that the figures can be written, before hours of work.

    Raises:
        OutputError: They cannot.
    """
    from st_ray.errors import writing
    from st_ray.storage import is_uri, make, parent

    if is_uri(out):
        make(parent(out))
        return
    path = Path(out)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
        if path.is_dir():
            raise IsADirectoryError(EISDIR, "it is a directory")


def _write(table: Mapping[str, Any], out: str) -> None:
    """Write the figures, and tell those that are single numbers.

    Raises:
        OutputError: They cannot be written.
    """
    _keep(table, out)
    _tell(table, out)


def _keep(
    table: Mapping[str, Any], out: str, draw: Callable[[Any, Path], None] | None = None
) -> None:
    from st_ray.report.report import write_json
    from st_ray.storage import filling

    with filling(out) as path:
        write_json(table, path)
        if draw:
            draw(table["rows"], path.with_suffix(".png"))


def _tell(table: Mapping[str, Any], out: str, beside: str = "") -> None:
    for name, value in table.items():
        if name in _HEADLINES:
            parts = value.items() if isinstance(value, Mapping) else [("", value)]
            _say(f"{name}: " + ", ".join(f"{part} {number:.3g}".strip() for part, number in parts))
    _say(f"Figures: {out}{beside}")


# What the last lines on the screen tell of a benchmark's figures.
_HEADLINES = (
    *("machinery_overhead", "machinery_overhead_dense", "dense_speedup"),
    *("megapixels_per_second", "peak_rss_gigabytes"),
    *("speedup_vs_incremental_pca", "speedup_vs_pca_float64", "variance_error", "subspace_sine"),
    *("share_of_gemm_rate", "speedup_vs_dataloader", "share_of_memcpy_rate"),
    *("store_bytes_per_labelled_pixel", "max_gather_share", "steady_state_overhead"),
    *(
        "two_worker_speedup",
        "two_process_ceiling",
        "startup_seconds",
        "help_seconds",
        "throughput_ratio",
        "throughput_ratio_to_memory",
    ),
)
