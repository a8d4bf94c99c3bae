"""Finding registered scenes: in an installed package, in the cache, or on the network."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from st_ray.errors import SceneError
from st_ray.spectral.benchmarks import SCENES, RegisteredScene, RemoteFile
from st_ray.spectral.files import cache_root

_ARCHIVE = "https://web.archive.org/web/2id_/"
_LARGEST_GROUND_TRUTH = 1 << 20  # bytes; the published ones are smaller by far
_AGENT = "st_ray (+https://pypi.org/project/st_ray)"


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneListing:
    """One line of ``st-ray scenes``.

    Attributes:
        name: What to type.
        title: Name in words.
        shape: (H, W, B).
        classes: Number of classes.
        source: Where the files come from.
        local: Whether the files are on this machine.
    """

    name: str
    title: str
    shape: tuple[int, int, int]
    classes: int
    source: str
    local: bool

    @property
    def state(self) -> str:
        """Whether the files are here, in words."""
        return "yes" if self.local else "to download"


def scenes() -> tuple[SceneListing, ...]:
    """The registered scenes, by name; looks at the disk, never at the network."""
    return tuple(
        SceneListing(
            name=name,
            title=scene.title,
            shape=scene.shape,
            classes=len(scene.class_names),
            source="PyPI's tensorly" if scene.files is None else scene.files[0].address,
            local=all(path.is_file() for path in _places(name)),
        )
        for name, scene in sorted(SCENES.items())
    )


def locate(name: str) -> tuple[Path, Path]:
    """Cube and ground-truth files of a registered scene, downloaded if they are not here.

    Raises:
        SceneError: A file is neither here nor to be had; says where to get it and put it.
    """
    files = SCENES[name].files
    if files is None:
        cube, labels = _places(name)
        if not (cube.is_file() and labels.is_file()):
            raise SceneError(
                f"scene {name!r} needs the data files of the tensorly package, and {cube} is not "
                "there; run: pip install --force-reinstall tensorly"
            )
        return cube, labels
    try:
        return _fetch(files[0]), _fetch(files[1])
    except (OSError, ValueError) as problem:
        missing = [file for file in files if not _is_whole(file)] or files
        listing = " and ".join(f"{file.name} from {file.address}" for file in missing)
        raise SceneError(
            f"scene {name!r} could not be downloaded ({type(problem).__name__}); download "
            f"{listing}, unchanged, into {cache_root()}, or pass files by path: "
            f"st-ray train {files[0].name} --labels {files[1].name}"
        ) from None


def recognise(labels: Path) -> RegisteredScene | None:
    """The registered scene that a ground-truth file belongs to, by its bytes; or None."""
    if labels.stat().st_size > _LARGEST_GROUND_TRUTH:
        return None
    digest = hashlib.sha256(labels.read_bytes()).hexdigest()
    matches = [scene for scene in SCENES.values() if scene.labels_sha256 == digest]
    return matches[0] if matches else None


def _places(name: str) -> tuple[Path, Path]:
    files = SCENES[name].files
    if files is not None:
        return cache_root() / files[0].name, cache_root() / files[1].name
    # Found without importing: tensorly itself is not needed, and slow to load.
    package = importlib.util.find_spec("tensorly")
    origin = package.origin if package else None
    data = Path(origin or "tensorly/__init__.py").parent / "datasets" / "data"
    return data / "Indian_pines_corrected.npy", data / "Indian_pines_gt.npy"


def _is_whole(file: RemoteFile) -> bool:
    path = cache_root() / file.name
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256


def _fetch(file: RemoteFile) -> Path:
    import pooch  # slow to import, and not needed for local scenes

    downloader = pooch.HTTPDownloader(timeout=10, headers={"User-Agent": _AGENT})
    problem: Exception | None = None
    # The collection has refused scripted downloads at times; the Internet Archive keeps copies.
    for address in (file.address, _ARCHIVE + file.address):
        try:
            found = pooch.retrieve(
                address,
                known_hash=f"sha256:{file.sha256}",
                fname=file.name,
                path=cache_root(),
                downloader=downloader,
            )
            return Path(found)
        except (OSError, ValueError) as refused:  # no network, or another file than expected
            problem = refused
    raise problem or OSError(file.name)
