"""write_report and the page: what is on it, what is not, and in which order files appear."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import st_ray.report.write as write_module
from st_ray.errors import OutputError
from st_ray.report import Report, Scores, class_colours, write_report
from st_ray.report.html import render_page
from st_ray.report.palette import UNLABELLED

VOID = {"meta", "img", "br", "link", "input", "hr", "wbr"}


class Page(HTMLParser):
    """The tags, attributes and text of a page; complains about tags that do not nest."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(source)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        if self._open and self._open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def _page(sample) -> Page:
    return Page(render_page(sample.report, **sample.rasters))


def test_the_three_files_appear_and_report_json_comes_last(sample, tmp_path, monkeypatch):
    seen = []

    def save(self: Report, path: Path) -> None:
        seen.append(sorted(entry.name for entry in tmp_path.iterdir()))
        original(self, path)

    original = Report.save
    monkeypatch.setattr(Report, "save", save)
    write_report(sample.report, **sample.rasters, out=tmp_path)
    assert seen == [["map.png", "report.html"]]
    assert Report.load(tmp_path / "report.json") == sample.report


def test_a_failure_half_way_leaves_nothing_that_looks_finished(sample, tmp_path, monkeypatch):
    write_report(sample.report, **sample.rasters, out=tmp_path)

    def fail(*args, **kwargs):
        raise RuntimeError("page")

    monkeypatch.setattr(write_module, "render_page", fail)
    with pytest.raises(RuntimeError):
        write_report(sample.report, **sample.rasters, out=tmp_path)
    assert not (tmp_path / "report.json").exists()


def test_map_png_shows_the_palette_at_known_pixels(sample, tmp_path):
    sample.class_map[0, :3] = (0, 2, 10)
    write_report(sample.report, **sample.rasters, out=tmp_path)
    drawn = np.asarray(Image.open(tmp_path / "map.png"))
    zoom = 1000 // 48
    assert drawn.shape == (36 * zoom, 48 * zoom, 3)
    colours = class_colours(5)
    assert tuple(drawn[zoom - 1, zoom - 1]) == UNLABELLED
    assert tuple(drawn[0, zoom]) == colours[0]
    assert tuple(drawn[0, 3 * zoom - 1]) == colours[4]


def test_without_a_class_map_there_is_no_map_and_the_page_says_so(sample, tmp_path):
    write_report(sample.report, **sample.rasters, out=tmp_path)
    write_report(sample.report, **{**sample.rasters, "class_map": None}, out=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.json"]
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "The class map was switched off" in page.text
    assert page.tags.count("img") == 3


def test_the_page_fetches_nothing(sample):
    source = render_page(sample.report, **sample.rasters)
    page = Page(source)
    fetching = ("src", "srcset", "href", "data", "action", "poster")
    targets = [value or "" for name, value in page.attributes if name in fetching]
    assert len(targets) > 5
    assert all(target.startswith(("data:image/png;base64,", "#")) for target in targets)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "@import" not in source
    assert re.findall(r"url\((?!#)", source) == []


def test_text_from_files_is_escaped(sample_of):
    hostile = "<b>x</b>\"'&<script>alert(1)</script>"
    changed = sample_of(names={2: hostile, 4: "b", 6: "c", 8: "d", 10: "e"})
    report = dataclasses.replace(
        changed.report,
        command=hostile,
        warnings=(hostile,),
        backbone=hostile,
        versions={hostile: hostile},
        scene=dataclasses.replace(changed.report.scene, name=hostile, path=hostile),
    )
    source = render_page(report, **changed.rasters)
    assert "<script" not in source
    assert "<b>x</b>" not in source
    assert Page(source).text.count(hostile) >= 8


def test_the_page_names_every_class_score_and_stage(sample):
    page = _page(sample)
    for entry in sample.report.per_class:
        assert page.text.count(entry.name) >= 3
        assert f"{100 * entry.accuracy:.2f}" in page.text
    for row in sample.report.confusion:
        assert all(str(count) in page.words for count in row if count)
    assert f"{100 * sample.report.overall_accuracy:.2f}" in page.text
    assert "9 of 30 epochs" in page.text
    assert "random, seed 0: 10.0 % train, 5.0 % validation" in page.text
    assert "Whitening full (exponent 0.5)" in page.text
    assert "13×13" in page.text
    assert sample.report.command in page.text
    assert "ray not installed" in page.text
    assert page.text.count("stage 3") == 3
    assert page.tags.count("svg") == 3


def test_the_stages_add_up_to_the_line_below_them(sample):
    total = sum(stage.seconds for stage in sample.report.stages)
    footer = render_page(sample.report, **sample.rasters).partition("<tfoot>")[2]
    seen = [part.partition("</tfoot>")[0] for part in footer.split("<tfoot>")]
    assert any(f"<td>{total:.1f}</td>" in part for part in seen)


def test_the_page_warns_of_leakage_and_only_then(sample_of):
    leaky = sample_of()
    assert "99.9 % of the test patches (13×13) contain a training pixel" in _page(leaky).text
    clean = dataclasses.replace(
        leaky.report.split, kind="disjoint", guard=6, leakage=0.0, footprint_overlap=0.0
    )
    text = _page(sample_of(split=clean)).text
    assert "ground that the model has not seen" in text
    assert "optimistic" not in text


def test_a_run_with_nothing_measured_still_has_a_page(sample_of):
    nan = float("nan")
    blank = sample_of(
        history=(),
        overall_accuracy=nan,
        average_accuracy=nan,
        kappa=nan,
        validation=Scores(overall_accuracy=nan, average_accuracy=nan, kappa=nan),
    )
    report = blank.report
    empty = tuple(
        dataclasses.replace(entry, pixels=0, accuracy=nan, precision=nan, f1=nan)
        for entry in report.per_class
    )
    seconds = dataclasses.replace(report.seconds, total=nan, train=nan, map=nan)
    stages = tuple(
        dataclasses.replace(stage, loss=nan, seconds=nan, validation_accuracy=nan)
        for stage in report.stages
    )
    report = dataclasses.replace(report, per_class=empty, seconds=seconds, stages=stages)
    source = render_page(report, **blank.rasters)
    assert "nan" not in Page(source).text.lower().split()
    assert "<svg" not in source


@pytest.mark.parametrize("change", [{"loss": float("nan")}, {"loss": 0.0}])
def test_one_epoch_and_a_diverged_loss_can_be_drawn(sample_of, change):
    report = sample_of().report
    epoch = dataclasses.replace(
        report.history[0], **change, validation_loss=float("nan"), validation_accuracy=float("nan")
    )
    assert _page(sample_of(history=(epoch,))).tags.count("svg") == 3


def test_the_same_report_gives_the_same_page(sample):
    pages = {render_page(sample.report, **sample.rasters) for _ in range(2)}
    assert len(pages) == 1


def test_a_raster_of_another_shape_is_refused_by_name(sample, tmp_path):
    rasters = {**sample.rasters, "parts": sample.parts[:-1]}
    with pytest.raises(OutputError, match=r"parts is \(35, 48\); expected the scene's \(36, 48\)"):
        write_report(sample.report, **rasters, out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_output_directory_that_is_a_file_is_refused(sample, tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError, match=r"cannot write .*out.*--out"):
        write_report(sample.report, **sample.rasters, out=tmp_path / "out")
