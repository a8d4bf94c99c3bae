"""`st-ray search` on the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from st_ray.options import Assignments, Config, Verbose, option, settle_spec


def search(
    scene: Annotated[
        str | None,
        typer.Argument(
            help="A registered scene (see `st-ray scenes`) or the path of a cube.",
            show_default="indian_pines",
        ),
    ] = None,
    labels: Annotated[str | None, option("Label raster of class ids.", "the scene's own")] = None,
    backbone: Annotated[
        str | None, option("A backbone (see `st-ray backbones`).", "resnet2d")
    ] = None,
    split: Annotated[
        str | None,
        option("random, disjoint, scenes, or a mask file.", "what `st-ray train` would take"),
    ] = None,
    goal: Annotated[
        str,
        typer.Option(
            help="accuracy (the best within --budget), cost (the cheapest at --floor) or front."
        ),
    ] = "accuracy",
    method: Annotated[
        str, typer.Option(help="tpe, random, grid, nsga2, forward or backward.")
    ] = "tpe",
    budget: Annotated[
        float | None,
        option("Most that a schedule may cost, times the cost of default.", "1 for accuracy"),
    ] = None,
    floor: Annotated[
        float | None, option("Least validation score, 0 to 1, of --goal cost.", "that of default")
    ] = None,
    score: Annotated[str, typer.Option(help="Validation score: oa, aa or kappa.")] = "oa",
    trials: Annotated[int, typer.Option(help="Draws of tpe, random, grid and nsga2 at most.")] = 24,
    concurrency: Annotated[
        int | None, option("Trials at a time.", "as many as the cores allow")
    ] = None,
    max_hours: Annotated[
        float | None,
        option("Begin no trial after that; repeat the command to go on.", "no limit"),
    ] = None,
    early: Annotated[
        bool, typer.Option("--early", help="Stop trials that fall behind at equal compute (ASHA).")
    ] = False,
    share: Annotated[
        bool, typer.Option("--share/--no-share", help="Train equal beginnings once.")
    ] = True,
    stages: Annotated[int, typer.Option(help="Stages at most; steps of forward.")] = 3,
    components: Annotated[
        str | None, option("Ladder of components, with commas.", "10 to 90 in six steps")
    ] = None,
    patches: Annotated[
        str | None, option("Ladder of patch sides, odd, with commas.", "up to --set patch_size")
    ] = None,
    whitenings: Annotated[
        str | None, option("Ladder of whitening exponents, with commas.", "0,0.25,0.5")
    ] = None,
    finalists: Annotated[
        int, typer.Option(help="Best schedules that are trained again before one is chosen.")
    ] = 3,
    repeats: Annotated[int, typer.Option(help="Times that they are trained again.")] = 2,
    confirm: Annotated[
        int, typer.Option(help="Fresh seeds on which the winner meets default, on test pixels.")
    ] = 5,
    seed: Annotated[int | None, option("Of split, trials and sampler.", "0")] = None,
    workers: Annotated[
        int | None,
        option("Ray workers of a trial; 0: without Ray, one trial after another.", "1"),
    ] = None,
    device: Annotated[str | None, option("auto, cpu or cuda.", "auto")] = None,
    out: Annotated[
        str, typer.Option(help="Directory of the results, on storage that every node reaches.")
    ] = "runs/search",
    config: Config = None,
    set_: Assignments = None,
    verbose: Verbose = False,
) -> None:
    """Search for a schedule. The best for a budget, the cheapest at an accuracy, or the front."""
    from rich.console import Console

    from st_ray.search.run import run_search
    from st_ray.search.spec import SearchSpec

    given = {
        "scene.name": scene,
        "scene.labels": labels,
        "split.kind": split,
        "backbone": backbone,
        "seed": seed,
        "cluster.workers": workers,
        "cluster.device": device,
    }
    spec = SearchSpec(
        base=settle_spec(given, config, set_),
        goal=goal,
        method=method,
        budget=budget,
        floor=floor,
        score=score,
        trials=trials,
        concurrency=concurrency,
        early=early,
        share=share,
        components=_whole(components, "--components"),
        patch_sizes=_whole(patches, "--patches"),
        whitenings=_numbers(whitenings, "--whitenings"),
        stages=stages,
        finalists=finalists,
        repeats=repeats,
        confirm=confirm,
        max_hours=max_hours,
        out=out,
    )
    sys.path.insert(0, str(Path.cwd()))  # so that package.module:function finds the user's own
    console = Console(soft_wrap=True, markup=False)
    try:
        table = run_search(
            spec, say=lambda text: console.print(text, highlight=False), verbose=verbose
        )
    except KeyboardInterrupt:
        console.print(f"Finished trials are kept in {out}; repeat the command to go on.")
        raise
    from st_ray.search.words import ending

    console.print(ending(table), highlight=False)


def _numbers(text: str | None, name: str) -> tuple[float, ...]:
    from st_ray.errors import SpecError

    if text is None:
        return ()
    try:
        return tuple(sorted({float(part) for part in text.split(",")}))
    except ValueError:
        raise SpecError(f"{name} {text!r}: expected numbers with commas") from None


def _whole(text: str | None, name: str) -> tuple[int, ...]:
    from st_ray.errors import SpecError

    values = _numbers(text, name)
    if any(value != int(value) for value in values):
        raise SpecError(f"{name} {text!r}: expected whole numbers with commas")
    return tuple(int(value) for value in values)
