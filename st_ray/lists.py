"""The commands that list what there is."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def scenes() -> None:
    """List the registered scenes."""
    from st_ray.spectral.registry import scenes as known

    rows = [
        (row.name, "x".join(map(str, row.shape)), str(row.classes), row.state, row.source)
        for row in known()
    ]
    table(("scene", "rows x columns x bands", "classes", "here", "source"), rows)


def backbones() -> None:
    """List the backbones."""
    from st_ray.learn.backbones import backbones as known

    rows = [
        (
            entry.name,
            str(entry.full_epochs),
            f"{entry.optimizer} {entry.learning_rate:g} {entry.batch_size}"
            + (" flips" if entry.flips else ""),
            entry.paper,
            entry.growth,
        )
        for entry in known().values()
    ]
    table(
        ("backbone", "T0", "optimizer, lr, batch, flips", "paper", "when components or patch grow"),
        rows,
    )


def curricula() -> None:
    """List the curricula, settled for 200 bands and 11x11 patches."""
    from st_ray.learn.presets import PRESETS

    rows = []
    for name, preset in PRESETS.items():
        curriculum = preset(200, 11)
        stages = ", ".join(
            f"{stage.components or 'all'}@{stage.patch_size}x{stage.patch_size}"
            for stage in curriculum.stages
        )
        what = (preset.__doc__ or "").splitlines()[0]
        rows.append((name, f"{curriculum.beta:g}", stages, what))
    table(("curriculum", "beta", "components@patch by stage", "what it is"), rows)


def screen() -> Console:
    """Where the commands print; brackets in names and paths are no markup."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else 100
    return Console(width=width, soft_wrap=False, markup=False)


def table(titles: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print some rows below their titles."""
    from rich.table import Table

    shown = Table(*titles, box=None, pad_edge=False)
    for row in rows:
        shown.add_row(*row)
    screen().print(shown)
