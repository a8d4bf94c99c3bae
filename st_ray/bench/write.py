"""Put bench.json, bench.html and bench.md into a benchmark's directory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from st_ray.bench.page import render_bench, render_markdown
from st_ray.errors import writing
from st_ray.report.report import plain
from st_ray.spectral.files import replacing


def write_bench(table: dict[str, Any], out: Path) -> None:
    """Write the three files; a number that is not known is null in bench.json.

    Raises:
        OutputError: They cannot be written.
    """
    texts = {
        "bench.html": render_bench(table),
        "bench.md": render_markdown(table),
        "bench.json": json.dumps(plain(table), indent=1) + "\n",
    }
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            with replacing(out / name) as file:
                file.write(text.encode())
