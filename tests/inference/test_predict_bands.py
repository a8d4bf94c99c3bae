"""Which scenes a bundle maps: bands, wavelengths, and what is refused in one line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from st_ray.errors import ModelError, OutputError, SceneError
from st_ray.inference.run import predict_maps
from st_ray.spectral.scene import SceneSpec

WAVES = tuple(500.0 + 10 * band for band in range(12))


def test_bands_must_be_as_many_as_in_training(asked, scene_files, tmp_path) -> None:
    np.save(tmp_path / "few.npy", scene_files.values[:, :, :9])
    few = replace(asked, scene=SceneSpec(name=str(tmp_path / "few.npy")))
    for resample in (False, True):
        with pytest.raises(SceneError, match=r"few\.npy has 9 bands, .*of 12.*no wavelengths"):
            predict_maps(replace(few, scene=replace(few.scene, resample=resample)))
    assert list(tmp_path.iterdir()) == [tmp_path / "few.npy"]


@pytest.fixture
def taught(asked, tmp_path):
    """The model, had its training scene told wavelengths."""
    import shutil

    shutil.copytree(Path(asked.model) / "model", tmp_path / "taught")
    card = tmp_path / "taught" / "model.json"
    card.write_text(json.dumps({**json.loads(card.read_text()), "wavelengths": WAVES}))
    return replace(asked, model=str(tmp_path / "taught"))


def test_wavelengths_must_match_or_bands_are_resampled_when_asked(
    taught, told, scene_files, in_memory, tmp_path
) -> None:
    shifted = tuple(wave + 8 for wave in WAVES)
    told(wavelengths=shifted)
    with pytest.raises(SceneError, match=r"band 0 .* lies at 508 nm, .*500 nm; pass --resample"):
        predict_maps(taught)
    resampled = replace(taught, scene=replace(taught.scene, resample=True))
    (result,) = predict_maps(resampled)
    assert "its bands were interpolated" in result.notes[0]
    assert (np.load(result.place) == in_memory).mean() > 0.8

    finer = tuple(np.arange(500.0, 611.0, 5.0))  # the same spectra, seen by a finer sensor
    values = scene_files.values.astype(np.float32)
    between = (values[:, :, 1:] + values[:, :, :-1]) / 2
    fine = np.empty((30, 26, 23), np.float32)
    fine[:, :, ::2], fine[:, :, 1::2] = values, between
    np.save(tmp_path / "fine.npy", fine)
    told(wavelengths=finer)
    (result,) = predict_maps(
        replace(
            taught,
            scene=SceneSpec(name=str(tmp_path / "fine.npy"), resample=True),
            out=str(tmp_path / "fine_map.npy"),
        )
    )
    assert np.array_equal(np.load(result.place), in_memory)

    told(wavelengths=tuple(wave + 900 for wave in WAVES))
    with pytest.raises(SceneError, match="cannot be resampled"):
        predict_maps(replace(resampled, out=str(tmp_path / "far.npy")))


def test_what_could_not_be_checked_or_looks_wrong_is_noted(taught, told) -> None:
    (result,) = predict_maps(taught)
    assert "tells no wavelengths" in result.notes[0]
    told(wavelengths=tuple(wave + 4 for wave in WAVES), bad_bands=(3, 5))  # within half a band
    (result,) = predict_maps(replace(taught, overwrite=True))
    assert result.notes == (f"{taught.scene.name} marks bands as bad that the model uses: 3, 5",)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"out": "map.jpg"}, OutputError, r"ends in one of \.tif, "),
        ({"out": "map"}, OutputError, "ends in one of"),
        ({"out": "map.png", "confidence": True}, OutputError, "class ids up to 255 and nothing"),
        ({"out": "no/such/folder/map.npy"}, OutputError, "cannot write"),
        ({"model": "nowhere"}, ModelError, "not a model bundle"),
        ({"scene": SceneSpec(name="nowhere.npy")}, SceneError, "no such scene file: nowhere.npy"),
        ({"backbone": "os:nothing"}, ModelError, "nothing"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    asked, changes, error, message, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "no").touch()
    with pytest.raises(error, match=message) as caught:
        predict_maps(replace(asked, **changes))
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["no"]
