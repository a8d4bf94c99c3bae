"""What the commands' options have in common."""

from __future__ import annotations

from typing import Any

import typer


def option(what: str, default: str | bool, *names: str, metavar: str | None = None) -> Any:
    """An option whose help tells its default in words.

    Args:
        what: Its help.
        default: Shown in place of the value that the code begins with.
        names: As typed, where it is not the parameter's name.
        metavar: What stands for the value in the help.
    """
    return typer.Option(*names, help=what, show_default=default, metavar=metavar)
