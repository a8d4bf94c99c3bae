"""The `st-ray` command: parse, call, print."""

from __future__ import annotations

import os
import shlex
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from st_ray.ahead import plan
from st_ray.bench.command import bench
from st_ray.doctor.command import audit, inspect, split
from st_ray.errors import StRayError
from st_ray.inference.command import predict
from st_ray.inference.export import export
from st_ray.lists import backbones, curricula, scenes, screen
from st_ray.options import Assignments, Config, Verbose, help_alone, option, settle_spec
from st_ray.search.command import search

if TYPE_CHECKING:
    from st_ray.config import RunSpec

_plain_app = partial(
    typer.Typer,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,  # rich's boxes would take a third of the time that --help needs
)
app = _plain_app(
    help="Train hyperspectral image classifiers as a curriculum under a compute budget.",
    invoke_without_command=True,
)
app.add_typer(bench, name="bench")


def main() -> None:
    """Entry point: bad input ends in one line on standard error and exit code 2."""
    run_app(app)


def run_command(command: Callable[..., None]) -> None:
    """Run a script that takes the options of one command."""
    single = _plain_app()
    single.command()(command)
    run_app(single)


def run_app(command: typer.Typer) -> None:
    """Run a command line; what the user can mend is one line, anything else a traceback."""
    try:
        code = command(standalone_mode=False)  # else Typer draws boxes and is silent on Ctrl-C
        if code == _INTERRUPTED:
            raise _StopError("interrupted")
    except (StRayError, _CLICK_ERROR) as error:
        if os.environ.get("ST_RAY_TRACEBACK"):
            traceback.print_exc()
        print(f"st-ray: {' '.join(_message(error).split())}", file=sys.stderr)
        code = _INTERRUPTED if isinstance(error, _StopError) else 2
    sys.exit(code)


class _StopError(StRayError):
    """Ctrl-C."""


_INTERRUPTED = 130
# Some versions of Typer bring a copy of click along, others import it.
_CLICK_ERROR: Any = next(k for k in typer.BadParameter.__mro__ if k.__name__ == "ClickException")


def _message(error: Any) -> str:
    if isinstance(error, StRayError):
        return str(error)
    text, context = error.format_message().rstrip("."), getattr(error, "ctx", None)
    where = context.command_path if context else "st-ray"
    return f"{text[:1].lower()}{text[1:]} (see {where} --help)"


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"st-ray {version('st_ray')}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    del show_version  # its callback has acted
    help_alone(context)


