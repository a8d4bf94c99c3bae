"""The commands that look before one leaps: split, inspect, audit."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from st_ray.lists import screen
from st_ray.options import Assignments, Config, option, settle_spec

if TYPE_CHECKING:
    from rich.console import Console

_Scene = Annotated[
    str | None,
    typer.Argument(
        help="A registered scene (see `st-ray scenes`), the path of a cube, or several: a pattern "
        "with *, a manifest (.csv, .toml), an array of patches.",
        show_default="indian_pines",
    ),
]
_Labels = Annotated[
    str | None,
    option("Class ids, 0 = unlabelled: a raster, or polygons or points.", "the scene's own"),
]
_Fraction = Annotated[
    float | None, option("Share of labelled pixels to train on, 0 to 1 (random, disjoint).", "0.1")
]
_Patch = Annotated[int | None, option("Full neighbourhood B, pixels on a side, odd.", "11")]
_Backbone = Annotated[str | None, option("A backbone, which has its own stages.", "resnet2d")]
_Curriculum = Annotated[str | None, option("A curriculum or a .toml file.", "default")]
_Seed = Annotated[int | None, option("Of the split; 0 or more.", "0")]
# What split and inspect are told of a run, in the order in which they hand it on.
_SETTINGS = (
    "scene.name",
    "scene.labels",
    "split.kind",
    "split.train_fraction",
    "patch_size",
    "backbone",
    "curriculum",
    "seed",
)
_EVERY = 5.0  # seconds between two lines of progress


def split(
    scene: _Scene = None,
    out: Annotated[str, option("The manifest, a .json file; a path or URI.", "split.json")] = (
        "split.json"
    ),
    labels: _Labels = None,
    kind: Annotated[
        str | None,
        option(
            "random, disjoint, a published split (dase, spectralformer), or a mask file.",
            "random",
            "--split",
        ),
    ] = None,
    seed: _Seed = None,
    train_fraction: _Fraction = None,
    patch_size: _Patch = None,
    backbone: _Backbone = None,
    curriculum: _Curriculum = None,
    config: Config = None,
    set_: Assignments = None,
) -> None:
    """Make a split without training. A text file to share, for `st-ray train --split FILE`."""
    from st_ray.doctor.splitting import make_split
    from st_ray.doctor.terminal import print_split
    from st_ray.storage import filling, settle

    given = (scene, labels, kind, train_fraction, patch_size, backbone, curriculum, seed)
    spec = settle_spec(dict(zip(_SETTINGS, given, strict=True)), config, set_)
    place = settle(out)
    with filling(place) as path:
        print_split(make_split(spec, path), place, screen())


def inspect(
    scene: _Scene = None,
    labels: _Labels = None,
    kind: Annotated[
        str | None,
        option(
            "A split to look at beside random and disjoint: a file's, or dase.", "none", "--split"
        ),
    ] = None,
    seed: _Seed = None,
    train_fraction: _Fraction = None,
    patch_size: _Patch = None,
    backbone: _Backbone = None,
    curriculum: _Curriculum = None,
    forecast: Annotated[
        bool, typer.Option(help="Measure some seconds how long a run would take here.")
    ] = True,
    out: Annotated[
        str | None,
        option("Folder or URI for inspect.html, inspect.png and inspect.json.", "nowhere"),
    ] = None,
    config: Config = None,
    set_: Assignments = None,
) -> None:
    """Look over a scene before a run. Bands, labels, splits: what would make a score a lie."""
    from st_ray.doctor.inspecting import inspect_scene
    from st_ray.doctor.terminal import print_inspection
    from st_ray.doctor.write import write_inspection
    from st_ray.storage import filling, join, settle

    given = (scene, labels, kind, train_fraction, patch_size, backbone, curriculum, seed)
    spec = settle_spec(dict(zip(_SETTINGS, given, strict=True)), config, set_)
    place = None if out is None else settle(out)
    sys.path.insert(0, str(Path.cwd()))  # so that package.module:function finds the user's own
    console = screen()
    found = inspect_scene(spec, forecast=forecast, say=_progress(console))
    print_inspection(found.table, console)
    if place is not None:
        page = join(place, "inspect.html")
        with filling(page) as path:
            write_inspection(found, path.parent)
        console.print(f"Page: {page}", highlight=False, soft_wrap=True)


def audit(
    scene: _Scene = None,
    labels: _Labels = None,
    backbone: Annotated[
        list[str] | None,
        option(
            "A backbone (see `st-ray backbones`) or package.module:function; repeatable.",
            "resnet2d",
        ),
    ] = None,
    curriculum: _Curriculum = None,
    seeds: Annotated[
        str, typer.Option(help="A number of seeds (from 0), or seeds with commas: 10,11 or 10,.")
    ] = "3",
    train_fraction: _Fraction = None,
    patch_size: _Patch = None,
    epochs: Annotated[
        int | None, option("T0, the epochs of a full run.", "the backbone's own")
    ] = None,
    workers: Annotated[
        int, typer.Option(help="Ray Train workers of each run; 0: in this process, without Ray.")
    ] = 0,
    device: Annotated[str | None, option("auto, cpu or cuda.", "auto")] = None,
    out: Annotated[
        str, typer.Option(help="Directory of the runs and of audit.html, a path or URI.")
    ] = "runs/audit",
    config: Config = None,
    set_: Assignments = None,
) -> None:
    """Train on a random and on a disjoint split. The gap is what the split, not the model, did."""
    from st_ray.bench.command import seeds_of
    from st_ray.doctor.audit import AuditSpec, run_audit
    from st_ray.doctor.terminal import print_audit
    from st_ray.doctor.write import write_audit
    from st_ray.storage import filling, join, settle

    base = settle_spec(
        {
            "scene.name": scene,
            "scene.labels": labels,
            "split.train_fraction": train_fraction,
            "curriculum": curriculum,
            "patch_size": patch_size,
            "epochs": epochs,
            "cluster.workers": workers,
            "cluster.device": device,
        },
        config,
        _undecided(set_ or []),
    )
    sys.path.insert(0, str(Path.cwd()))  # so that package.module:function finds the user's own
    console = screen()
    place = settle(out)
    spec = AuditSpec(
        base=base, backbones=tuple(backbone or ("resnet2d",)), seeds=seeds_of(seeds), out=place
    )
    try:
        table = run_audit(spec, lambda line: console.print(line, highlight=False))
    except KeyboardInterrupt:
        console.print(f"What was trained is kept in {place}; repeat the command to go on.")
        raise
    print_audit(table, console)
    page = join(place, "audit.html")
    with filling(page) as path:
        write_audit(table, path.parent)
    console.print(f"Page: {page}", highlight=False, soft_wrap=True)


# Settings that an audit decides itself, and the option that has a say in them.
_DECIDED = {"split.kind": "", "backbone": "--backbone", "seed": "--seeds", "out": "--out"}


def _undecided(assignments: list[str]) -> list[str]:
    """The assignments, none of which an audit decides.

    Raises:
        SpecError: One of them is.
    """
    from st_ray.errors import SpecError

    for assignment in assignments:
        name = assignment.partition("=")[0].strip()
        if name in _DECIDED:
            see = f"; see {_DECIDED[name]}" if _DECIDED[name] else ""
            raise SpecError(
                f"--set {name}: an audit compares a random with a disjoint split of the same "
                f"seeds and decides it itself{see}"
            )
    return assignments


def _progress(console: Console) -> Callable[[float], None]:
    """Tells how much has been read, for as long as that takes."""
    last = time.monotonic()

    def say(share: float) -> None:
        nonlocal last
        if time.monotonic() - last > _EVERY and share < 1:
            last = time.monotonic()
            console.print(f"{share:.0%} of the scene read …", highlight=False)

    return say
