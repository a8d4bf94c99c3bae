"""Runs whose directory is a URI: an S3-compatible server on this machine, and file://."""

from __future__ import annotations

import shlex
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from st_ray import run_curriculum
from st_ray.errors import OutputError
from st_ray.output import RunFolder
from st_ray.storage import (
    bare,
    exists,
    extend,
    filling,
    join,
    make,
    names,
    pull,
    push,
    read_text,
    remove,
    settle,
)
from tests.small_jobs import Stop, stop_after


@pytest.fixture(autouse=True)
def own_temporary_files(tmp_path_factory, monkeypatch) -> Path:
    """Copies of stores, which must be gone afterwards."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "tree" / "inner").mkdir(parents=True)
    for name in ("a", "b", "inner/c"):
        (tmp_path / "tree" / name).write_text(name)
    return tmp_path / "tree"


def test_a_folder_comes_back_as_it_was_pushed(s3, tree, tmp_path) -> None:
    uri = s3("tree%20of%20mine")
    assert not exists(uri)
    assert names(uri) == ()
    push(tree, uri, last="a")
    assert names(uri) == ("a", "b", "inner")
    pull(uri, tmp_path / "back")
    assert (tmp_path / "back" / "inner" / "c").read_text() == "inner/c"
    assert read_text(join(uri, "b")) == "b"
    with filling(join(uri, "d.txt")) as path:
        path.write_text("late")
    assert read_text(join(uri, "d.txt")) == "late"
    remove(uri, first="a")
    remove(uri, first="a")
    assert not exists(join(uri, "b"))
    with pytest.raises(FileNotFoundError):
        read_text(join(uri, "b"))


def test_the_file_that_tells_of_a_whole_folder_is_pushed_last(s3, tree, monkeypatch) -> None:
    pushed = []
    monkeypatch.setattr("st_ray.storage._copy", lambda s, path, t, to: pushed.append(path.name))
    push(tree, s3("last"), last="a")
    assert pushed == ["b", "c", "a"]


def test_a_place_is_a_path_or_a_uri(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert settle("runs/one") == str(tmp_path / "runs" / "one")
    assert settle("file:///srv/a%20b/") == "/srv/a b"
    uri = "s3://bucket/run?scheme=http&region=us-east-1"
    assert settle(uri) == uri
    assert join(uri, "run.toml") == "s3://bucket/run/run.toml?scheme=http&region=us-east-1"
    assert extend(uri, "-again") == "s3://bucket/run-again?scheme=http&region=us-east-1"
    assert (bare(uri), bare("what?")) == ("s3://bucket/run", "what?")
    assert join("runs/what?", "run.toml") == "runs/what?/run.toml"


def test_a_run_in_a_store_is_the_run_in_a_folder(
    s3, spec, finished, st_ray, own_temporary_files, monkeypatch
) -> None:
    report, folder = finished
    uri = s3("whole")
    again = run_curriculum(replace(spec, out=uri))
    assert again.confusion == report.confusion
    assert names(uri) == tuple(sorted(p.name for p in folder.iterdir() if p.name != ".lock"))
    assert list(names(join(uri, "checkpoints"))) == sorted(
        path.name for path in (folder / "checkpoints").iterdir()
    )
    assert list(own_temporary_files.iterdir()) == []
    with pytest.raises(OutputError, match="a finished run; pass --resume"):
        run_curriculum(replace(spec, out=uri))
    assert run_curriculum(replace(spec, out=uri), resume=True).created == again.created
    words = shlex.split(again.command)
    assert words[words.index("--config") + 1] == join(uri, "run.toml")
    code, out, err = st_ray(*words[1:], "--set", "map=false")
    assert code == 0, err
    assert f"Report: {extend(uri, '-again/report.html')}" in out
    assert '"confusion"' in read_text(extend(uri, "-again/report.json"))


def test_a_run_cut_off_resumes_from_its_store_alone(
    s3, spec, finished, st_ray, own_temporary_files
) -> None:
    uri = s3("cut")
    here = replace(spec, out=uri, map=False)
    with pytest.raises(Stop):
        run_curriculum(here, listen=stop_after(3))
    assert names(join(uri, "checkpoints")) == ("epoch_00002", "epoch_00003")
    assert list(own_temporary_files.iterdir()) == []
    with pytest.raises(OutputError, match=r"s3://bucket/cut\?.* an unfinished run; pass --resume"):
        run_curriculum(here)
    with pytest.raises(OutputError, match=r"other settings \(seed\)"):
        run_curriculum(replace(here, seed=5), resume=True)
    code, out, err = st_ray("train", "--resume", "--out", uri)
    assert code == 0, err
    assert "going on after epoch 3" in out
    report = run_curriculum(here, resume=True)
    assert report.confusion == finished[0].confusion


def test_a_uri_of_a_folder_is_the_folder(spec, finished, tmp_path) -> None:
    report = run_curriculum(replace(spec, out=(tmp_path / "out").as_uri()))
    assert report.confusion == finished[0].confusion
    assert (tmp_path / "out" / "report.json").is_file()
    assert shlex.split(report.command)[-1] == str(tmp_path / "out-again")


def test_a_run_that_writes_nothing_leaves_nothing_in_a_store(s3, spec) -> None:
    with RunFolder(s3("nothing")):
        assert exists(s3("nothing"))
    assert not exists(s3("nothing"))


WRONG = {
    "gopher://host/run": "cannot open gopher://host/run: Unrecognized filesystem type",
    "fsspec+nothing://run": "Protocol not known: nothing",
    "file://host/run": "Unsupported hostname",
    "s3://bucket/run?region=us-east-1&colour=red": "Unexpected query parameter in S3 URI: 'colour'",
    "s3://me:secret@bucket/run": "s3://…@bucket holds a password; give it by the environment",
    "s3://bucket/run?endpoint_override=127.0.0.1:9&scheme=http&region=us-east-1": (
        "see that the server runs"
    ),
    "nowhere": "make the bucket first, or name another",
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("command", ["train", "prepare", "bench training"])
def test_a_wrong_uri_is_one_line(wrong, command, s3, scene_files, st_ray) -> None:
    place = s3("run").replace("bucket", "nowhere", 1) if wrong == "nowhere" else wrong
    scene = (scene_files.cube, "--labels", scene_files.labels)
    scene = ("--scene", *scene) if command == "bench training" else (*scene, "--workers", 0)
    code, _, err = st_ray(*command.split(), *scene, "--out", place)
    assert code == 2
    assert err.startswith("st-ray: ")
    assert len(err.splitlines()) == 1
    assert WRONG[wrong] in err
    assert "secret" not in err


def test_figures_may_go_to_a_store(s3, st_ray) -> None:
    uri = s3("figures/pca.json")
    words = ("--pixels", 20000, "--bands", 8, "--rank", 3, "--threads", 1, "--rounds", 1)
    code, out, err = st_ray("bench", "pca", *words, "--out", uri)
    assert code == 0, err
    assert f"Figures: {uri}" in out
    assert '"seed"' in read_text(uri)


def test_a_benchmark_in_a_store_is_resumed_from_it(s3, scene_files, st_ray) -> None:
    words = [
        *("bench", "training", "--scene", scene_files.cube, "--labels", scene_files.labels),
        *("--seeds", 1, "--full-epochs", 8, "--lr", 3e-3, "--out", s3("bench")),
        *("--set", "patch_size=5", "--set", "tiles.side=16"),
    ]  # fmt: skip
    code, out, err = st_ray(*words)
    assert code == 0, err
    assert f"Results: {join(s3('bench'), 'bench.html')}" in out
    files = ("bench.html", "bench.json", "bench.md", "bench.png", "cells.jsonl")
    assert names(s3("bench")) == files
    code, out, err = st_ray(*words, "--max-hours", 0)
    assert code == 0, err
    assert "The time was over" not in out


def test_a_server_that_does_not_answer_is_given_up(s3, monkeypatch) -> None:
    monkeypatch.setattr("st_ray.storage._SILENCE_S", 1)
    begun = time.monotonic()
    with Silent() as port, pytest.raises(OutputError, match="see that the server runs"):
        make(f"s3://bucket/run?endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1")
    assert time.monotonic() - begun < 30


def test_the_environment_may_name_the_server(s3, monkeypatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{s3('').split('=')[1].split('&')[0]}")
    make("s3://bucket/named?region=us-east-1")
    assert exists(s3("named"))
    assert exists(s3("named").replace("&region=us-east-1", ""))


class Silent:
    """A server that accepts and says nothing."""

    def __enter__(self) -> int:
        import socket

        self.socket = socket.create_server(("127.0.0.1", 0))
        return self.socket.getsockname()[1]

    def __exit__(self, *unused: object) -> None:
        self.socket.close()
