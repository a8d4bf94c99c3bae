"""Figures as inline SVG that takes its colours from the page, light or dark."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Each stands for a CSS variable of the page while matplotlib draws, and is then replaced by it.
INK, MUTED, RULE, SHADE, TRAIN, VALIDATION = (f"#0{digit}0e0f" for digit in range(1, 7))
_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    RULE: "var(--rule)",
    SHADE: "var(--shade)",
    TRAIN: "var(--train)",
    VALIDATION: "var(--validation)",
}
_STYLE: Any = {
    "svg.fonttype": "none",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.8,
}


def to_page(colour: str) -> str:
    """A figure's colour as the page has it: the variable that a stand-in stands for."""
    return _VARIABLES.get(colour, colour)


@contextmanager
def drawing() -> Iterator[None]:
    """Around the drawing of figures: matplotlib's settings, left as they were afterwards."""
    import matplotlib

    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": "st_ray"}):
        yield


def svg(figure: Figure, title: str) -> str:
    """The figure's SVG element, without identifiers that would repeat on the page."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = re.sub(r"font: ([^;\"]*?)'[^;\"]*", r"font: \1sans-serif", text)
    text = re.sub(r'width="[^"]*pt" height="[^"]*pt"', "", text, count=1)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href", "href")
    for stand_in, variable in _VARIABLES.items():
        text = text.replace(stand_in, variable)
    return text.replace("<svg", f'<svg role="img" aria-label="{title}"', 1)
