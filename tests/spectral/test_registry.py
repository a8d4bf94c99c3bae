"""Registered scenes: found in a package, in the cache or on the network, always checked."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pooch
import pytest

from st_ray.errors import SceneError
from st_ray.spectral.benchmarks import SCENES, RemoteFile
from st_ray.spectral.registry import locate, recognise, scenes
from st_ray.spectral.scene import SceneSpec, open_scene

# https://www.ehu.eus/ccwintco/index.php/Hyperspectral_Remote_Sensing_Scenes
INDIAN_PINES = [46, 1428, 830, 237, 483, 730, 28, 478, 20, 972, 2455, 593, 205, 1265, 386, 93]


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ST_RAY_CACHE", str(tmp_path))
    return tmp_path


def test_indian_pines_has_its_published_shape_and_counts() -> None:
    scene = open_scene(SceneSpec())
    assert scene.name == "indian_pines"
    assert scene.cube.shape == (145, 145, 200)
    assert [int((scene.labels == index).sum()) for index in scene.classes] == INDIAN_PINES
    assert scene.class_names[9] == "Oats"
    assert scene.cube.read(slice(0, 1), slice(0, 1))[0, 0, 0] == 3172


def test_indian_pines_is_read_without_importing_tensorly_torch_or_ray() -> None:
    program = (
        "import sys; from st_ray.spectral.scene import SceneSpec, open_scene; "
        "open_scene(SceneSpec()); print({'tensorly', 'torch', 'ray', 'pooch'} & set(sys.modules))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "set()"


def test_unknown_scene_lists_the_known_ones() -> None:
    with pytest.raises(SceneError) as caught:
        open_scene(SceneSpec(name="salinas_b"))
    assert "did you mean 'salinas_a'?" in str(caught.value)
    assert "indian_pines" in str(caught.value)


@pytest.mark.parametrize("name", sorted(SCENES))
def test_every_entry_is_complete(name: str) -> None:
    scene = SCENES[name]
    assert all(0 <= band < scene.shape[2] for band in scene.false_colour)
    assert len(set(scene.class_names.values())) == len(scene.class_names)
    assert min(scene.class_names) >= 1
    for file in scene.files or ():
        assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)


def test_addresses_are_those_of_the_collection() -> None:
    # Spelt out here; the registry derives them from the file names.
    uploads = "https://www.ehu.eus/ccwintco/uploads"
    expected = {
        "salinas": (f"{uploads}/a/a3/Salinas_corrected.mat", f"{uploads}/f/fa/Salinas_gt.mat"),
        "salinas_a": (f"{uploads}/1/1a/SalinasA_corrected.mat", f"{uploads}/a/aa/SalinasA_gt.mat"),
        "pavia_university": (f"{uploads}/e/ee/PaviaU.mat", f"{uploads}/5/50/PaviaU_gt.mat"),
        "pavia_centre": (f"{uploads}/e/e3/Pavia.mat", f"{uploads}/5/53/Pavia_gt.mat"),
        "ksc": (f"{uploads}/2/26/KSC.mat", f"{uploads}/a/a6/KSC_gt.mat"),
        "botswana": (f"{uploads}/7/72/Botswana.mat", f"{uploads}/5/58/Botswana_gt.mat"),
    }
    found = {
        name: tuple(file.address for file in scene.files)
        for name, scene in SCENES.items()
        if scene.files
    }
    assert found == expected


def test_checksums_are_those_of_the_published_files(shared_data: Path) -> None:
    files = SCENES["salinas_a"].files
    assert files is not None
    for file in files:
        data = (shared_data / "salinas_a" / file.name).read_bytes()
        assert hashlib.sha256(data).hexdigest() == file.sha256
    own = recognise(shared_data / "indian_pines_mat" / "Indian_pines_gt.mat")
    assert own is SCENES["indian_pines"]


def test_offline_the_error_names_files_addresses_and_folder(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def refuse(address: str, **_: object) -> str:
        asked.append(address)
        raise ConnectionError("no route to host")

    monkeypatch.setattr(pooch, "retrieve", refuse)
    with pytest.raises(SceneError) as caught:
        open_scene(SceneSpec(name="salinas_a"))
    message = str(caught.value)
    files = SCENES["salinas_a"].files
    assert files is not None
    for file in files:
        assert f"{file.name} from {file.address}" in message
    assert str(empty_cache) in message
    assert "--labels" in message
    assert "\n" not in message
    # The collection first, then the copy the Internet Archive keeps of it.
    assert asked == [files[0].address, f"https://web.archive.org/web/2id_/{files[0].address}"]


def test_a_download_is_checked_against_its_sum_and_goes_to_the_cache(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {}

    def retrieve(address: str, **options: object) -> str:
        asked[options["fname"]] = options
        return str(Path(str(options["path"])) / str(options["fname"]))

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    files = SCENES["ksc"].files
    assert files is not None
    assert locate("ksc") == (empty_cache / "KSC.mat", empty_cache / "KSC_gt.mat")
    for file in files:
        assert asked[file.name]["known_hash"] == f"sha256:{file.sha256}"


def test_files_put_into_the_cache_by_hand_are_used(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch, shared_data: Path
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("a test must not reach the network")

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", refuse)
    for name in ("SalinasA_corrected.mat", "SalinasA_gt.mat"):
        (empty_cache / name).write_bytes((shared_data / "salinas_a" / name).read_bytes())
    scene = open_scene(SceneSpec(name="salinas_a"))
    assert scene.cube.shape == SCENES["salinas_a"].shape
    assert scene.class_names == SCENES["salinas_a"].class_names
    assert {row.name for row in scenes() if row.local} == {"indian_pines", "salinas_a"}


def test_a_damaged_file_in_the_cache_is_not_used(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", refuse)
    (empty_cache / "SalinasA_corrected.mat").write_bytes(b"half a download")
    with pytest.raises(SceneError, match=r"download SalinasA_corrected\.mat from"):
        open_scene(SceneSpec(name="salinas_a"))


def test_other_labels_take_no_names_from_the_registry(tmp_path: Path) -> None:
    labels = np.zeros((145, 145), dtype=np.uint8)
    labels[0, 0], labels[0, 1] = 1, 99
    np.save(tmp_path / "mine.npy", labels)
    scene = open_scene(SceneSpec(labels=str(tmp_path / "mine.npy")))
    assert scene.class_names == {1: "class 1", 99: "class 99"}


def test_listing_names_size_classes_and_place(empty_cache: Path) -> None:
    rows = {row.name: row for row in scenes()}
    assert list(rows) == sorted(SCENES)
    assert rows["indian_pines"].local
    assert rows["indian_pines"].state == "yes"
    assert rows["salinas_a"].classes == 6
    assert rows["salinas_a"].shape == (83, 86, 204)
    assert rows["salinas_a"].state == "to download"
    assert RemoteFile("PaviaU.mat", "").address == rows["pavia_university"].source
