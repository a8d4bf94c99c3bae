"""The table in the terminal and in a log file, and numbers in words."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import pytest
from rich.console import Console

from st_ray.report import PartCounts, print_summary
from st_ray.report.words import (
    compact,
    duration,
    honesty,
    percent,
    saving,
    shares,
    whitening,
)


def _printed(report, *, width: int | None = None, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    print_summary(report, Console(file=file, width=width), out=Path("runs/first"))
    file.flush()
    return raw.getvalue().decode(encoding)


@pytest.mark.parametrize("width", [80, 100, 250])
def test_the_summary_in_a_log_file_is_plain_and_fits_100_columns(sample_of, width: int):
    report = sample_of(warnings=("a long warning " * 20,)).report
    text = _printed(report, width=width)
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= min(width, 100)


def test_the_summary_has_stages_scores_phases_and_the_place(sample):
    text = _printed(sample.report, width=100)
    stage = sample.report.stages[1]
    row = next(line for line in text.splitlines() if "9x9" in line)
    assert row.split() == ["2", "40", "9x9", "3", "6.0", "512", f"{stage.loss:.3g}", "95.14"]
    assert f"{100 * sample.report.overall_accuracy:.2f}" in text
    assert "0.9712" in text
    assert "startup 8.1 s" in text
    assert "99.9 %" in text
    assert "Oats" in text
    assert text.rstrip().endswith("runs/first/report.html")


def test_square_brackets_in_names_are_printed_as_they_are(sample_of):
    assert "[red]ssftt[/]" in _printed(sample_of(backbone="[red]ssftt[/]").report, width=100)


def test_the_summary_can_be_written_to_an_ascii_stream(sample_of):
    text = _printed(sample_of(backbone="naïf").report, width=100, encoding="ascii")
    assert "13x13" in text
    assert "na?f" in text


def test_numbers_not_measured_are_a_dash():
    nan = float("nan")
    assert {percent(nan), compact(nan), duration(nan), percent(None)} == {"–"}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (59.96, "1 min 00 s"), (74.2, "1 min 14 s"), (3599.7, "1 h 00 min"),
     (7620, "2 h 07 min")],
)  # fmt: skip
def test_a_duration_reads_as_a_person_says_it(seconds: float, words: str):
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.00012, "0.00012"), (30.0, "30"), (999.6, "1,000"), (2050.4, "2,050"), (-2345.6, "-2,346"),
     (0.0, "0")],
)  # fmt: skip
def test_a_compact_number_has_three_significant_digits(value: float, words: str):
    assert compact(value) == words


def test_a_saving_is_never_called_less_when_it_is_more():
    assert saving(3.0, 30.0) == "10× less"
    assert saving(30.0, 30.0) == "the same"
    assert saving(45.0, 30.0) == "1.5× more"


@pytest.mark.parametrize(
    ("exponent", "words"),
    [(0.0, "none"), (0.25, "partial (exponent 0.25)"), (0.5, "full (exponent 0.5)")],
)
def test_whitening_is_said_in_words(exponent: float, words: str):
    assert whitening(exponent) == words


def test_a_drawn_split_says_what_was_asked_for(sample):
    split = dataclasses.replace(sample.report.split, kind="disjoint", guard=6)
    asked = "disjoint, seed 0: 10.0 % train, 5.0 % validation, guard band 6 px"
    assert shares(split) == asked


def test_a_split_from_a_file_says_what_it_came_to(sample):
    split = dataclasses.replace(
        sample.report.split,
        kind="mask.mat",
        seed=None,
        train_fraction=None,
        validation_fraction=None,
        totals=PartCounts(train=51, validation=4, test=40, unused=5),
    )
    assert shares(split) == "mask.mat: 51.0 % train, 4.0 % validation, 40.0 % test"


def test_a_leaking_disjoint_split_is_told_to_widen_its_guard(sample):
    split = dataclasses.replace(sample.report.split, kind="disjoint", guard=2, leakage=0.2)
    _, text = honesty(split)
    assert "Widen the guard band to at least 6 px" in text
    assert "--split disjoint" not in text


def test_a_phase_that_did_not_run_is_not_listed(sample_of):
    seconds = dataclasses.replace(sample_of().report.seconds, map=float("nan"))
    text = " ".join(_printed(sample_of(seconds=seconds).report, width=100).split())
    assert "evaluate 2.2 s." in text
    assert "map –" not in text


@pytest.mark.parametrize(
    ("leakage", "overlap", "optimistic", "words"),
    [
        (1.0, 1.0, True, "100.0 % of the test patches"),
        (0.9999, 1.0, True, "more than 99.9 % of the test patches"),
        (0.0001, 1.0, True, "less than 0.1 % of the test patches"),
        (0.0, 0.25, False, "25.0 % of them overlap a training patch"),
        (0.0, 0.0, False, "not seen"),
        (float("nan"), float("nan"), False, "no test pixel"),
    ],
)
def test_the_honesty_line_says_what_the_leakage_is(
    sample, leakage: float, overlap: float, optimistic: bool, words: str
):
    split = dataclasses.replace(sample.report.split, leakage=leakage, footprint_overlap=overlap)
    warned, text = honesty(split)
    assert warned is optimistic
    assert words in text
