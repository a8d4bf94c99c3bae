"""The specification of a run: one frozen dataclass composed of the parts' own specs."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import tomli_w
from pydantic import TypeAdapter, ValidationError

from st_ray.errors import SpecError, unknown_name
from st_ray.learn.curriculum import check_beta
from st_ray.learn.job import TrainSpec
from st_ray.learn.placement import TIED
from st_ray.learn.presets import PRESETS, USUAL_EPOCHS
from st_ray.spectral.basis import BasisSpec
from st_ray.spectral.benchmarks import SCENES
from st_ray.spectral.files import replacing
from st_ray.spectral.patches import check_odd
from st_ray.spectral.scene import SceneSpec
from st_ray.spectral.split import NAMED, SplitSpec
from st_ray.spectral.tiles import TileSpec
from st_ray.storage import is_uri, lies, read_text

Option = bool | int | float | str

# What a run leaves in its directory for whoever repeats it.
RUN_FILE, CURRICULUM_FILE = "run.toml", "curriculum.toml"


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterSpec:
    """Where a run runs; of this, only sharding changes the result beyond rounding.

    Attributes:
        workers: Ray Train workers; 0 trains in this process without Ray; None takes one per GPU,
            or without GPUs two (one on a single-core machine).
        least_workers: How few of them may train while nodes are lost or still to come; None: it
            takes all, so a lost node is waited for.
        device: "auto" (CUDA if there is any), "cpu" or "cuda".
        threads: CPU threads a worker; 0 shares the machine's cores out evenly.
        max_failures: Worker deaths a run survives, each costing the epoch under way.
        placement: Where the projected tiles lie. "replicate": all of them with every worker, so
            that batches do not depend on the number of workers. "shard": each worker makes and
            holds its own, and a batch takes a fixed share from each. "auto": replicated where
            they fit, which is a quarter of the free memory, or of a node's object store.
    """

    workers: int | None = None
    least_workers: int | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = 0
    max_failures: int = 3
    placement: Literal["auto", "replicate", "shard"] = "auto"

    def __post_init__(self) -> None:
        for name in ("workers", "threads", "max_failures"):
            if (getattr(self, name) or 0) < 0:
                raise SpecError(f"cluster.{name}={getattr(self, name)}: expected 0 or more")
        if self.placement not in (known := ("auto", "replicate", "shard")):
            raise SpecError(unknown_name("cluster.placement", self.placement, known))
        least, most = self.least_workers, self.workers
        if least is not None and (least < 1 or (most is not None and least > most)):
            allowed = "1 or more" if most is None else f"1 to cluster.workers={most}"
            raise SpecError(f"cluster.least_workers={least}: expected {allowed}")
        if least is not None and self.placement == "shard":
            raise SpecError(f"cluster.least_workers={least} with cluster.placement=shard: {TIED}")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSpec:
    """All that decides a run.

    Attributes:
        scene: What to read.
        split: Which pixels train, validate and test.
        tiles: How the scene is cut.
        basis: Which pixels the spectral basis sees, and its whitening.
        backbone: A registered name or "package.module:function".
        backbone_options: Keyword arguments of the backbone's builder.
        curriculum: A preset or a .toml file.
        patch_size: B, the full patch, pixels on a side, odd.
        epochs: T0, the epochs of a full run; None takes what the backbone needs.
        beta: Share of T0 to train, in (0, 1]; None takes the curriculum's own.
        train: The optimisation.
        cluster: Where to run.
        patches: Folder (path or URI) that `st-ray prepare` wrote to; None projects the tiles.
        seed: Of split, initialisation, shuffles and dropout.
        map: Whether to predict the whole scene.
        out: Output directory, a path or URI (see `st_ray.storage`); None makes a new one under
            runs/.
    """

    scene: SceneSpec = field(default_factory=SceneSpec)
    split: SplitSpec = field(default_factory=SplitSpec)
    tiles: TileSpec = field(default_factory=TileSpec)
    basis: BasisSpec = field(default_factory=BasisSpec)
    backbone: str = "resnet2d"
    backbone_options: dict[str, Option] = field(default_factory=dict)
    curriculum: str = "default"
    patch_size: int = 11
    epochs: int | None = None
    beta: float | None = None
    train: TrainSpec = field(default_factory=TrainSpec)
    cluster: ClusterSpec = field(default_factory=ClusterSpec)
    patches: str | None = None
    seed: int = 0
    map: bool = True
    out: str | None = None

    def __post_init__(self) -> None:
        check_odd(self.patch_size)
        if self.epochs is not None and self.epochs < 1:
            raise SpecError(f"epochs={self.epochs}: expected at least 1")
        if self.seed < 0:
            raise SpecError(f"seed={self.seed}: expected 0 or more")
        if self.beta is not None:
            check_beta(self.beta)

    @property
    def full_epochs(self) -> int:
        """T0; the usual one where nothing was said."""
        return USUAL_EPOCHS if self.epochs is None else self.epochs


_ADAPTER = TypeAdapter(RunSpec)


def spec_from_table(table: Mapping[str, Any]) -> RunSpec:
    """A spec from nested dictionaries, such as a parsed TOML file.

    Raises:
        SpecError: A key is unknown or a value is not valid; says which.
    """
    _reject_unknown(table)
    try:
        return _ADAPTER.validate_python(dict(table))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SpecError(f"{where}={first['input']!r}: {first['msg'].lower()}") from None


def load_spec(path: Path | str) -> dict[str, Any]:
    """The nested table of a run file, at a path or URI.

    Raises:
        SpecError: The file is missing or not TOML.
    """
    try:
        return tomllib.loads(read_text(path))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SpecError(f"cannot read run file {path}: {error}") from None


def save_spec(spec: RunSpec, path: Path) -> None:
    """Write a run file that `load_spec` and `spec_from_table` read back equal."""
    with replacing(path) as file:
        tomli_w.dump(spec_to_table(spec), file)


def spec_to_table(spec: RunSpec) -> dict[str, Any]:
    """Nested dictionaries without the fields that are None (TOML has no null)."""
    return _without_none(asdict(spec))


def override(table: dict[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """Apply ``key.path=value`` settings; values are TOML, and a bare word is a string.

    Example: ``split.guard=7``, ``scene.ignore_classes=[9]``, ``scene.cube_key=cube``.

    Raises:
        SpecError: An assignment has no "=".
    """
    for assignment in assignments:
        key, sign, text = assignment.partition("=")
        if not sign or not key.strip():
            raise SpecError(f"--set {assignment!r}: expected key=value, such as split.guard=7")
        assign(table, key.strip(), _parse(text.strip()))
    return table


def assign(table: dict[str, Any], key: str, value: object) -> None:
    """Set ``table[a][b] = value`` for the key "a.b".

    Raises:
        SpecError: A part of the key is a value already, not a group.
    """
    *parents, leaf = key.split(".")
    for parent in parents:
        group: object = table.setdefault(parent, {})
        if not isinstance(group, dict):
            raise SpecError(f"cannot set {key}: {parent!r} is a value, not a group of settings")
        table = group
    table[leaf] = value


def fingerprint(spec: RunSpec, *more: object) -> str:
    """Hash of what decides the result: not where it runs, nor where it is written."""
    table = {key: value for key, value in asdict(spec).items() if key not in _NO_EFFECT}
    text = json.dumps([table, [repr(item) for item in more]], sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()


_NO_EFFECT = ("cluster", "out", "map")


def differences(one: RunSpec, other: RunSpec) -> tuple[str, ...]:
    """The settings that decide the result and differ, such as "split.guard"."""
    left, right = flatten(asdict(one)), flatten(asdict(other))
    return tuple(
        key
        for key in sorted(left.keys() | right.keys())
        if key.split(".")[0] not in _NO_EFFECT and left.get(key) != right.get(key)
    )


def anchor(spec: RunSpec) -> RunSpec:
    """The spec with the files it names given by absolute path, so that it works from anywhere."""
    scene, split = spec.scene, spec.split
    return replace(
        spec,
        curriculum=spec.curriculum if spec.curriculum in PRESETS else _absolute(spec.curriculum),
        scene=replace(
            scene,
            name=scene.name if scene.name in SCENES else _absolute(scene.name),
            labels=scene.labels and _absolute(scene.labels),
        ),
        patches=_absolute_folder(spec.patches),
        split=replace(
            split,
            kind=split.kind if split.kind in NAMED else _absolute(split.kind),
            test_path=split.test_path and _absolute(split.test_path),
            folder=_absolute_folder(split.folder),
        ),
    )


def _absolute_folder(folder: str | None) -> str | None:
    return folder if folder is None or is_uri(folder) else str(Path(folder).absolute())


def _absolute(text: str) -> str:
    path = Path(text).expanduser()
    return str(path.absolute()) if "*" in text or lies(path) else text


def flatten(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name, such as "split.guard"."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        inner = isinstance(value, Mapping)
        flat.update(flatten(value, f"{prefix}{key}.") if inner else {prefix + key: value})
    return flat


def _parse(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


_GROUPS: dict[str, type] = {
    "scene": SceneSpec,
    "split": SplitSpec,
    "tiles": TileSpec,
    "basis": BasisSpec,
    "train": TrainSpec,
    "cluster": ClusterSpec,
}


def _reject_unknown(table: Mapping[str, Any]) -> None:
    _reject_keys(table, RunSpec, "")
    for key, group in _GROUPS.items():
        inner = table.get(key, {})
        if not isinstance(inner, Mapping):
            raise SpecError(f"{key}={inner!r}: expected a group of settings")
        _reject_keys(inner, group, f"{key}.")


def _reject_keys(table: Mapping[str, Any], kind: type, prefix: str) -> None:
    known = {prefix + item.name for item in fields(kind)}
    for key in table:
        if prefix + key not in known:
            raise SpecError(unknown_name("setting", prefix + key, known))


def _without_none(table: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_none(value) if isinstance(value, Mapping) else value
        for key, value in table.items()
        if value is not None
    }
