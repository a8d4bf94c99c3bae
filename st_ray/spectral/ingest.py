"""From tiles on disk to a stack of projected tiles: in memory, or in a file that is mapped.

Shape letters: T tiles, E padded tile edge (side + 2 halo), K components.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from st_ray.errors import writing
from st_ray.spectral.basis import SpectralBasis
from st_ray.spectral.cube import Cube
from st_ray.spectral.patches import TileStack
from st_ray.spectral.tiles import Tile, read_padded


@dataclass(frozen=True, kw_only=True, slots=True)
class StackPlan:
    """What a stack is made of. Small and picklable: a worker makes its own part of it.

    Attributes:
        cube: The scene's usable bands.
        basis: What they are projected on.
        tiles: Those of the stack, in its order.
        side: Side of a full core, pixels.
        halo: Margin around it, pixels.
    """

    cube: Cube
    basis: SpectralBasis
    tiles: tuple[Tile, ...]
    side: int
    halo: int

    @property
    def edge(self) -> int:
        """Rows E of the stack that a tile takes."""
        return self.side + 2 * self.halo

    @property
    def alone(self) -> StackPlan:
        """The plan without its tiles, for tasks that are told of theirs."""
        return replace(self, tiles=())

    @property
    def tile_bytes(self) -> int:
        """Size of a projected tile."""
        return self.edge**2 * self.basis.rank * 4

    def project(self, tile: Tile) -> NDArray[np.float32]:
        """A tile with its halo (E, E, K)."""
        return self.basis.project(read_padded(self.cube, tile, self.side, self.halo))

    @contextmanager
    def build(self, start: int, stop: int, memory: float) -> Iterator[TileStack]:
        """Some neighbouring tiles as a stack, for as long as the context lasts.

        Args:
            start: Position of the first tile.
            stop: Position after the last.
            memory: Bytes that may be held; a larger stack lies in a file of the system's
                folder for temporary files ($TMPDIR) and is mapped.

        Raises:
            OutputError: The file cannot be written.
        """
        tiles = self.tiles[start:stop]
        if len(tiles) * self.tile_bytes <= memory:
            values_TEEK = np.empty((len(tiles), self.edge, self.edge, self.basis.rank), np.float32)
            for values_EEK, tile in zip(values_TEEK, tiles, strict=True):
                values_EEK[...] = self.project(tile)
            yield TileStack(values_REK=self._rows(values_TEEK), halo=self.halo)
            return
        place = Path(tempfile.gettempdir())
        with writing(place), tempfile.TemporaryFile(dir=place) as file:  # nobody sees or leaves it
            for tile in tiles:
                file.write(np.ascontiguousarray(self.project(tile)).data)
            file.flush()
            mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        values_REK = self._rows(np.frombuffer(mapping, np.float32))  # closes the map at its end
        yield TileStack(values_REK=values_REK, halo=self.halo, mapping=mapping)

    def _rows(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        return values.reshape(-1, self.edge, self.basis.rank)
