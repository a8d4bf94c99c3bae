"""The model bundle: weights, basis and a description; all that prediction needs, no pickle.

Shape letters: H W scene, s tile side, E padded edge, B bands, K components, C classes.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from st_ray.errors import SceneError
from st_ray.learn.backbones import build_backbone
from st_ray.learn.checkpoint import load_weights
from st_ray.learn.drafts import writing_tensors
from st_ray.learn.loop import PatchSource, predict, stack_tensor
from st_ray.spectral.basis import SpectralBasis
from st_ray.spectral.cube import Cube
from st_ray.spectral.patches import Samples, TileStack
from st_ray.spectral.tiles import Tile, read_padded
from st_ray.storage import is_uri, pull


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCard:
    """What the weights are for.

    Attributes:
        backbone: Registered name or "package.module:function".
        backbone_options: Keyword arguments of its builder.
        components: Input channels.
        patch_size: Pixels on a side.
        classes: Class id of each output.
        class_names: Name of each output.
        file_bands: Bands of the files it was trained on.
        bands: Which of them are used, 0-based.
        curriculum: Name of the curriculum that trained it.
        fingerprint: Hash of the run's settings.
        wavelengths: Of the file's bands, nanometres; empty if unknown.
        class_colours: Class id to colour (red, green, blue, 0-255), where the labels said.
    """

    backbone: str
    backbone_options: dict[str, Any]
    components: int
    patch_size: int
    classes: tuple[int, ...]
    class_names: tuple[str, ...]
    file_bands: int
    bands: tuple[int, ...]
    curriculum: str
    fingerprint: str
    wavelengths: tuple[float, ...] = ()
    class_colours: dict[int, tuple[int, int, int]] = field(default_factory=dict)


Build = Callable[..., nn.Module]


def save_bundle(folder: Path, weights: Path, basis: SpectralBasis, card: ModelCard) -> None:
    """Write folder/weights.safetensors, basis.safetensors and model.json.

    Raises:
        OutputError: One cannot be written.
    """
    with writing_tensors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(weights, folder / "weights.safetensors")
        basis.save(folder / "basis.safetensors")
        (folder / "model.json").write_text(json.dumps(asdict(card), indent=1), encoding="utf-8")


def load_bundle(
    folder: Path | str, build: Build | None = None
) -> tuple[nn.Module, SpectralBasis, ModelCard]:
    """Read a bundle.

    Args:
        folder: Where `save_bundle` wrote it, or a URI of a copy.
        build: Builder of a backbone that has no name (made in Python); None to go by the card.

    Raises:
        SceneError: A file of the bundle is missing.
        OutputError: The URI cannot be read.
    """
    if is_uri(folder):
        with tempfile.TemporaryDirectory(prefix="st_ray-") as copy:
            pull(str(folder), Path(copy))
            return load_bundle(copy, build)
    folder = Path(folder)
    for name in ("model.json", "weights.safetensors", "basis.safetensors"):
        if not (folder / name).is_file():
            raise SceneError(f"{folder} is not a model bundle: {name} is missing")
    table = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    for key in ("classes", "class_names", "bands", "wavelengths"):
        table[key] = tuple(table.get(key, ()))
    colours = table.get("class_colours", {})  # JSON has text for keys
    table["class_colours"] = {int(index): tuple(colour) for index, colour in colours.items()}
    card = ModelCard(**table)
    size = {
        "components": card.components,
        "patch_size": card.patch_size,
        "classes": len(card.classes),
    }
    if build is None:
        model = build_backbone(card.backbone, **size, **card.backbone_options)
    else:
        model = build(**size)
    load_weights(folder, model)
    return model.eval(), SpectralBasis.load(folder / "basis.safetensors"), card


@dataclass(frozen=True, slots=True)
class PredictTiles:
    """Class ids under a tile's core; the raster is not used.

    Attributes:
        cube: The scene's usable bands.
        folder: The bundle, a path or URI.
        side: Tile side, pixels.
        device: "cpu" or "cuda".
        build: See `load_bundle`.
    """

    cube: Cube
    folder: str
    side: int
    device: str
    build: Build | None = None

    def __call__(
        self, tiles: Sequence[Tile], unused: Sequence[NDArray[np.generic]]
    ) -> dict[str, NDArray[np.generic]]:
        """Columns "index" (T,) and "classes" int32 (T, s, s); 0 where the pixel is invalid."""
        del unused
        model, basis, card = load_bundle(self.folder, self.build)
        model.to(self.device)
        maps = np.zeros((len(tiles), self.side, self.side), dtype=np.int32)
        for map_ss, tile in zip(maps, tiles, strict=True):
            map_ss[: tile.height, : tile.width] = self._predict(model, basis, card, tile)
        return {"index": np.array([tile.index for tile in tiles]), "classes": maps}

    def _predict(
        self, model: nn.Module, basis: SpectralBasis, card: ModelCard, tile: Tile
    ) -> NDArray[np.int32]:
        halo = card.patch_size // 2
        values_EEB = read_padded(self.cube, tile, self.side, halo)
        stack = TileStack(values_REK=basis.project(values_EEB, card.components), halo=halo)
        rows, cols = np.divmod(np.arange(tile.height * tile.width), tile.width)
        everywhere = Samples(
            centres_N2=np.stack([rows, cols], axis=1), targets_N=np.zeros(len(rows), np.int64)
        )
        source = PatchSource.of(
            stack_tensor(stack, torch.device(self.device)),
            halo,
            everywhere,
            card.patch_size,
            card.components,
            model,
        )
        everyone_N = np.arange(len(rows))
        index_N = torch.cat([logits.argmax(1) for logits, _ in predict(model, source, everyone_N)])
        ids_N = np.asarray(card.classes, dtype=np.int32)[index_N.cpu().numpy()]
        core = slice(halo, halo + tile.height), slice(halo, halo + tile.width)
        invalid_hw = ~np.isfinite(values_EEB[core]).all(axis=2)
        out: NDArray[np.int32] = ids_N.reshape(tile.height, tile.width)
        out[invalid_hw] = 0
        return out
