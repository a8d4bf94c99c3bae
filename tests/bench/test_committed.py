"""The tables in the repository are those that today's code makes of the cells kept there."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "benchmarks" / "results"


@pytest.fixture(scope="module")
def remake(tmp_path_factory) -> Callable[[str], Path]:
    """From kept cells, by their folder, what the command in benchmarks/README.md makes of them.

    It measures nothing: a new setting that made the cells unknown would leave the tables empty.
    """
    from st_ray.cli import app

    text = (ROOT / "benchmarks" / "README.md").read_text().replace("\\\n", " ")

    @cache
    def made(name: str) -> Path:
        found = re.search(
            rf"^st-ray (bench training .*)--out benchmarks/results/{name}$", text, re.M
        )
        assert found, f"benchmarks/README.md names no command that makes the tables of {name}"
        assert name != "indian_pines" or "--max-hours 0" in found[1]  # it would take days
        words = shlex.split(found[1])
        for path in (Path(word) for word in words if word.startswith("../shared")):
            if not (ROOT / path).exists():
                pytest.skip(f"needs {path}")
        out = tmp_path_factory.mktemp(name)
        shutil.copy(KEPT / name / "cells.jsonl", out)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(ROOT)
            patch.setattr("st_ray.bench.training.check_cores", lambda jobs, threads: None)
            app([*words, "--max-hours", "0", "--out", str(out)], standalone_mode=False)
        return out

    return made


@pytest.mark.parametrize("name", sorted(path.parent.name for path in KEPT.glob("*/cells.jsonl")))
def test_a_kept_table_is_that_of_the_kept_cells(remake: Callable[[str], Path], name: str) -> None:
    assert (remake(name) / "bench.md").read_text() == (KEPT / name / "bench.md").read_text()


def test_the_readme_tells_what_was_measured(remake: Callable[[str], Path]) -> None:
    table = json.loads((remake("indian_pines") / "bench.json").read_text())
    arms = {
        (group["backbone"], group["split"], arm["arm"]): arm
        for group in table["groups"]
        for arm in group["arms"]
    }
    text = (ROOT / "README.md").read_text()
    rows = re.findall(
        r"^\| (\w+) \| (\d+) / (\d+) \| ([\d,.]+) \| ([\d.]+) \| (\S+) / (\S+)× \| (.*) \|$",
        text,
        re.M,
    )
    assert {name for name, *_ in rows} == set(table["backbones"])
    for name, *counts, full, ours, sooner, sooner_disjoint, rest in rows:
        random, disjoint = (arms[name, split, "default"] for split in ("random", "disjoint"))
        assert [int(count) for count in counts] == [random["pairs"], disjoint["pairs"]]
        medians = random["beside_full"]
        assert float(full.replace(",", "")) == pytest.approx(medians["full"]["seconds"], rel=0.02)
        assert float(ours) == pytest.approx(medians["own"]["seconds"], rel=0.02)
        assert [sooner, sooner_disjoint] == [
            f"{ratio:.2g}" if (ratio := arm["speedup"]["median"]) else "–"
            for arm in (random, disjoint)
        ]
        assert [cell.strip() for cell in rest.split("|")] == [
            _told(arm, score) for arm in (random, disjoint) for score in ("oa", "aa")
        ]
    assert f"{table['geomean_speedup']:.0f} times sooner" in text.replace("\n", " ")


def test_the_data_planes_table_tells_what_was_measured() -> None:
    folder = ROOT / "benchmarks" / "results" / "data_plane"
    names = ("pca", "patches", "scale", "scale_2gb", "scale_ray")
    taxes = ("tax", "tax_ray_data", "tax_evening", "tax_before", "tax_busy")
    pca, patches, scale, at_2gb, on_ray, *hours = (
        json.loads((folder / f"{name}.json").read_text()) for name in (*names, *taxes)
    )
    (undisturbed,) = at_2gb["rows"]
    overhead, speedup = (
        float(np.median([figure for tax in hours for figure in tax[name]]))
        for name in ("overheads", "two_worker_speedups")
    )
    text = (ROOT / "benchmarks" / "README.md").read_text()
    table = text[text.index("## The data plane") :]
    told = {
        cells[0].strip(): cells[2].replace("*", "")
        for line in re.findall(r"^\| (.*) \|$", table, re.M)
        if len(cells := re.split(r" *\| *", line)) == 4
    }

    def percent(share: float) -> str:
        return f"{100 * share:.0f} %"

    faster, gemm = pca["speedup_vs_incremental_pca"], pca["share_of_gemm_rate"]
    relaid = patches["relaid"]
    largest = max(scale["rows"], key=lambda row: row["gigabytes"])
    expected = {
        "moments and basis": f"{faster['fast']:.0f}×; {faster['exact']:.0f}×",
        "exact against": f"{pca['speedup_vs_pca_float64']:.1f}×",
        "share of the rate of the product": f"{percent(gemm['fast'])}; {percent(gemm['exact'])}",
        "patches a second": f"{patches['speedup_vs_dataloader']:.0f}×; "
        f"{relaid['speedup_vs_dataloader']:.1f}×",
        "share of the rate of `memcpy`": f"{patches['share_of_memcpy_rate']:.1f} times it; "
        f"{percent(relaid['share_of_memcpy_rate'])}",
        "object store": f"{patches['store_bytes_per_labelled_pixel'] / 1000:.1f} kB",
        "gather's share": f"{100 * patches['max_gather_share']:.1f} %",
        "an epoch on one Ray worker": f"{100 * overhead:+.1f} %".replace("-", "−"),
        "two workers": f"{speedup:.2f}×",
        "`st-ray --help`": f"{hours[0]['help_seconds']:.2f} s",
        "40 GB scene: memory": f"{on_ray['memory_growth_gigabytes']:.1f} GB above; "
        f"{largest['peak_rss_gigabytes']:.1f} GB",
        "throughput at 40 GB": percent(
            largest["pixels_per_second"] / undisturbed["pixels_per_second"]
        ),
        "the same, over 2 GB": percent(
            largest["pixels_per_second"] / undisturbed["again"]["pixels_per_second"]
        ),
    }
    for beginning, figure in expected.items():
        (cell,) = (cell for name, cell in told.items() if name.startswith(beginning))
        assert cell.strip().startswith(figure), beginning


def _told(arm: dict, score: str) -> str:
    """A difference and its interval as the README has them, in points."""
    mean, (low, high) = arm[f"{score}_difference"], arm[f"{score}_interval"]
    return f"{100 * mean:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]".replace("-", "−")
