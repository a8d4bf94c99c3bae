"""What a run writes: whole or not at all, and a failure is one line."""

from __future__ import annotations

import errno

import numpy as np
import pytest
from safetensors import SafetensorError

from st_ray.errors import OutputError
from st_ray.learn.bundle import ModelCard, save_bundle
from st_ray.learn.drafts import drafting
from st_ray.spectral.basis import SpectralBasis
from tests.small_jobs import STAGES, Stop, job, run, stop_after


def test_litter_of_killed_writers_goes_with_the_next_checkpoint(stack, tmp_path) -> None:
    for name in (".draft_1234", ".draft_outcome"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights.safetensors").write_bytes(b"half")
    with pytest.raises(Stop):
        run(job(tmp_path), stack, stop_after(1))
    assert [path.name for path in tmp_path.iterdir()] == ["epoch_00001"]
    run(job(tmp_path), stack)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "epoch_00003",
        "epoch_00004",
        "outcome",
    ]


def fail_with(error: Exception):
    def write(*unused, **also_unused):
        raise error

    return write


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ("st_ray.learn.checkpoint.save_model", SafetensorError("I/O error: No space left")),
        ("pathlib.Path.write_bytes", FULL),
        ("st_ray.learn.outcome.save_model", SafetensorError("I/O error: No space left")),
    ],
)
def test_a_full_disk_is_one_line_and_leaves_no_draft(
    stack, tmp_path, monkeypatch, place, error
) -> None:
    monkeypatch.setattr(place, fail_with(error))
    with pytest.raises(OutputError, match=rf"^cannot write {tmp_path}.*: .*No space left.*;.*\Z"):
        run(job(tmp_path, stages=STAGES[:1]), stack)
    assert not list(tmp_path.glob(".draft_*"))


def test_a_folder_that_is_a_file_is_one_line(stack, tmp_path) -> None:
    (tmp_path / "run").write_text("not a folder")
    with pytest.raises(OutputError, match=r"cannot write .*epoch_00001: Not a directory"):
        run(job(tmp_path / "run"), stack)


def test_two_writers_share_no_draft(tmp_path) -> None:
    with drafting(tmp_path / "a") as one:
        assert one.is_dir()
    with drafting(tmp_path / "a") as other:
        assert other != one
        (other / "new").touch()
    assert (tmp_path / "a" / "new").exists()


def test_a_bundle_that_cannot_be_written_is_one_line(tmp_path) -> None:
    basis = SpectralBasis(
        mean_B=np.zeros(2),
        axes_KB=np.eye(2),
        variances_K=np.ones(2),
        total_variance=2.0,
        whitening=0.5,
        count=9,
    )
    card = ModelCard(
        backbone="vit",
        backbone_options={},
        components=2,
        patch_size=3,
        classes=(1, 2),
        class_names=("a", "b"),
        file_bands=2,
        bands=(0, 1),
        curriculum="none",
        fingerprint="one",
    )
    weights = tmp_path / "weights"
    weights.write_bytes(b"")
    (tmp_path / "file").touch()
    (tmp_path / "model" / "basis.safetensors").mkdir(parents=True)
    for folder in (tmp_path / "file", tmp_path / "model"):
        with pytest.raises(OutputError, match=f"^cannot write {folder}: "):
            save_bundle(folder, weights, basis, card)
