"""`st-ray inspect` as it is typed, and the page that it leaves."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from st_ray import SceneSpec
from st_ray.doctor.page import render_inspection
from st_ray.doctor.plots import draw_picture
from st_ray.errors import SceneError
from st_ray.spectral.scene import open_scene
from tests.doctor.conftest import Look


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ("nowhere.npy", "nowhere.npy"),
        ("turned.npy", "it is transposed: save it with rows and columns swapped"),
    ],
)
def test_labels_that_do_not_fit_are_one_line(
    st_ray, scene_files, tmp_path: Path, labels: str, says: str
) -> None:
    np.save(tmp_path / "turned.npy", scene_files.truth.T)
    code, _, err = st_ray("inspect", scene_files.cube, "--labels", labels)
    assert code == 2
    assert says in err
    assert err.count("\n") == 1


def test_a_missing_scene_is_one_line(st_ray) -> None:
    code, _, err = st_ray("inspect", "nowhere.mat")
    assert (code, err.count("\n")) == (2, 1)
    assert "no such scene file: nowhere.mat" in err
    with pytest.raises(SceneError, match="did you mean 'salinas'"):
        open_scene(SceneSpec(name="salinass"))


def test_the_command_prints_and_writes_a_page_that_needs_nothing_else(
    st_ray, scene_files, tmp_path: Path
) -> None:
    words = ("inspect", scene_files.cube, "--labels", scene_files.labels, "--patch-size", 5)
    code, out, err = st_ray(*words, "--no-forecast", "--out", tmp_path / "seen")
    assert code == 0, err
    assert "30 x 26 pixels, 12 bands" in out
    assert "split disjoint: no test 5x5 patch" in out
    assert all(len(line) <= 100 for line in out.splitlines() if "inspect.html" not in line)
    page = (tmp_path / "seen" / "inspect.html").read_text()
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert "</html>" in page
    table = json.loads((tmp_path / "seen" / "inspect.json").read_text())
    assert table["format"] == 1
    assert {row["severity"] for row in table["findings"]} == {"ok", "note", "warning"}
    with Image.open(tmp_path / "seen" / "inspect.png") as picture:
        assert picture.width > 800


def test_names_in_a_page_are_escaped(look: Look, tmp_path: Path) -> None:
    found = look()
    found.table["scene"]["name"] = "<script>alert(1)</script>"
    found.table["classes"][0]["name"] = "a & <b>"
    found.table["classes"][1]["name"] = r"$\nonsense{$"
    draw_picture(found).savefig(tmp_path / "a.png")  # no formula either
    page = render_inspection(found)
    assert "<script>" not in page
    assert "a &amp; &lt;b&gt;" in page
