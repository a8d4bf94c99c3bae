"""An audit: the same pixels for all, a control of single spectra, gaps paired by seed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from st_ray import Report, RunSpec
from st_ray.doctor import audit, control
from st_ray.doctor.audit import AuditSpec, run_audit, verdict
from st_ray.doctor.control import COSTS, NAME, score_control
from st_ray.doctor.page import render_audit
from st_ray.errors import OutputError, SpecError, SplitError
from st_ray.spectral.scene import Scene, SceneSpec
from st_ray.spectral.split import SplitSpec, split_labels
from st_ray.spectral.splitfile import load_split
from st_ray.spectral.tiles import TileSpec, plan_tiles

Table = dict[str, Any]


@pytest.fixture(scope="module")
def asked(spec: RunSpec, tmp_path_factory: pytest.TempPathFactory) -> AuditSpec:
    out = tmp_path_factory.mktemp("audit")
    return AuditSpec(base=replace(spec, epochs=6), seeds=(0, 3), out=str(out))


@pytest.fixture(scope="module")
def audited(asked: AuditSpec) -> Table:
    said: list[str] = []
    table = run_audit(asked, said.append)
    assert len(said) == 8
    return table


def test_an_audit_compares_both_splits_seed_by_seed(audited: Table, asked: AuditSpec) -> None:
    network, single = audited["rows"]
    assert (network["classifier"], single["classifier"]) == ("resnet2d", NAME)
    for kind in ("random", "disjoint"):
        for at, seed in enumerate(asked.seeds):
            report = Report.load(Path(asked.out) / f"resnet2d-{kind}-seed{seed}" / "report.json")
            assert network[kind]["oa"]["values"][at] == report.overall_accuracy
            assert network[kind]["leakage"]["values"][at] == report.split.leakage
    assert network["random"]["leakage"]["median"] > 0.5
    assert network["disjoint"]["leakage"]["greatest"] == 0
    gaps = np.subtract(*(network[kind]["aa"]["values"] for kind in ("random", "disjoint")))
    assert network["gap"]["aa"]["median"] == pytest.approx(np.median(gaps))
    leads = np.subtract(network["random"]["oa"]["values"], single["random"]["oa"]["values"])
    assert network["lead"]["random"]["greatest"] == pytest.approx(leads.max())


def test_network_and_control_share_their_pixels(
    audited: Table, asked: AuditSpec, small_scene: Scene
) -> None:
    del audited
    saved = load_split(
        Path(asked.out) / "resnet2d-disjoint-seed3" / "split.json", small_scene.labels
    )
    own = split_labels(small_scene.labels, asked.split("disjoint"), 3, 5)
    np.testing.assert_array_equal(saved.parts, own.parts)
    assert saved.rule["guard"] == 2


def test_an_audit_again_trains_nothing(
    audited: Table, asked: AuditSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(audit, "score_control", never)
    monkeypatch.setattr("st_ray.pipeline.prepare", never)
    assert run_audit(asked, lambda _: None)["rows"] == audited["rows"]


def test_other_settings_are_not_mixed_with_what_is_there(audited: Table, asked: AuditSpec) -> None:
    del audited
    other = replace(asked, base=replace(asked.base, epochs=7))
    with pytest.raises(OutputError, match=r"other settings \(epochs\).*another --out"):
        run_audit(other, lambda _: None)


def test_the_page_has_both_splits_and_needs_nothing_else(audited: Table) -> None:
    page = render_audit(audited)
    for text in ("resnet2d", NAME, "disjoint", "gap, points", "Every run"):
        assert text in page
    assert "://" not in page
    assert "30 × 26 pixels" in page
    assert "2 scenes, 500 pixels" in render_audit({**audited, "scenes": 2, "pixels": 500})


def test_the_control_is_a_support_vector_machine_of_single_spectra(small_scene: Scene) -> None:
    split = split_labels(small_scene.labels, SplitSpec(), 1, 5)
    tiles = plan_tiles(small_scene.labels.shape, TileSpec(side=7), small_scene.cube.extents)
    done = score_control(small_scene, split, tiles, 1)
    values, labels = small_scene.cube.read(slice(None), slice(None)), small_scene.labels
    models = [make_pipeline(StandardScaler(), SVC(C=cost)) for cost in COSTS]
    parts = [(values[mask], labels[mask]) for mask in (split.train, split.validation, split.test)]
    scores = [model.fit(*parts[0]).score(*parts[1]) for model in models]
    best = int(np.argmax(scores))
    assert done.cost == COSTS[best]
    assert done.test.overall_accuracy == pytest.approx(models[best].score(*parts[2]))
    assert done.test.counts_CC.sum() == split.test.sum()
    assert done.thinned == ()


def test_a_part_too_large_for_the_control_is_thinned_by_class(
    small_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "_MOST", {1: 20, 2: 10_000, 3: 100})
    split = split_labels(small_scene.labels, SplitSpec(), 1, 5)
    tiles = plan_tiles(small_scene.labels.shape, TileSpec(), small_scene.cube.extents)
    done = score_control(small_scene, split, tiles, 1)
    assert done.thinned == ("train", "test")
    tested = done.test.counts_CC.sum(axis=1)
    assert abs(int(tested.sum()) - 100) <= 3
    whole = np.array([parts["test"] for parts in split.counts(small_scene.labels).values()])
    np.testing.assert_allclose(tested / tested.sum(), whole / whole.sum(), atol=0.03)


def _spread(*values: float) -> dict[str, float]:
    return {"median": float(np.median(values)), "least": min(values), "greatest": max(values)}


def _row(gap: float, *leads: tuple[float, float]) -> Table:
    return {
        "classifier": "net",
        "gap": {"oa": _spread(gap)},
        "lead": {
            "random": _spread(*(lead[0] for lead in leads)),
            "disjoint": _spread(*(lead[1] for lead in leads)),
        },
        "lost": _spread(*(lead[0] - lead[1] for lead in leads)),
        "random": {"leakage": {"median": 0.9984}},
    }


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (
            _row(0.38, (0.18, 0.09)),
            r"18\.0 points ahead .* 9\.0 points ahead .*: 9\.0 points",
        ),
        (
            _row(0.58, (0.18, -0.11)),
            r"18\.0 points ahead .* 11\.0 points behind .*: 29\.0 ",
        ),
        (_row(0.01, (0.05, 0.05)), "its lead carries over"),
        (_row(0.01, (0.05, 0.09)), r"its lead grows by 4\.0 points"),
        (
            _row(0.08, (0.01, -0.09), (0.01, 0.01), (0.01, 0.07)),
            r"1\.0 points ahead \(-9\.0 to \+7\.0\) on the disjoint one: the seeds do not agree",
        ),
    ],
)
def test_the_verdict_is_the_lead_that_does_not_carry_over(row: Table, says: str) -> None:
    line = verdict(row)
    assert "99.8 % of them" in line
    assert re.search(says, line), line


def test_what_is_wrong_is_said_before_anything_is_trained(asked: AuditSpec, tmp_path: Path) -> None:
    fresh = replace(asked, out=str(tmp_path / "fresh"))
    with pytest.raises(SpecError, match="unknown backbone 'resnet'"):
        run_audit(replace(fresh, backbones=("resnet2d", "resnet")))
    with pytest.raises(SpecError, match="unknown option of backbone cnn1d 'width'"):
        run_audit(replace(fresh, backbones=("resnet2d", "cnn1d")))
    with pytest.raises(SpecError, match="too short for 3 stages"):
        run_audit(replace(fresh, base=replace(fresh.base, epochs=2)))
    narrow = replace(fresh, base=replace(fresh.base, split=SplitSpec(guard=30)))
    with pytest.raises(SplitError, match="disjoint"):
        run_audit(narrow)
    path = tmp_path / "patches.npz"
    labels = np.repeat([1, 2], 4).astype(np.uint8)
    np.savez(
        path, cubes=np.ones((8, 9, 9, 6), np.float32) * labels[:, None, None, None], labels=labels
    )
    patches = replace(fresh, base=replace(fresh.base, scene=SceneSpec(name=str(path))))
    with pytest.raises(SplitError, match="8 of the 8 scenes belong in one part"):
        run_audit(patches)
    with pytest.raises(SpecError, match="name one twice"):
        replace(asked, seeds=(1, 1))
    assert not (tmp_path / "fresh").exists()


def test_the_command_prints_one_table_and_writes_a_page(
    audited: Table, asked: AuditSpec, st_ray: Callable[..., tuple[int, str, str]]
) -> None:
    base = asked.base
    words = (
        *("audit", base.scene.name, "--labels", base.scene.labels, "--seeds", "0,3"),
        *("--config", Path(asked.out) / "resnet2d-random-seed0" / "run.toml"),
        *("--set", "split.guard=2", "--out", asked.out),
    )
    code, out, err = st_ray(*words)
    assert code == 0, err
    gap = audited["rows"][0]["gap"]["oa"]["median"]
    assert f"{100 * gap:+.1f}" in out
    assert all(len(line) <= 100 for line in out.splitlines() if "audit.html" not in line)
    assert "</html>" in (Path(asked.out) / "audit.html").read_text()
    rows = json.loads((Path(asked.out) / "audit.json").read_text())["rows"]
    assert rows == audited["rows"]


@pytest.mark.parametrize("setting", ["split.kind=random", "seed=3", "backbone=vit", "out=x"])
def test_what_an_audit_decides_cannot_be_set(
    setting: str, st_ray: Callable[..., tuple[int, str, str]]
) -> None:
    code, _, err = st_ray("audit", "--set", setting)
    assert (code, err.count("\n")) == (2, 1)
    assert f"--set {setting.partition('=')[0]}: an audit compares" in err