@app.command()
def train(
    scene: Annotated[
        str | None,
        typer.Argument(
            help="A registered scene (see `st-ray scenes`) or the path of a cube: .mat, .npy, "
            ".npz, ENVI, GeoTIFF or another GDAL raster, HDF5, NetCDF, Zarr; or several: a pattern "
            "with *, a manifest (.csv, .toml), an array of patches x rows x columns x bands.",
            show_default="indian_pines",
        ),
    ] = None,
    labels: Annotated[
        str | None,
        option(
            "Class ids, 0 = unlabelled: a raster (.mat, .npy, .tif, .png, ENVI), on other pixels "
            "too if it has coordinates, or polygons or points (.gpkg, .geojson, .shp, .fgb); of "
            "patches in one array also one each.",
            "the scene's own",
        ),
    ] = None,
    backbone: Annotated[
        str | None,
        option("A backbone (see `st-ray backbones`) or package.module:function.", "resnet2d"),
    ] = None,
    curriculum: Annotated[
        str | None, option("A curriculum (see `st-ray curricula`) or a .toml file.", "default")
    ] = None,
    split: Annotated[
        str | None,
        option(
            "random (stratified), disjoint (spatial blocks with a guard band), scenes (of several, "
            "each wholly in one part), dase or spectralformer (published masks), a mask file of "
            "training pixels, or a split's .json.",
            "scenes where they have one label each or a manifest says their parts, else random",
        ),
    ] = None,
    train_fraction: Annotated[
        float | None,
        option("Share of labelled pixels, or scenes, to train on, 0 to 1.", "0.1"),
    ] = None,
    patch_size: Annotated[
        int | None, option("Full neighbourhood B, pixels on a side, odd.", "11")
    ] = None,
    basis_pixels: Annotated[
        str | None,
        option("Pixels the spectral basis is fitted on: train, or all of the scene's.", "train"),
    ] = None,
    epochs: Annotated[
        int | None, option("T0, the epochs of a full run.", "the backbone's own")
    ] = None,
    beta: Annotated[
        float | None, option("Share of T0 to train, in (0, 1].", "the curriculum's own")
    ] = None,
    lr: Annotated[float | None, option("Peak learning rate.", "the backbone's own")] = None,
    batch_size: Annotated[
        int | None, option("Global batch over all workers, samples.", "the backbone's own")
    ] = None,
    seed: Annotated[
        int | None, option("Of split, initialisation, shuffles and dropout; 0 or more.", "0")
    ] = None,
    workers: Annotated[
        int | None,
        option(
            "Ray Train workers (processes); 0 trains in this process without Ray.",
            "one per GPU, or 2",
        ),
    ] = None,
    device: Annotated[str | None, option("auto, cpu or cuda.", "auto")] = None,
    out: Annotated[
        str | None,
        option(
            "Output directory: a path, or a URI (s3://, gs://) for nodes that share no storage.",
            "a new one under runs/",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    config: Config = None,
    set_: Assignments = None,
    verbose: Verbose = False,
) -> None:
    """Train a classifier; write scores, map, report and model."""
    given = {
        "scene.name": scene,
        "scene.labels": labels,
        "split.kind": split,
        "split.train_fraction": train_fraction,
        "basis.pixels": basis_pixels,
        "backbone": backbone,
        "curriculum": curriculum,
        "patch_size": patch_size,
        "epochs": epochs,
        "beta": beta,
        "train.learning_rate": lr,
        "train.batch_size": batch_size,
        "seed": seed,
        "cluster.workers": workers,
        "cluster.device": device,
        "out": out,
    }
    from st_ray.config import RUN_FILE
    from st_ray.storage import exists, join

    if config is None and resume and out and exists(join(out, RUN_FILE)):
        config = join(out, RUN_FILE)
    spec = settle_spec(given, config, set_)
    _train(spec, resume=resume, verbose=verbose)


def _train(spec: RunSpec, *, resume: bool, verbose: bool) -> None:
    from st_ray.config import RUN_FILE
    from st_ray.events import Progress
    from st_ray.output import default_out
    from st_ray.pipeline import run_curriculum
    from st_ray.report import print_summary
    from st_ray.storage import exists, join

    sys.path.insert(0, str(Path.cwd()))  # so that package.module:function finds the user's own
    console = screen()
    if spec.out is None and not resume:
        spec = replace(spec, out=default_out(spec))
    out = str(spec.out)
    try:
        report = run_curriculum(spec, resume=resume, verbose=verbose, listen=Progress(console))
    except KeyboardInterrupt:
        begun = exists(join(out, RUN_FILE))
        on = f"; go on with --resume --out {shlex.quote(out)}"
        raise _StopError(f"interrupted{on if begun else ' before training began'}") from None
    print_summary(report, console, out=out)


@app.command()
def prepare(
    scene: Annotated[
        str | None,
        typer.Argument(
            help="A registered scene (see `st-ray scenes`) or the path of a cube.",
            show_default="indian_pines",
        ),
    ] = None,
    out: Annotated[
        str, option("Folder or URI (s3://, gs://) of the patches.", "patches")
    ] = "patches",
    labels: Annotated[str | None, option("Label raster of class ids.", "the scene's own")] = None,
    workers: Annotated[int | None, option("0: in this process, without Ray.", "on Ray")] = None,
    config: Config = None,
    set_: Assignments = None,
    verbose: Verbose = False,
) -> None:
    """Write the patches of all labelled pixels as Parquet files. Train with `--set patches=…`."""
    from st_ray.events import Progress
    from st_ray.keep import keep_patches
    from st_ray.storage import settle

    given = {"scene.name": scene, "scene.labels": labels, "cluster.workers": workers}
    spec, console = settle_spec(given, config, set_), screen()
    folder = settle(out)
    sys.path.insert(0, str(Path.cwd()))  # so that package.module:function finds the user's own
    card = keep_patches(spec, folder, listen=Progress(console), verbose=verbose)
    columns = ", ".join(f"{first + 1} to {last}" for first, last in card.groups)
    console.print(
        f"{card.rows} patches of {card.patch_size}x{card.patch_size} pixels, components {columns}: "
        f"{folder}\nTrain on them with the same settings and --set patches={folder}",
        highlight=False,
        soft_wrap=True,
    )


for command in (
    *(predict, export, inspect, audit, split, search, plan),
    *(scenes, backbones, curricula),
):
    app.command()(command)


if __name__ == "__main__":
    main()
