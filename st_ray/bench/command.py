"""`st-ray bench`: the group of benchmarks on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from st_ray.bench.dataplane import inference, patches, pca, scale, tax
from st_ray.options import help_alone, option, refuse

if TYPE_CHECKING:
    from st_ray.config import RunSpec

bench = typer.Typer(
    help="Measure on your own scene what training costs, and is worth.",
    invoke_without_command=True,
    callback=help_alone,
    rich_markup_mode=None,
)


for command in (pca, patches, tax, scale, inference):
    bench.command()(command)


@bench.command()
def training(
    scene: Annotated[
        list[str] | None,
        option("A registered scene or the path of a cube; repeatable.", "indian_pines"),
    ] = None,
    split: Annotated[
        list[str] | None,
        option("random, disjoint, scenes, or a mask file; repeatable.", "random"),
    ] = None,
    backbone: Annotated[
        list[str] | None, option("A registered backbone, or all; repeatable.", "resnet2d")
    ] = None,
    arm: Annotated[
        list[str] | None,
        option("An arm beside full, or all; repeatable (a wrong name lists them).", "default"),
    ] = None,
    full: Annotated[
        bool,
        typer.Option(
            help="Train the baseline too. Without it arms are compared with each other, on more "
            "seeds in the same time; times to accuracy are known only where it was trained before. "
            "Its length T0, which the arms are fitted to, is searched all the same, unless "
            "--full-epochs says it."
        ),
    ] = True,
    labels: Annotated[
        str | None,
        option("Label raster of the scene, where it is not registered.", "the scene's own"),
    ] = None,
    seeds: Annotated[
        str, typer.Option(help="A number of seeds (from 0), or seeds with commas: 10,11 or 10,.")
    ] = "3",
    threads: Annotated[int, typer.Option(help="CPU threads of every run.")] = 1,
    jobs: Annotated[int, typer.Option(help="Runs at a time, each on cores of its own.")] = 1,
    full_epochs: Annotated[
        list[str] | None,
        option(
            "T0, epochs of the arm full; of one backbone alone as vit=90; repeatable.",
            "searched on validation pixels",
        ),
    ] = None,
    first: Annotated[int, typer.Option(help="Epochs that the search for T0 begins with.")] = 30,
    longest: Annotated[int, typer.Option(help="Epochs that it tries at most.")] = 270,
    lr: Annotated[
        float | None, option("Learning rate of every arm.", "searched for each arm")
    ] = None,
    tuning_seed: Annotated[int, typer.Option(help="Seed of the searches.")] = 1000,
    max_hours: Annotated[
        float | None,
        option("Begin no measurement after that; repeat the command to go on.", "no limit"),
    ] = None,
    out: Annotated[
        str, typer.Option(help="Directory of the results, a path or URI.")
    ] = "runs/bench",
    set_: Annotated[
        list[str] | None,
        option(
            "A setting of all runs, such as patch_size=9; repeatable. Arms that train plainly keep "
            "their own optimizer, schedule and class floor, without flips.",
            "none",
            "--set",
            metavar="KEY=VALUE",
        ),
    ] = None,
) -> None:
    """Train arms side by side: accuracy against seconds; resumable."""
    import sys

    from rich.console import Console

    from st_ray.bench.cells import BenchSpec
    from st_ray.bench.page import headline
    from st_ray.bench.training import run_bench
    from st_ray.learn.backbones import backbones
    from st_ray.storage import join

    length, lengths = _lengths(full_epochs or [])
    spec = BenchSpec(
        base=_base(set_ or [], labels),
        scenes=tuple(scene or ("indian_pines",)),
        splits=tuple(split or ("random",)),
        backbones=_all_or(backbone or ["resnet2d"], backbones()),
        arms=_arms(arm or ["default"], full=full),
        seeds=seeds_of(seeds),
        tuning_seed=tuning_seed,
        full_epochs=length,
        full_epochs_of=lengths,
        first=first,
        longest=longest,
        rate=lr,
        threads=threads,
        jobs=jobs,
        out=out,
        max_hours=max_hours,
    )
    sys.path.insert(0, str(Path.cwd()))  # so that package.module:function finds the user's own
    console = Console(soft_wrap=True, markup=False)
    try:
        table, done = run_bench(spec, say=lambda text: console.print(text, highlight=False))
    except KeyboardInterrupt:
        console.print(f"What was measured is kept in {out}; repeat the command to go on.")
        raise
    picture = ", bench.png" if table["backbones"] else ""
    files = f"{join(out, 'bench.html')}, bench.md, bench.json{picture}"
    console.print(f"Results: {files}", highlight=False)
    for row in table["failed"]:
        where = f"{row['scene']} {row['split']} {row['backbone']} {row['arm']} seed {row['seed']}"
        console.print(f"failed: {where}: {row['error']}", highlight=False)
    if table["backbones"]:
        console.print(headline(table), highlight=False)
    if not done:
        console.print("The time was over before all was measured; repeat the command to go on.")


# Settings that an option, the arm or the search decides, and that option.
_DECIDED = {
    "scene.name": "--scene",
    "scene.labels": "--labels",
    "split.kind": "--split",
    "split.test_path": "--split",
    "split.mask_key": "--split",
    "backbone": "--backbone",
    "curriculum": "--arm",
    "epochs": "--full-epochs",
    "beta": "--arm",
    "seed": "--seeds",
    "train.learning_rate": "--lr",
    "cluster.workers": "--jobs",
    "cluster.threads": "--threads",
    "out": "--out",
}


def _base(assignments: list[str], labels: str | None) -> RunSpec:
    """The settings that all runs share.

    Raises:
        SpecError: One of them is decided otherwise.
    """
    from st_ray.bench.cells import VALIDATION
    from st_ray.config import assign, override, spec_from_table

    refuse(assignments, _DECIDED)
    table = override({"split": {"validation_fraction": VALIDATION}}, assignments)
    if labels is not None:
        assign(table, "scene.labels", labels)
    return spec_from_table(table)


def _lengths(words: list[str]) -> tuple[int | None, dict[str, int]]:
    """T0 of all backbones, and of some, from "90" and "vit=90".

    Raises:
        SpecError: A word is neither.
    """
    from st_ray.errors import SpecError

    every, some = None, {}
    for word in words:
        name, equals, number = word.rpartition("=")
        try:
            epochs = int(number)
        except ValueError:
            epochs = None
        if epochs is None or (equals and not name):
            raise SpecError(
                f"--full-epochs {word!r}: expected epochs, or a backbone and its epochs as vit=90"
            )
        if name in some or (not name and every is not None):
            raise SpecError(f"--full-epochs {word!r}: another was given before")
        if name:
            some[name] = epochs
        else:
            every = epochs
    return every, some


def _arms(names: list[str], *, full: bool) -> tuple[str, ...]:
    """The arms asked for, and the baseline unless it is not wanted.

    Raises:
        SpecError: It is asked for and not wanted.
    """
    from st_ray.bench.arms import ARMS
    from st_ray.errors import SpecError

    if "full" in names and not full:
        raise SpecError("--arm full --no-full: expected one of the two")
    others = [name for name in _all_or(names, ARMS) if name != "full"]
    return ("full", *others) if full else tuple(others)


def _all_or(names: list[str], known: Any) -> tuple[str, ...]:
    return tuple(known) if names == ["all"] else tuple(names)


def seeds_of(text: str) -> tuple[int, ...]:
    """Seeds from "3" (0, 1, 2), "10,11,12" or "10,".

    Raises:
        SpecError: It is neither.
    """
    from st_ray.errors import SpecError

    parts = text.removesuffix(",").split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise SpecError(f"--seeds {text!r}: expected a number of seeds, or seeds with commas")
    numbers = tuple(int(part) for part in parts)
    return numbers if "," in text else tuple(range(numbers[0]))
