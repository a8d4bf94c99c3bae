"""The command that looks ahead: what a run would take."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from st_ray.lists import screen, table
from st_ray.options import Assignments, Config, option, settle_spec

_GB = 1e9


def plan(
    scene: Annotated[
        str | None,
        typer.Argument(
            help="A scene to count pixels, bands, classes and labels of; options given here win.",
            show_default="none",
        ),
    ] = None,
    labels: Annotated[str | None, option("Its label raster.", "the scene's own")] = None,
    pixels: Annotated[float | None, option("Pixels of all scenes.", "the scene's")] = None,
    bands: Annotated[int | None, option("Bands of a pixel.", "the scene's")] = None,
    classes: Annotated[int | None, option("Classes.", "the scene's, or 10")] = None,
    labelled: Annotated[
        float | None, option("Pixels with a label.", "the scene's, or 1% of the pixels")
    ] = None,
    nodes: Annotated[int, typer.Option(help="Machines.")] = 1,
    cores: Annotated[int | None, option("CPU cores of each.", "this machine's")] = None,
    memory: Annotated[float | None, option("Of each, GB.", "this machine's")] = None,
    store: Annotated[
        float | None, option("Ray's object store on each, GB.", "30% of the memory")
    ] = None,
    network: Annotated[float, typer.Option(help="Between two machines, GB a second.")] = 1.25,
    collective: Annotated[
        float, typer.Option(help="An exchange of a few bytes between all workers, milliseconds.")
    ] = 2.0,
    disk: Annotated[float | None, option("Reading on each, GB a second.", "never waits")] = None,
    workers: Annotated[int, typer.Option(help="Training workers of all machines.")] = 1,
    faster: Annotated[
        float,
        typer.Option(help="How many times faster a worker (a GPU) trains than a core here."),
    ] = 1.0,
    gpu: Annotated[float | None, option("Memory of a worker's GPU, GB.", "not looked at")] = None,
    backbone: Annotated[str | None, option("A backbone.", "resnet2d")] = None,
    curriculum: Annotated[str | None, option("A curriculum.", "default")] = None,
    epochs: Annotated[int | None, option("T0, epochs.", "the backbone's own")] = None,
    beta: Annotated[float | None, option("Share of T0.", "the curriculum's own")] = None,
    config: Config = None,
    set_: Assignments = None,
    out: Annotated[Path | None, option("Where to write the figures, JSON.", "nowhere")] = None,
) -> None:
    """Forecast time, memory, object store and network of a run. It measures for some seconds."""
    from st_ray.planning import UNITS, count_scene, machines_like, plan_run
    from st_ray.report.report import write_json
    from st_ray.spectral.scene import SceneSpec

    given = {
        "scene.name": scene,
        "scene.labels": labels,
        "backbone": backbone,
        "curriculum": curriculum,
        "epochs": epochs,
        "beta": beta,
    }
    spec = settle_spec(given, config, set_)
    sys.path.insert(0, str(Path.cwd()))  # so that package.module:function finds the user's own
    amounts = count_scene(
        spec if scene is not None or spec.scene != SceneSpec() else None,
        pixels=pixels,
        bands=bands,
        classes=classes,
        labelled=labelled,
    )
    there: dict[str, Any] = {
        "nodes": nodes,
        "cores": cores,
        "memory": memory,
        "store": store,
        "network": network,
        "collective": collective,
        "disk": disk,
        "workers": workers,
        "faster": faster,
        "gpu": gpu,
    }
    machines = machines_like(
        **{name: value and value * UNITS.get(name, 1) for name, value in there.items()}
    )
    told = plan_run(spec, amounts, machines)
    _show(told)
    if out is not None:
        write_json(told, out)


def _show(told: Mapping[str, Any]) -> None:
    work, forecast = told["work"], told["forecast"]
    console = screen()
    console.print(
        f"{work['pixels']:.3g} pixels of {work['bands']} bands, {work['samples']:.3g} training "
        f"pixels in {work['tiles']:.3g} tiles; {work['parameters']:,} weights; {told['described']}",
        highlight=False,
    )
    table(
        ("phase", "time"),
        [
            *((name, _time(seconds)) for name, seconds in forecast["seconds"].items()),
            ("total", _time(forecast["total_seconds"])),
        ],
    )
    sizes = {
        "driver's memory": forecast["driver_memory"],
        **{f"a node's memory, {name}": size for name, size in forecast["node_memory"].items()},
        **{f"a node's object store, {name}": n for name, n in forecast["node_store"].items()},
        **{f"network, {name}": size for name, size in forecast["network"].items()},
    }
    how = {"replicate": "every worker holds all tiles", "shard": "each worker holds its own tiles"}
    console.print(how[forecast["placement"]], highlight=False)
    table(("size", "GB"), [(name, f"{size / _GB:.3g}") for name, size in sizes.items()])
    for line in forecast["breaks"] or (f"everything fits; closest is {forecast['closest']}",):
        console.print(line, highlight=False)


def _time(seconds: float) -> str:
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2.0 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"
