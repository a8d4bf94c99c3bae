"""Random and spoilt files: every reader gives what it should or one line, never anything else."""

from __future__ import annotations

import gc
import io
import itertools
import json
import resource
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat

from st_ray.config import RunSpec, load_spec, save_spec, spec_from_table, spec_to_table
from st_ray.errors import StRayError
from st_ray.learn.curriculum import Curriculum, load_curriculum
from st_ray.spectral.scene import SceneSpec, open_scene
from tests.robustness.conftest import cube, labels, saved
from tests.robustness.test_formats import HEADER, SQUARE, features, geotiff

# Cases of each format; a test of one takes some seconds at most.
CASES = {
    **{"npy": 200, "npz": 150, "mat": 120, "hdr": 250, "dat": 40, "tif": 100, "h5": 80, "nc": 60},
    **{"gt.png": 60, "gt.npy": 100, "gt.geojson": 60, "csv": 200, "toml": 150},
}
SPECS, RUN_FILES, CURRICULA = 300, 300, 200
ROOM = 3 << 30  # bytes that a reader of a file of some kilobytes may ask for

Made = TypeVar("Made")
numbers = itertools.count()


def fuzz(cases: int) -> settings:
    return settings(
        max_examples=cases,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@st.composite
def spoilt(draw: st.DrawFn, whole: bytes) -> bytes:
    """A file with some bytes changed, zeroed, doubled or left out, or cut short; or noise."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=400))
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 5))):
        # Heads matter most: half of the changes are in the first bytes.
        reach = min(len(content), 300) if draw(st.booleans()) else len(content)
        at = draw(st.integers(0, max(0, reach - 1)))
        size = draw(st.integers(1, 12))
        change = draw(st.sampled_from(("set", "zero", "drop", "double", "cut")))
        if change == "set":
            content[at : at + size] = draw(st.binary(min_size=size, max_size=size))
        elif change == "zero":
            content[at : at + size] = bytes(size)
        elif change == "drop":
            del content[at : at + size]
        elif change == "double":
            content[at:at] = content[at : at + 10 * size]
        elif draw(st.booleans()):
            del content[at:]
    return bytes(content)


@contextmanager
def little_memory() -> Iterator[None]:
    """What asks for much more memory than there is now ends in an error."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def or_one_line(make: Callable[..., Made], *given: Any) -> Made | None:
    """What a function makes; None if it says in one line why it does not."""
    told = ""
    try:
        return make(*given)
    except StRayError as error:
        told = str(error)
    assert len(told.splitlines()) == 1
    return None


def opens(name: Path, gt: Path | None) -> None:
    """Opening a scene and reading a corner of it gives a scene or one line."""
    spec = SceneSpec(name=str(name), labels=gt and str(gt))
    with little_memory(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # GDAL's and SciPy's, of files that they then refuse
        scene = or_one_line(open_scene, spec)
        if scene is not None:
            window = or_one_line(scene.cube.read, slice(0, 3), slice(0, 3))
            assert scene.labels.shape == scene.cube.shape[:2]
            assert window is None or window.dtype == np.float32


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good file of every format."""
    path = tmp_path_factory.mktemp("fuzz")
    saved(path / "cube.npy", cube())
    saved(path / "gt.npy", labels())
    np.savez(path / "cube.npz", cube=cube(), gt=labels())
    savemat(path / "cube.mat", {"cube": cube(), "gt": labels(), "note": "text"})
    (path / "cube.hdr").write_text(HEADER + "wavelength = {400, 450, 500, 550, 600, 650}\n")
    (path / "cube.dat").write_bytes(cube().tobytes())
    geotiff(path / "cube.tif", cube())
    Image.fromarray(labels().astype(np.uint8)).save(path / "gt.png")
    text = json.dumps(features("Polygon", SQUARE, label=1))
    (path / "gt.geojson").write_text(text)
    with pytest.importorskip("h5py").File(path / "cube.h5", "w") as file:
        file["cube"], file["gt"] = cube(), labels()
    data = pytest.importorskip("xarray").DataArray(cube(), dims=("y", "x", "band"), name="cube")
    data.to_netcdf(path / "cube.nc", engine="h5netcdf")
    (path / "cube.csv").write_text("image,labels,part\ncube.npy,gt.npy,train\ncube.mat,3,test\n")
    rows = [{"image": "cube.npy", "labels": "gt.npy"}, {"image": "cube.mat", "labels": 3}]
    (path / "cube.toml").write_bytes(tomli_w.dumps({"scene": rows}).encode())
    return path


# h5netcdf complains once more of a file that it has opened by half, when that is cleared away.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", CASES)
def test_a_spoilt_scene_is_a_scene_or_one_line(folder: Path, kind: str) -> None:
    good = folder / (kind if kind.startswith("gt.") else f"cube.{kind}")
    whole = good.read_bytes()

    @fuzz(CASES[kind])
    @given(spoilt(whole))
    def check(content: bytes) -> None:
        number = next(numbers)
        path = folder / f"{number}{good.suffix}"
        path.write_bytes(content)
        beside = path.with_suffix({".hdr": ".dat", ".dat": ".hdr"}.get(good.suffix, ".none"))
        if good.suffix in (".hdr", ".dat"):
            beside.write_bytes((folder / f"cube{beside.suffix}").read_bytes())
        if kind.startswith("gt."):
            opens(folder / ("cube.tif" if kind == "gt.geojson" else "cube.npy"), path)
        else:
            opens(path, None if kind in ("csv", "toml") else folder / "gt.npy")
        path.unlink()
        beside.unlink(missing_ok=True)

    check()
    gc.collect()


def settings_of(table: Any, prefix: str = "") -> list[str]:
    """All settings of a run by dotted name."""
    names = []
    for item in fields(table):
        value = getattr(table, item.name)
        inner = hasattr(value, "__dataclass_fields__")
        names += settings_of(value, f"{prefix}{item.name}.") if inner else [prefix + item.name]
    return names


KEYS = settings_of(RunSpec())
plain = st.one_of(
    st.integers(-3, 99),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        (None, True, 2**70, -(2**70), 0.5, "auto", "disjoint", "scenes", "cpu", "train")
    ),
    st.dates(),
)
values = plain | st.lists(plain, max_size=3) | st.dictionaries(st.text(max_size=4), plain)


@fuzz(SPECS)
@given(st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=8), values, max_size=4))
def test_any_table_is_a_spec_or_one_line(flat: dict[str, Any]) -> None:
    table: dict[str, Any] = {}
    for name, value in flat.items():
        group, _, leaf = name.rpartition(".")
        inner = table.setdefault(group, {}) if group else table
        if isinstance(inner, dict):
            inner[leaf] = value
    spec = or_one_line(spec_from_table, table)
    if spec is not None:
        again = spec_from_table(spec_to_table(spec))
        assert repr(again) == repr(spec)  # NaN equals nothing, but reads the same


def good_run_file() -> bytes:
    buffer = io.BytesIO()
    tomli_w.dump(spec_to_table(RunSpec()), buffer)
    return buffer.getvalue()


@fuzz(RUN_FILES)
@given(content=spoilt(good_run_file()))
def test_a_spoilt_run_file_is_a_spec_or_one_line(folder: Path, content: bytes) -> None:
    path = folder / f"{next(numbers)}.toml"
    path.write_bytes(content)
    table = or_one_line(load_spec, path)
    spec = None if table is None else or_one_line(spec_from_table, table)
    if spec is not None:
        save_spec(spec, path)
        assert repr(spec_from_table(load_spec(path))) == repr(spec)
    path.unlink()


CURRICULUM = b"""name = "mine"
beta = 0.3
axis = "components"
learning_rate = 0.001
[[stage]]
components = 30
patch_size = 5
share = 0.6
[[stage]]
patch_size = 11
batch_size = 32
"""


@fuzz(CURRICULA)
@given(content=spoilt(CURRICULUM))
def test_a_spoilt_curriculum_is_one_or_one_line(folder: Path, content: bytes) -> None:
    path = folder / f"{next(numbers)}.toml"
    path.write_bytes(content)
    curriculum = or_one_line(load_curriculum, path)
    assert curriculum is None or isinstance(curriculum, Curriculum)
    path.unlink()
