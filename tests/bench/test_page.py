"""bench.html and bench.md say what was measured, and need nothing else."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from st_ray.bench.arms import ARMS
from st_ray.bench.page import points, render_bench, render_markdown, stages, times
from st_ray.bench.plots import ON_PAPER, arm_colour
from st_ray.bench.summary import INGREDIENTS, ORIGINS, summarise
from st_ray.bench.write import write_bench


def row(arm: str, seed: int, *, seconds: float, oa: float, curve=None, **changes) -> dict:
    """A measured cell."""
    end = [(seconds / 2, oa - 0.1), (seconds, oa)]
    score = {"oa": oa, "aa": oa - 0.01, "kappa": oa - 0.02}
    return {
        "kind": "run",
        "scene": "scene",
        "split": "random",
        "backbone": "resnet2d",
        "arm": arm,
        "seed": seed,
        "rate": 1e-3,
        "threads": 1,
        "jobs": 1,
        "processor": "some processor",
        "seconds": seconds,
        "cpu_seconds": seconds,
        "parts": {"statistics": 0.1, "ingest": 0.1, "stage 1": seconds - 0.3, "other": 0.1},
        "curve": curve or end,
        "validation": score,
        "test": score,
        "parameters": 10,
        "stages": [[60, 11, 2]],
        "reach": None,
        **changes,
    }


FOUND = {"full_epochs": 30, "origin": "searched", "rates": {"full": 1e-3}}


def summary(rows: list[dict]) -> dict:
    return summarise(
        rows,
        scenes=("scene",),
        searched={("scene", "resnet2d"): FOUND},
        configurations=7,
        versions={"torch": "2.13"},
    )


PAIRS = [
    row("full", 0, seconds=100.0, oa=0.90),
    row("full", 1, seconds=100.0, oa=0.80),
    row("default", 0, seconds=10.0, oa=0.95),
    row("default", 1, seconds=5.0, oa=0.82, curve=[(2.0, 0.80), (5.0, 0.82)]),
]


def test_a_speedup_is_a_ratio_of_times_to_the_same_accuracy() -> None:
    """Seed 0: 100 s to 0.90 against 10 s; seed 1: 100 s to 0.80 against 2 s."""
    table = summary(PAIRS)
    default = table["groups"][0]["arms"][1]
    assert default["speedup"]["median"] == pytest.approx(500**0.5)
    assert (default["speedup"]["least"], default["speedup"]["greatest"]) == (10.0, 50.0)
    assert table["geomean_speedup"] == pytest.approx(500**0.5)
    assert table["backbones"]["resnet2d"]["oa_difference"] == pytest.approx(0.035)
    low, high = table["backbones"]["resnet2d"]["oa_interval"]
    assert (low, high) == pytest.approx((0.02, 0.05))


def test_seeds_without_the_baseline_are_told_apart() -> None:
    """Medians beside "full" are those of the pairs; a failure there is a target never met."""
    more = [
        row("default", 2, seconds=1000.0, oa=0.1),
        {**row("default", 3, seconds=0.0, oa=0.0), "error": "no"},
    ]
    table = summary([*PAIRS, *more])
    _, default = table["groups"][0]["arms"]
    assert (default["pairs"], default["tried"], default["failed"]) == (2, 2, 1)
    assert default["beside_full"]["own"]["seconds"] == 7.5
    assert default["beside_full"]["full"]["oa"] == pytest.approx(0.85)
    told = render_markdown(table)
    assert "| resnet2d | 2 | 100 | 85.00 / 84.00 | 7.5 | 88.50 / 87.50 | 2 of 2 |" in told
    assert "| default | 60@11×2 | 3 (2 with full, 1 failed) |" in told
    assert "3 (2 with full, 1 failed)" in render_bench(table)


def test_the_baseline_is_timed_to_where_it_first_was_as_good_as_at_its_end() -> None:
    early = row("full", 0, seconds=100.0, oa=0.9, curve=[(40.0, 0.9), (100.0, 0.9)])
    table = summary([early, row("default", 0, seconds=10.0, oa=0.95)])
    assert table["groups"][0]["arms"][1]["speedup"]["median"] == pytest.approx(4.0)
    assert table["geomean_speedup"] == pytest.approx(4.0)
    assert table["geomean_whole_speedup"] == pytest.approx(10.0)


def test_an_arm_that_never_gets_there_has_speedup_0() -> None:
    table = summary([row("full", 0, seconds=100.0, oa=0.9), row("default", 0, seconds=1.0, oa=0.8)])
    default = table["groups"][0]["arms"][1]
    assert default["speedup"]["median"] == 0
    assert default["reached"] == 0
    assert table["geomean_speedup"] == 0
    assert (
        "no mean of times to accuracy, as at least half the runs of resnet2d never"
        in render_markdown(table)
    )


def test_ingredients_multiply_to_the_whole() -> None:
    rows = [row("full", 0, seconds=100.0, oa=0.9)] + [
        row(name, 0, seconds=100.0 / factor, oa=0.95, curve=[(100.0 / factor, 0.95)])
        for factor, (name, _) in zip((2, 4, 10, 20, 25), INGREDIENTS[1:], strict=True)
    ]
    (chain,) = summary(rows)["ingredients"]
    assert [step["factor"] for step in chain["steps"]] == pytest.approx([2, 2, 2.5, 2, 1.25])


def test_a_page_shows_every_arm_and_loads_nothing() -> None:
    page = render_bench(summary(PAIRS))
    assert "22.4×" in page
    assert "default" in page
    assert not re.search(r"""(src|href)=["'](?!#)""", page)
    assert "http" not in page.replace("http-equiv", "")


