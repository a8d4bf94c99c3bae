"""Published splits: whose files hold them, and what their class ids mean in the ground truth.

The files themselves are their publishers' and are not part of this package: they are read where
the user has put them. Their ids are remapped by the tables below, never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from st_ray.errors import SplitError
from st_ray.spectral.benchmarks import SCENES
from st_ray.spectral.files import array_shapes, cache_root, read_array
from st_ray.spectral.masks import FixedMasks, read_masks


@dataclass(frozen=True, slots=True)
class MaskFile:
    """A mask of a published split.

    Attributes:
        names: What the file is called; any of these.
        pixels: That it marks, as published.
    """

    names: tuple[str, ...]
    pixels: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedSplit:
    """How a published split is read.

    Attributes:
        scene: The registered scene it is of.
        source: Whose it is, and where to look for the files.
        train: The training mask.
        test: The test mask; None: all other labelled pixels test.
        ids: Ground-truth ids of the masks' classes 1, 2, 3, in this order.
    """

    scene: str
    source: str
    train: MaskFile
    test: MaskFile | None = None
    ids: tuple[int, ...]


PUBLISHED: dict[str, PublishedSplit] = {
    "dase": PublishedSplit(
        scene="indian_pines",
        source="the GRSS DASE server's spatially disjoint training mask (dase.grss-ieee.org)",
        train=MaskFile(("indianpines_disjoint_dset.mat", "indianpines_ts.tif"), 5689),
        ids=(2, 3, 5, 6, 8, 10, 11, 12, 14, 1, 4, 7, 9, 13, 15, 16),
    ),
    "spectralformer": PublishedSplit(
        scene="indian_pines",
        source="the 695/9,671 masks that SpectralFormer and other transformers were scored on",
        train=MaskFile(("IndianTR123_temp123.tif",), 695),
        test=MaskFile(("IndianTE123_temp123.tif",), 9671),
        ids=(2, 3, 4, 5, 6, 8, 10, 11, 12, 13, 14, 15, 16, 1, 7, 9),
    ),
}


def read_published(name: str, folder: str | None, labels_HW: NDArray[np.integer]) -> FixedMasks:
    """Read a published split's masks, and hold them to what was published.

    Args:
        name: One of `PUBLISHED`.
        folder: Where the files lie; None: in the cache, beside the registered scenes' files.
        labels_HW: The ground truth.

    Raises:
        SplitError: A file is missing or is another one, or the labels are of another scene.
    """
    split = PUBLISHED[name]
    scene = SCENES[split.scene]
    if labels_HW.shape != scene.shape[:2]:
        raise SplitError(
            f"split {name!r} is of {scene.title}, {scene.shape[0]} x {scene.shape[1]} pixels; "
            f"these labels are {labels_HW.shape[0]} x {labels_HW.shape[1]}"
        )
    place = cache_root() if folder is None else Path(folder).expanduser()
    train = _find(name, split.train, place)
    test = None if split.test is None else _find(name, split.test, place)
    ids: Mapping[int, int] = dict(enumerate(split.ids, start=1))
    return read_masks(train, None if test is None else str(test), None, labels_HW, ids)


def _find(name: str, mask: MaskFile, place: Path) -> Path:
    found = [place / own for own in mask.names if (place / own).is_file()]
    if not found:
        raise SplitError(
            f"split {name!r} needs {' or '.join(mask.names)}, which is not in {place}; it is "
            f"{PUBLISHED[name].source}: put it there, or name its folder with "
            "--set split.folder=FOLDER"
        )
    marked = [
        int(np.count_nonzero(read_array(found[0], key, SplitError)))
        for key, shape in array_shapes(found[0], SplitError).items()
        if len(shape) == 2
    ]
    if mask.pixels not in marked:
        raise SplitError(
            f"split {name!r}: {found[0]} marks {marked} pixels, the published mask "
            f"{mask.pixels}; get the original file, or give this one with --split {found[0].name}"
        )
    return found[0]
