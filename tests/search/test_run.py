"""Whole searches without Ray on the small scene."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from st_ray import RunSpec, run_curriculum
from st_ray.config import load_spec, spec_from_table
from st_ray.errors import SpecError, TrainingError
from st_ray.learn.curriculum import load_curriculum
from st_ray.recipe import fill_in
from st_ray.search import runners
from st_ray.search.run import run_search
from st_ray.search.schedule import Schedule
from st_ray.search.spec import SearchSpec
from st_ray.storage import join, names


@pytest.fixture
def search(spec: RunSpec, tmp_path: Path) -> SearchSpec:
    base = replace(spec, curriculum="default", train=replace(spec.train, learning_rate=None))
    return SearchSpec(
        base=base,
        trials=3,
        components=(4, 8),
        patch_sizes=(3, 5),
        whitenings=(0.5,),
        finalists=1,
        repeats=1,
        confirm=0,
        out=str(tmp_path / "search"),
    )


def quiet(text: str) -> None:
    del text


@pytest.mark.parametrize(
    ("goal", "method"),
    [
        ("accuracy", "tpe"),
        ("accuracy", "random"),
        ("accuracy", "forward"),
        ("cost", "backward"),
        ("cost", "grid"),
        ("front", "nsga2"),
    ],
)
def test_every_method_ends_in_a_file_that_train_takes(
    search: SearchSpec, goal: str, method: str
) -> None:
    table = run_search(replace(search, goal=goal, method=method, stages=2), quiet)
    assert table["complete"]
    assert json.loads((Path(search.out) / "search.json").read_text()) == table
    assert (Path(search.out) / "search.html").stat().st_size > 20_000
    assert table["trials"][0]["schedule"] == table["control"]
    assert {row["state"] for row in table["trials"]} == {"done"}
    winner = Schedule.of_table(table["winner"])
    assert winner.cost(lambda *size: _pace(table, *size)) == pytest.approx(
        table["winner_cost"] * table["unit_seconds"] / _samples(table)
    )
    found = load_curriculum(Path(table["found"]))
    assert (found.learning_rate, found.whitening) == (winner.learning_rate, winner.whitening)
    replayed = fill_in(replace(search.base, curriculum=table["found"]))
    assert replayed.train.learning_rate == winner.learning_rate
    assert replayed.basis.whitening == winner.whitening
    asked = fill_in(
        replace(
            replayed, train=replace(replayed.train, learning_rate=0.5), curriculum=table["found"]
        )
    )
    assert asked.train.learning_rate == 0.5  # what the user asks for wins


def _pace(table: dict, components: int, patch_size: int) -> float:
    return {(k, side): seconds for k, side, seconds in table["paces"]}[components, patch_size]


def _samples(table: dict) -> float:
    control = Schedule.of_table(table["control"])
    return table["unit_seconds"] / control.cost(lambda *size: _pace(table, *size))


def test_prefixes_are_shared_unless_told_otherwise(search: SearchSpec, tmp_path: Path) -> None:
    forward = replace(search, method="forward", stages=3)
    shared = run_search(forward, quiet)
    alone = run_search(replace(forward, share=False, out=str(tmp_path / "alone")), quiet)
    assert shared["compute"]["saved_share"] > 0.1
    assert alone["compute"]["saved_share"] == 0.0
    assert len([row for row in shared["trials"] if row["probe"]]) > 3


def test_a_search_goes_on_where_it_was_and_confirms(search: SearchSpec, monkeypatch) -> None:
    trained = []
    real = runners.run_trial

    def killed(trial, *rest) -> None:
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(trial.schedule)
        real(trial, *rest)

    monkeypatch.setattr(runners, "run_trial", killed)
    with pytest.raises(KeyboardInterrupt):
        run_search(search, quiet)
    monkeypatch.setattr(runners, "run_trial", lambda *all_of: (trained.append(0), real(*all_of)))
    table = run_search(search, quiet)
    assert len({json.dumps(row["schedule"]) + str(row["again"]) for row in table["trials"]}) == len(
        trained
    )


def test_a_search_in_a_store_goes_on_from_it(search: SearchSpec, s3, monkeypatch) -> None:
    place = s3("search")
    trained = []
    real = runners.run_trial

    def killed(trial, *rest) -> None:
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(trial)
        real(trial, *rest)

    monkeypatch.setattr(runners, "run_trial", killed)
    with pytest.raises(KeyboardInterrupt):
        run_search(replace(search, out=place), quiet)
    monkeypatch.setattr(runners, "run_trial", real)
    table = run_search(replace(search, out=place), quiet)
    assert table["found"] == join(place, "found.toml")
    kept = {"cells.jsonl", "found.toml", "run.toml", "search.html", "search.json"}
    assert set(names(place)) == kept  # no trial's checkpoints
    again = fill_in(replace(search.base, curriculum=table["found"]))
    assert again.train.learning_rate == table["winner"]["learning_rate"]


def test_the_winner_meets_default_on_fresh_seeds(search: SearchSpec) -> None:
    # A budget that default exceeds: another schedule must win.
    table = run_search(replace(search, confirm=2, budget=0.6), quiet)
    compared = table["confirmation"]
    assert not table["winner_is_default"]
    assert compared["seeds"] == [2, 3]  # after those of the finals
    assert compared["failed"] == 0
    assert 0.0 < compared["winner"]["oa"]["median"] <= 1.0
    assert compared["oa_interval"][0] <= compared["oa_difference"] <= compared["oa_interval"][1]


def test_a_trial_that_fails_is_a_row_and_default_must_not(search: SearchSpec, monkeypatch) -> None:
    real, count = runners.run_trial, []

    def broken(number: int):
        def run(trial, ground, train, report) -> None:
            count.append(trial)
            if trial.number == number:
                report({"state": "failed", "error": "no such luck", "compute": 0.0})
            else:
                real(trial, ground, train, report)

        return run

    monkeypatch.setattr(runners, "run_trial", broken(2))
    table = run_search(search, quiet)
    assert [row["state"] for row in table["trials"]].count("failed") == 1
    assert "no such luck" in (Path(search.out) / "search.html").read_text()
    monkeypatch.setattr(runners, "run_trial", broken(0))
    with pytest.raises(TrainingError, match="'default' could not be trained: no such luck"):
        run_search(replace(search, out=search.out + "-2"), quiet)


def test_without_finals_the_best_trial_wins(search: SearchSpec) -> None:
    table = run_search(replace(search, repeats=0, budget=0.6), quiet)
    within = [r for r in table["trials"] if r["cost"] <= 0.606 * table["unit_seconds"]]
    best = max(row["oa"] for row in within)
    assert not table["winner_is_default"]
    assert any(r["schedule"] == table["winner"] and r["oa"] == best for r in within)


def test_the_cost_goal_draws_cheap_schedules_too(search: SearchSpec) -> None:
    cheap = replace(search, goal="cost", floor=0.01, trials=8, method="random", repeats=0)
    table = run_search(cheap, quiet)
    costs = [row["cost"] for row in table["trials"]]
    assert min(costs) < 0.7 * table["unit_seconds"]
    assert table["winner_cost"] == pytest.approx(min(costs) / table["unit_seconds"])


def test_what_was_found_is_replayed_by_its_run_file(search: SearchSpec, tmp_path: Path) -> None:
    table = run_search(replace(search, budget=0.6), quiet)
    spec = spec_from_table(load_spec(Path(table["replay"])))
    cluster = replace(spec.cluster, workers=0)
    report = run_curriculum(replace(spec, cluster=cluster, out=str(tmp_path / "again")))
    winner = Schedule.of_table(table["winner"])
    assert [(s.components, s.patch_size, s.epochs) for s in report.stages] == [
        (leg.components, leg.patch_size, leg.epochs) for leg in winner.legs
    ]


def test_no_trial_is_begun_after_the_time(search: SearchSpec) -> None:
    with pytest.raises(TrainingError, match="the time was over"):
        run_search(replace(search, max_hours=1e-9), quiet)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"goal": "speed"}, "unknown goal"),
        ({"method": "annealing"}, "unknown method"),
        ({"score": "f1"}, "unknown score"),
        ({"budget": 0.0}, "--budget 0"),
        ({"floor": 0.9}, "--floor belongs to --goal cost"),
        ({"goal": "cost", "floor": 98.0}, "share in"),
        ({"trials": 0}, "--trials 0"),
        ({"early": True}, "on Ray Tune"),
        ({"goal": "front", "early": True}, "--goal accuracy"),
    ],
)
def test_a_wrong_wish_is_refused_at_once(search: SearchSpec, change: dict, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        replace(search, **change)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"components": (4, 40)}, "12 usable bands"),
        ({"patch_sizes": (3, 9)}, "larger than the full patch of 5"),
        ({"patch_sizes": (4,)}, "odd"),
        ({"budget": 1e-6}, "raise --budget"),
    ],
)
def test_ladders_must_fit_the_scene(search: SearchSpec, change: dict, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        run_search(replace(search, **change), quiet)


def test_the_command_says_what_it_found(st_ray, scene_files) -> None:
    code, out, err = st_ray(
        *("search", scene_files.cube, "--labels", scene_files.labels, "--workers", 0),
        *("--trials", 1, "--confirm", 0, "--repeats", 0, "--components", "4,8"),
        *("--patches", "3,5", "--whitenings", 0.5, "--set", "patch_size=5"),
        *("--set", "epochs=8", "--set", "backbone_options.width=8", "--out", "found"),
    )  # fmt: skip
    assert code == 0, err
    assert "trial   1" in out
    assert f"--config {Path('found/run.toml').absolute()}" in out
    assert Path("found/found.toml").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--components", "many"), "--components 'many'"),
        (("--components", "4.5"), "whole numbers"),
        (("--method", "annealing"), "unknown method"),
        (("--goal", "speed"), "unknown goal"),
        (("nowhere.mat",), "nowhere.mat"),
    ],
)
def test_wrong_words_end_in_one_line(st_ray, words, said: str) -> None:
    code, _, err = st_ray("search", "--workers", 0, *words)
    assert code == 2
    assert said in err
    assert len(err.strip().splitlines()) == 1
