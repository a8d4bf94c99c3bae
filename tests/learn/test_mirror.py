"""Training whose folder is a copy of a store: nothing of a node is needed to go on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from st_ray.errors import OutputError
from st_ray.learn.mirror import bring
from st_ray.learn.outcome import Outcome
from st_ray.storage import join, push
from tests.small_jobs import Stop, job, run, stop_after


def test_a_restarted_worker_goes_on_from_the_store(s3, stack, tmp_path) -> None:
    whole = run(job(tmp_path / "whole"), stack)
    one = job(tmp_path / "node1", storage=s3("nodes"))
    with pytest.raises(Stop):
        run(one, stack, stop_after(3))
    heard = []
    outcome = run(replace(one, folder=tmp_path / "node2"), stack, heard.append)
    assert [event["row"].epoch for event in heard if event["kind"] == "epoch"] == [4]
    assert outcome.test.counts_CC.tolist() == whole.test.counts_CC.tolist()
    heard.clear()
    run(replace(one, folder=tmp_path / "node3"), stack, heard.append)
    assert heard == []
    assert Outcome.exists(tmp_path / "node3", "one")
    assert [path.name for path in (tmp_path / "node3").iterdir()] == ["outcome"]


def test_a_checkpoint_cut_off_on_its_way_counts_for_nothing(s3, stack, tmp_path) -> None:
    one = job(tmp_path / "node1", storage=s3("torn"))
    with pytest.raises(Stop):
        run(one, stack, stop_after(3))
    uri = join(s3("torn"), "epoch_00004")
    push(tmp_path / "node1" / "epoch_00003" / "optimizer.pt", join(uri, "optimizer.pt"))
    two = replace(one, folder=tmp_path / "node2")
    bring(two)
    assert [path.name for path in two.folder.iterdir()] == ["epoch_00003"]
    with pytest.raises(OutputError, match="other settings"):
        run(replace(one, folder=tmp_path / "node3", fingerprint="another"), stack)
