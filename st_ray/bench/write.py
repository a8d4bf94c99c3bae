"""Put bench.html, bench.json, bench.md and bench.png into a benchmark's directory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from st_ray.bench.page import render_bench, render_markdown
from st_ray.bench.plots import save_curves
from st_ray.errors import writing
from st_ray.report.report import plain
from st_ray.spectral.files import replacing


def write_bench(table: dict[str, Any], out: Path) -> None:
    """Write the files; a number that is not known is null in bench.json.

    bench.png has the backbones on the headline's scene and split; without any there is none.

    Raises:
        OutputError: They cannot be written.
    """
    texts = {
        "bench.html": render_bench(table),
        "bench.md": render_markdown(table),
        "bench.json": json.dumps(plain(table), indent=1) + "\n",
    }
    place = table["headline"] or {}
    shown = [
        group
        for group in table["groups"]
        if (group["scene"], group["split"]) == (place["scene"], place["split"])
        and group["backbone"] in table["backbones"]
    ]
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            with replacing(out / name) as file:
                file.write(text.encode())
        if shown:
            save_curves(shown, out / "bench.png")
        else:  # perhaps one of before
            (out / "bench.png").unlink(missing_ok=True)
