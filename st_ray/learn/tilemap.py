"""From tiles of a scene to tiles of its map: read, project, score.

Shape letters: h w a tile's core, E its padded edge, B bands, K components, C classes, n valid
pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, tee

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from st_ray.learn.card import ModelCard
from st_ray.learn.scoring import Stopwatch, tile_logits
from st_ray.spectral.basis import SpectralBasis
from st_ray.spectral.cube import Cube
from st_ray.spectral.tiles import Tile, read_padded
from st_ray.spectral.work import Arrays, ahead

_TOLD_AHEAD = 4  # tiles


def id_type(classes: Iterable[int]) -> np.dtype[np.unsignedinteger]:
    """The smallest unsigned type that holds some class ids and 0."""
    return np.min_scalar_type(max(classes))


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictTiles:
    """A map's tiles. What it holds travels to each process that predicts, once.

    Attributes:
        cube: The scene, with the bands that the model uses.
        model: The network.
        basis: What spectra are projected on.
        card: What both are for.
        side: Side of a full core, pixels.
        device: "cpu" or "cuda".
        probability: Whether the softmax of every class is wanted.
        confidence: Whether the largest of them is.
        dense: See `tile_logits`.
    """

    cube: Cube
    model: nn.Module
    basis: SpectralBasis
    card: ModelCard
    side: int
    device: str
    probability: bool = False
    confidence: bool = False
    dense: bool = True

    @property
    def patch_size(self) -> int:
        """Pixels on a side that the network reads."""
        return min(self.card.patch_size, int(getattr(self.model, "reads", self.card.patch_size)))

    def open(self) -> Callable[[Iterable[Tile]], Iterator[Arrays]]:
        """See `TileStream`.

        A tile's result: "index"; "classes" (h, w), the ids, 0 where the pixel is invalid; if they
        are wanted "probability" (h, w, C) and "confidence" (h, w), float32, NaN there; "valid",
        how many pixels were scored; "forward", seconds in the network.
        """
        self.model.to(self.device).eval()
        return self._stream

    def _stream(self, tiles: Iterable[Tile]) -> Iterator[Arrays]:
        watch = Stopwatch()
        # The reader's matrix products on more threads than one would fight with the network's.
        with threadpool_limits(1, "blas"):
            for tile, valid_hw, values_EEK in ahead(self._read, self._announced(tiles)):
                yield self._score(tile, valid_hw, values_EEK, watch)

    def _announced(self, tiles: Iterable[Tile]) -> Iterator[Tile]:
        """The tiles; the disk is told of each some tiles before it is read."""
        coming, told = tee(tiles)
        for tile in islice(told, _TOLD_AHEAD):
            self.cube.expect(tile.rows, tile.cols)
        for tile in coming:
            for later in islice(told, 1):
                self.cube.expect(later.rows, later.cols)
            yield tile

    def _read(self, tile: Tile) -> tuple[Tile, NDArray[np.bool_], NDArray[np.float32] | None]:
        """Which pixels of a tile are valid, and its components (E, E, K) if any is."""
        halo = self.patch_size // 2
        values_EEB = read_padded(self.cube, tile, self.side, halo)
        core = values_EEB[halo : halo + tile.height, halo : halo + tile.width]
        valid_hw: NDArray[np.bool_] = np.asarray(np.isfinite(core).all(axis=2))
        if not valid_hw.any():
            return tile, valid_hw, None
        return tile, valid_hw, self.basis.project(values_EEB, self.card.components)

    def _score(
        self,
        tile: Tile,
        valid_hw: NDArray[np.bool_],
        values_EEK: NDArray[np.float32] | None,
        watch: Stopwatch,
    ) -> Arrays:
        ids = np.asarray(self.card.classes, dtype=id_type(self.card.classes))
        classes_hw = np.zeros(valid_hw.shape, dtype=ids.dtype)
        out: Arrays = {
            "index": np.array(tile.index),
            "classes": classes_hw,
            "valid": np.array(valid_hw.sum()),
        }
        if self.probability:
            out["probability"] = np.full((*valid_hw.shape, len(ids)), np.nan, np.float32)
        if self.confidence:
            out["confidence"] = np.full(valid_hw.shape, np.nan, np.float32)
        if values_EEK is not None:
            logits_nC = tile_logits(
                self.model,
                torch.from_numpy(values_EEK).to(self.device),
                valid_hw,
                patch_size=self.patch_size,
                watch=watch,
                dense=self.dense,
            )
            classes_hw[valid_hw] = ids[logits_nC.argmax(1).cpu().numpy()]
            if self.probability or self.confidence:
                self._fill_in(out, valid_hw, torch.softmax(logits_nC.float(), dim=1))
        out["forward"] = np.array(watch.take())
        return out

    def _fill_in(self, out: Arrays, valid_hw: NDArray[np.bool_], shares_nC: Tensor) -> None:
        if self.probability:
            out["probability"][valid_hw] = shares_nC.cpu().numpy()
        if self.confidence:
            out["confidence"][valid_hw] = shares_nC.amax(dim=1).cpu().numpy()
