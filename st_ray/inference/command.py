"""`st-ray predict` on the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from st_ray.lists import screen
from st_ray.options import Assignments, Verbose, option, settle_spec

if TYPE_CHECKING:
    from rich.console import Console

    from st_ray.config import RunSpec
    from st_ray.inference.spec import MapResult


def predict(
    model: Annotated[
        str,
        typer.Argument(help="A run's folder, its model/, or a URI of one.", show_default=False),
    ],
    scene: Annotated[
        str,
        typer.Argument(
            help="A registered scene or the path of a cube; a * stands for several.",
            show_default=False,
        ),
    ],
    out: Annotated[
        str | None,
        option(
            "The map: a path or URI ending in .tif (Cloud-Optimised GeoTIFF), .img (ENVI), .zarr, "
            ".npy or .png; a * is what the scene's stands for.",
            "map.tif, or map.png without rasterio",
        ),
    ] = None,
    probabilities: Annotated[
        bool,
        typer.Option(
            "--probabilities", help="Also write the share of every class, float32 in 0 to 1."
        ),
    ] = False,
    confidence: Annotated[
        bool, typer.Option("--confidence", help="Also write the largest of these shares.")
    ] = False,
    resample: Annotated[
        bool,
        typer.Option("--resample", help="Interpolate bands whose wavelengths are not the model's."),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a map that is there.")
    ] = False,
    backbone: Annotated[
        str | None,
        option("package.module:function of a model that is none of st_ray's, to allow it.", "none"),
    ] = None,
    workers: Annotated[
        int | None,
        option(
            "Processes on Ray, each with the model; 0 predicts in this process without Ray.",
            "one per GPU, or 2",
        ),
    ] = None,
    device: Annotated[str | None, option("auto, cpu or cuda.", "auto")] = None,
    set_: Assignments = None,
    verbose: Verbose = False,
) -> None:
    """Map a whole scene with a trained model. A killed one goes on when it is repeated."""
    from st_ray.errors import SpecError
    from st_ray.events import Progress
    from st_ray.inference.run import predict_maps
    from st_ray.inference.spec import SIDE, PredictSpec

    given = {
        "scene.name": scene,
        "scene.resample": resample or None,
        "tiles.side": SIDE,
        "cluster.workers": workers,
        "cluster.device": device,
    }
    settings = settle_spec(given, None, set_)
    unused = _unused(settings)
    if unused:
        raise SpecError(
            f"--set {unused[0]}: expected a setting of scene, tiles or cluster; a map depends on "
            "no other"
        )
    spec = PredictSpec(
        model=model,
        scene=settings.scene,
        out=out,
        probability=probabilities,
        confidence=confidence,
        overwrite=overwrite,
        backbone=backbone,
        side=settings.tiles.side,
        cluster=settings.cluster,
    )
    sys.path.insert(0, str(Path.cwd()))  # so that package.module:function finds the user's own
    console = screen()
    try:
        results = predict_maps(spec, listen=Progress(console), verbose=verbose)
    except KeyboardInterrupt:
        console.print("Tiles that are done are kept; repeat the command to go on.")
        raise
    for result in results:
        _tell(result, console)


def _unused(settings: RunSpec) -> tuple[str, ...]:
    """Settings that were given and say nothing about a map."""
    from st_ray.config import RunSpec, differences

    return differences(settings, RunSpec(scene=settings.scene, tiles=settings.tiles))


def _tell(result: MapResult, console: Console) -> None:
    for note in result.notes:
        console.print(f"Note: {note}", highlight=False, soft_wrap=True)
    console.print(
        f"{result.pixels} pixels, {result.valid_pixels} of them valid, in {result.seconds:.1f} s: "
        f"{result.megapixels_per_second:.3g} megapixels/s\nMap: {result.place}",
        highlight=False,
        soft_wrap=True,
    )
    more = [name for name in result.files if name != Path(result.place).name]
    console.print(f"Beside it: {', '.join(more)}", highlight=False, soft_wrap=True)
