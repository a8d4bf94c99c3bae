"""What the commands' options have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from st_ray.config import RunSpec


def help_alone(context: typer.Context) -> None:
    """Show the help of a group that was given no command, as a mistake."""
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(2)


def option(what: str, default: str | bool, *names: str, metavar: str | None = None) -> Any:
    """An option whose help tells its default in words.

    Args:
        what: Its help.
        default: Shown in place of the value that the code begins with.
        names: As typed, where it is not the parameter's name.
        metavar: What stands for the value in the help.
    """
    return typer.Option(*names, help=what, show_default=default, metavar=metavar)


Config = Annotated[
    str | None,
    option(
        "Run file (TOML; path or URI), such as a run's run.toml; options given here win.", "none"
    ),
]
Assignments = Annotated[
    list[str] | None,
    option(
        "Any other setting of a run file, such as split.guard=7 (pixels); repeatable.",
        "none",
        "--set",
        metavar="KEY=VALUE",
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", help="Show Ray's own messages.")]


def settle_spec(
    given: Mapping[str, Any], config: str | None, assignments: Sequence[str] | None
) -> RunSpec:
    """Run file, then options that are not None, then ``--set``; the later wins.

    Raises:
        SpecError: A setting is unknown or wrong.
    """
    from st_ray.config import assign, load_spec, override, spec_from_table

    table = load_spec(config) if config is not None else {}
    for key, value in given.items():
        if value is not None:
            assign(table, key, value)
    return spec_from_table(override(table, assignments or ()))


def refuse(assignments: Sequence[str], decided: Mapping[str, str]) -> None:
    """See that ``--set`` names nothing that a benchmark decides itself.

    Args:
        assignments: KEY=VALUE.
        decided: What it decides, by name: where to read of it.

    Raises:
        SpecError: It does.
    """
    from st_ray.errors import SpecError

    for assignment in assignments:
        name = assignment.partition("=")[0].strip()
        if name in decided:
            raise SpecError(f"--set {name}: a benchmark decides it itself; see {decided[name]}")


def within(option: str, value: int, least: int, most: int | None = None) -> None:
    """See that a number is neither too small nor too large.

    Raises:
        SpecError: It is.
    """
    from st_ray.errors import SpecError

    if value < least or (most is not None and value > most):
        expected = f"at least {least}" if most is None else f"{least} to {most}"
        raise SpecError(f"{option} {value}: expected {expected}")
