from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from st_ray.config import (
    ClusterSpec,
    RunSpec,
    anchor,
    differences,
    fingerprint,
    load_spec,
    override,
    save_spec,
    spec_from_table,
)
from st_ray.errors import SpecError
from st_ray.spectral.scene import SceneSpec
from st_ray.spectral.split import SplitSpec


def test_a_saved_spec_is_read_back_equal(tmp_path: Path) -> None:
    spec = RunSpec(
        scene=SceneSpec(name="salinas_a", ignore_classes=(1, 10), nodata=-9.0),
        backbone_options={"width": 8, "dropout": 0.2},
        beta=0.25,
        cluster=ClusterSpec(workers=0),
    )
    save_spec(spec, tmp_path / "run.toml")
    assert spec_from_table(load_spec(tmp_path / "run.toml")) == spec


def test_settings_are_toml_values_or_bare_words() -> None:
    table = override(
        {"split": {"kind": "disjoint"}},
        ["split.guard=7", "scene.ignore_classes=[9, 7]", "scene.cube_key=cube", "beta = 0.5"],
    )
    spec = spec_from_table(table)
    assert spec.split.guard == 7
    assert spec.split.kind == "disjoint"
    assert spec.scene.ignore_classes == (9, 7)
    assert spec.scene.cube_key == "cube"
    assert spec.beta == 0.5


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("split.gard=7", "unknown setting 'split.gard'; did you mean 'split.guard'"),
        ("sede=1", "unknown setting 'sede'; did you mean 'seed'"),
        ("split=3", "split=3: expected a group of settings"),
        ("seed.x=3", "unknown|seed"),
        ("seed", "expected key=value"),
        ("=3", "expected key=value"),
        ("epochs=many", "epochs='many'"),
        ("epochs=0", "epochs=0: expected at least 1"),
        ("beta=1.5", r"beta=1.5: expected a share"),
        ("patch_size=4", "patch_size=4: expected an odd"),
        ("seed=-1", "seed=-1"),
        ("cluster.workers=-2", "cluster.workers=-2"),
        ("cluster.device=tpu", "cluster.device='tpu'"),
        ("cluster.least_workers=0", "cluster.least_workers=0: expected 1 or more"),
        ("train.batch_size=1", "train.batch_size=1"),
        ("basis.pixels=test", "basis.pixels='test'"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_line(assignment: str, message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        spec_from_table(override({}, [assignment]))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"workers": 2, "least_workers": 3}, "least_workers=3: expected 1 to cluster.workers=2"),
        ({"workers": 0, "least_workers": 1}, "expected 1 to cluster.workers=0"),
        ({"least_workers": 1, "placement": "shard"}, "holds tiles of its own.*replicate"),
    ],
)
def test_fewer_workers_than_asked_for_must_be_able_to_train(settings, message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        ClusterSpec(**settings)
    assert "\n" not in str(caught.value)
    assert ClusterSpec(workers=4, least_workers=2).least_workers == 2


def test_a_value_cannot_hold_settings() -> None:
    with pytest.raises(SpecError, match="'seed' is a value"):
        override({"seed": 3}, ["seed.x=3"])


def test_a_missing_or_broken_run_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot read run file"):
        load_spec(tmp_path / "none.toml")
    (tmp_path / "broken.toml").write_text("= 3")
    with pytest.raises(SpecError, match="cannot read run file"):
        load_spec(tmp_path / "broken.toml")


def test_the_fingerprint_knows_what_decides_the_result() -> None:
    spec = RunSpec()
    elsewhere = replace(spec, out="there", cluster=ClusterSpec(workers=5), map=False)
    assert fingerprint(elsewhere) == fingerprint(spec)
    assert fingerprint(replace(spec, seed=1)) != fingerprint(spec)
    assert fingerprint(spec, "other stages") != fingerprint(spec)


def test_files_are_named_by_absolute_path(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    taken = ("indian_pines", "random", "disjoint", "default")  # names of ours come first
    for name in ("cube.npy", "gt.npy", "mask.npy", "mine.toml", *taken):
        Path(name).touch()
    spec = RunSpec(
        scene=SceneSpec(name="cube.npy", labels="gt.npy"),
        split=SplitSpec(kind="mask.npy"),
        curriculum="mine.toml",
    )
    anchored = anchor(spec)
    assert anchored.scene.name == str(tmp_path / "cube.npy")
    assert anchored.scene.labels == str(tmp_path / "gt.npy")
    assert anchored.split.kind == str(tmp_path / "mask.npy")
    assert anchored.curriculum == str(tmp_path / "mine.toml")
    assert anchor(anchored) == anchored
    assert anchor(RunSpec()) == RunSpec()
    disjoint = RunSpec(split=SplitSpec(kind="disjoint"))
    assert anchor(disjoint) == disjoint


def test_differences_name_the_settings_that_decide_the_result() -> None:
    spec = RunSpec()
    assert differences(spec, replace(spec, out="x", cluster=ClusterSpec(workers=3))) == ()
    other = replace(spec, seed=2, split=SplitSpec(guard=4), backbone_options={"width": 3})
    assert differences(spec, other) == ("backbone_options.width", "seed", "split.guard")