def test_a_page_of_nothing_is_still_a_page() -> None:
    page = render_bench(summary([]))
    assert "Training benchmark" in page


def test_a_failure_is_told_and_escaped() -> None:
    failed = {**row("default", 0, seconds=1.0, oa=0.5), "error": "the loss became <nan>"}
    page = render_bench(summary([PAIRS[0], failed]))
    assert "the loss became &lt;nan&gt;" in page


def test_the_markdown_table_has_a_row_for_each_arm() -> None:
    text = render_markdown(summary(PAIRS))
    (pair,) = (line for line in text.splitlines() if line.startswith("| scene, random split |"))
    assert "| resnet2d | 2 | 100 | 85.00 / 84.00 | 7.5 | 88.50 / 87.50 | 2 of 2 | 22.4×" in pair
    rows = [line for line in text.splitlines() if line.startswith("| resnet2d")]
    assert len(rows) == 2
    assert "| 22.4× (10×–50×) |" in rows[1]
    assert "+3.50 [+2.00, +5.00]" in rows[1]
    assert len({line.count("|") for line in rows}) == 1
    assert "split: 22.4× sooner at equal validation OA (geometric mean over 1 backbone(s)" in text


@pytest.mark.parametrize("origin", ORIGINS)
def test_both_say_how_the_baselines_length_came_about(origin: str) -> None:
    table = summary(PAIRS)
    table["searched"][0]["origin"] = origin
    for text in (render_bench(table), render_markdown(table)):
        assert [how for how in ORIGINS.values() if how in text] == [ORIGINS[origin]]


def test_a_picture_shows_both_arms_of_every_backbone_that_has_them(tmp_path) -> None:
    colours = [np.round(255 * np.array(to_rgb(colour))) for colour in ON_PAPER.values()]
    counts, widths = [], []
    for backbones in (("resnet2d",), ("resnet2d", "vit"), ()):
        rows = [{**pair, "backbone": name} for name in backbones for pair in PAIRS]
        alone = row("default", 0, seconds=1.0, oa=0.5, backbone="ssrn")
        write_bench(summary([*rows, alone]), tmp_path)
        if backbones:
            picture = imread(tmp_path / "bench.png")
            drawn = np.round(255 * picture[:, :, :3].reshape(-1, 3))
            counts.append([int((drawn == colour).all(axis=1).sum()) for colour in colours])
            widths.append(picture.shape[1])
    assert widths[0] < widths[1]
    # The second panel has lines of its own, beside those that the key has in both.
    assert all(two > one + 50 for one, two in zip(*counts, strict=True))
    assert not (tmp_path / "bench.png").exists()  # nothing to compare


def test_curves_for_paper_are_of_the_pairs_alone() -> None:
    more = row("default", 2, seconds=1000.0, oa=0.1)
    default = summary([*PAIRS, more])["groups"][0]["arms"][1]
    seconds, accuracy = default["beside_full"]["own"]["curve"][-1]
    assert (seconds, accuracy) == pytest.approx((7.5, 0.885))
    assert default["beside_full"]["full"]["curve"][-1] == pytest.approx((100.0, 0.85))


def test_the_accuracy_at_the_target_says_of_how_many_runs_it_is() -> None:
    scored = {"reach": {"target": 0.9, "test": {"oa": 0.91, "aa": 0.9, "kappa": 0.9}}}
    rows = [*PAIRS[:2], {**PAIRS[2], **scored}, PAIRS[3]]
    assert "| 2 of 2 | 22.4× | 91.00 (1) |" in render_markdown(summary(rows))


def test_numbers_in_words() -> None:
    assert times(12.345) == "12.3×"
    assert times(0.0) == "–"
    assert points(0.0123) == "+1.23"
    assert points(math.nan) == "–"
    assert stages([[60, 5, 4], [60, 11, 2]]) == "60@5×4, 60@11×2"


def test_arms_have_colours_of_their_own() -> None:
    colours = [arm_colour(name) for name in ARMS]
    assert len(set(colours)) == len(colours)
