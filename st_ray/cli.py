"""The `st-ray` command: parse, call, print."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from st_ray.errors import StRayError

if TYPE_CHECKING:
    from rich.console import Console

    from st_ray.config import RunSpec

app = typer.Typer(
    help="Train hyperspectral image classifiers as a curriculum under a compute budget.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def main() -> None:
    """Entry point: bad input ends in one line on standard error and exit code 2."""
    run_app(app)


def run_app(command: typer.Typer) -> None:
    """Run a command line; what the user can mend is one line, anything else a traceback."""
    try:
        command()
    except StRayError as error:
        if os.environ.get("ST_RAY_TRACEBACK"):
            traceback.print_exc()
        print(f"st-ray: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("st-ray: interrupted; go on with --resume --out DIR", file=sys.stderr)
        sys.exit(130)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"st-ray {version('st_ray')}")
        raise typer.Exit


@app.callback()
def _root(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    pass


@app.command()
def train(
    scene: Annotated[
        str | None,
        typer.Argument(
            help="A registered scene (see `st-ray scenes`) or the path of a .mat, .npy or .npz "
            "cube (rows x columns x bands).",
            show_default="indian_pines",
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            help="Label raster of class ids (.mat, .npy, .npz, .tif, .png); 0 = unlabelled.",
            show_default="the scene's own",
        ),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            help="A backbone (see `st-ray backbones`) or package.module:function.",
            show_default="resnet2d",
        ),
    ] = None,
    curriculum: Annotated[
        str | None,
        typer.Option(
            help="A curriculum (see `st-ray curricula`) or a .toml file.", show_default="default"
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="random (stratified), disjoint (spatial blocks with a guard band), or a mask "
            "file of training pixels.",
            show_default="random",
        ),
    ] = None,
    train_fraction: Annotated[
        float | None,
        typer.Option(
            help="Share of labelled pixels to train on, 0 to 1 (random, disjoint).",
            show_default="0.1",
        ),
    ] = None,
    patch_size: Annotated[
        int | None,
        typer.Option(help="Full neighbourhood B, pixels on a side, odd.", show_default="11"),
    ] = None,
    basis_pixels: Annotated[
        str | None,
        typer.Option(
            help="Pixels the spectral basis is fitted on: train, or all of the scene's.",
            show_default="train",
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(help="T0, the epochs of a full run.", show_default="100"),
    ] = None,
    beta: Annotated[
        float | None,
        typer.Option(help="Share of T0 to train, in (0, 1].", show_default="the curriculum's own"),
    ] = None,
    lr: Annotated[
        float | None, typer.Option(help="Peak learning rate.", show_default="0.001")
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(help="Global batch over all workers, samples.", show_default="64"),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Of split, initialisation, shuffles and dropout; 0 or more.", show_default="0"
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Ray Train workers (processes); 0 trains in this process without Ray.",
            show_default="one per GPU, or 2",
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu or cuda.", show_default="auto")
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(help="Output directory.", show_default="a new one under runs/"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    config: Annotated[
        Path | None,
        typer.Option(
            help="Run file (TOML), such as a run's run.toml; options given here win.",
            show_default="none",
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Any other setting of a run file, such as split.guard=7 (pixels); repeatable.",
            show_default="none",
        ),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show Ray's own messages.")] = False,
) -> None:
    """Train a classifier; write scores, class map, report and model to the output directory."""
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
    spec = _settle(given, config, set_ or [], out if resume else None)
    _train(spec, resume=resume, verbose=verbose)


def _settle(
    given: dict[str, Any], config: Path | None, assignments: list[str], resumed: str | None
) -> RunSpec:
    """Run file (or the resumed run's own), then options, then --set; the later wins."""
    from st_ray.config import assign, load_spec, override, spec_from_table
    from st_ray.output import RUN_FILE

    if config is None and resumed is not None and (Path(resumed) / RUN_FILE).is_file():
        config = Path(resumed) / RUN_FILE
    table = load_spec(config) if config is not None else {}
    for key, value in given.items():
        if value is not None:
            assign(table, key, value)
    return spec_from_table(override(table, assignments))


def _train(spec: RunSpec, *, resume: bool, verbose: bool) -> None:
    from st_ray.events import Progress
    from st_ray.output import default_out
    from st_ray.pipeline import run_curriculum
    from st_ray.report import print_summary

    sys.path.insert(0, str(Path.cwd()))  # so that package.module:function finds the user's own
    console = _console()
    if spec.out is None and not resume:
        spec = replace(spec, out=default_out(spec))
    report = run_curriculum(spec, resume=resume, verbose=verbose, listen=Progress(console))
    print_summary(report, console, out=Path(str(spec.out)))


@app.command()
def scenes() -> None:
    """List the registered scenes."""
    from st_ray.spectral.registry import scenes as known

    rows = [
        (row.name, "x".join(map(str, row.shape)), str(row.classes), row.state, row.source)
        for row in known()
    ]
    _table(("scene", "rows x columns x bands", "classes", "here", "source"), rows)


@app.command()
def backbones() -> None:
    """List the backbones."""
    from st_ray.learn.backbones import backbones as known

    rows = [(entry.name, entry.paper, entry.growth) for entry in known().values()]
    _table(("backbone", "paper", "when components or patch grow"), rows)


@app.command()
def curricula() -> None:
    """List the curricula, settled for 200 bands and 11x11 patches."""
    from st_ray.learn.curriculum import PRESETS

    rows = []
    for name, preset in PRESETS.items():
        curriculum = preset(200, 11)
        stages = ", ".join(
            f"{stage.components or 'all'}@{stage.patch_size}x{stage.patch_size}"
            for stage in curriculum.stages
        )
        what = (preset.__doc__ or "").splitlines()[0]
        rows.append((name, f"{curriculum.beta:g}", stages, what))
    _table(("curriculum", "beta", "components@patch by stage", "what it is"), rows)


def _console() -> Console:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 100, soft_wrap=False)


def _table(titles: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    from rich.table import Table

    table = Table(*titles, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    _console().print(table)


if __name__ == "__main__":
    main()
