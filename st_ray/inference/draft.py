"""A map while it is made: plain files that tiles are written into, and a journal of those done.

A process that is killed leaves both; the next one goes on with the tiles that are not in the
journal. A tile is entered only after its values have reached the disk.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
from filelock import FileLock

from st_ray.errors import OutputError, writing
from st_ray.inference.layers import Layer
from st_ray.output import claim
from st_ray.spectral.files import replacing
from st_ray.spectral.tiles import Tile
from st_ray.spectral.work import Arrays

_JOURNAL, _LOCK = "journal", ".lock"
_SETTLE_S = 5.0  # how much work a kill may cost


class Draft:
    """The unfinished map of one scene; a context that no other process can enter meanwhile.

    Attributes:
        folder: Where it is.
        layers: Its rasters.
        done: Index of every tile that an earlier process or this one has written.
    """

    def __init__(
        self, folder: Path, layers: Sequence[Layer], identity: str, *, anew: bool = False
    ) -> None:
        self.folder, self.layers = folder, tuple(layers)
        self.done: set[int] = set()
        self._identity, self._anew = identity, anew
        self._lock = FileLock(folder / _LOCK, timeout=0)
        self._files: dict[str, BinaryIO] = {}
        self._open = ExitStack()
        self._fresh: list[int] = []
        self._settled = time.monotonic()

    def __enter__(self) -> Self:
        """Lock it and go on with what is there, or begin; anew, if that was asked for.

        Raises:
            OutputError: Another process is at it, what is there belongs to other settings, or it
                cannot be written.
        """
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            claim(self._lock, self.folder, "process")
            self._open.callback(self._lock.release)
            with ExitStack() as undo:
                undo.callback(self._open.close)
                self._begin()
                undo.pop_all()
        return self

    def __exit__(self, *unused: object) -> None:
        """Settle what was written, and let go of it; an empty draft goes."""
        with writing(self.folder), self._open:
            self.settle()
            if not self.done:
                self.remove()

    def write(self, tile: Tile, part: Arrays) -> None:
        """Write a tile's values into all layers.

        Raises:
            OutputError: They cannot be written.
        """
        with writing(self.folder):
            for layer in self.layers:
                file, values = self._files[layer.name], np.ascontiguousarray(part[layer.name])
                for row, line in enumerate(values, tile.row):
                    file.seek((row * layer.shape[1] + tile.col) * layer.pixel_bytes)
                    file.write(line.data)
            self._fresh.append(tile.index)
            if time.monotonic() - self._settled > _SETTLE_S:
                self.settle()

    def settle(self) -> None:
        """Enter into the journal what was written, once it is on the disk."""
        for layer in self.layers:
            self._files[layer.name].flush()
            os.fsync(self._files[layer.name].fileno())
        if self._fresh:
            journal = self._files[_JOURNAL]
            journal.write(" ".join(map(str, self._fresh)).encode() + b"\n")
            journal.flush()
            os.fsync(journal.fileno())
        self.done.update(self._fresh)
        self._fresh, self._settled = [], time.monotonic()

    def remove(self) -> None:
        """Remove all of it, once the map has its form."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _begin(self) -> None:
        journal = self.folder / _JOURNAL
        if self._anew:  # not before the lock is held: another process may be at it
            journal.unlink(missing_ok=True)
        if journal.is_file():
            known = journal.read_bytes()
            self.done = self._read(known)
            os.truncate(journal, known.rfind(b"\n") + 1)
        else:
            for layer in self.layers:
                with layer.path.open("wb") as file:
                    file.truncate(layer.shape[0] * layer.shape[1] * layer.pixel_bytes)
            with replacing(journal) as whole:  # with a journal, the rasters are there too
                whole.write(f"{self._identity}\n".encode())
        self._files = {
            layer.name: self._open.enter_context(layer.path.open("r+b")) for layer in self.layers
        }
        self._files[_JOURNAL] = self._open.enter_context(journal.open("ab"))

    def _read(self, journal: bytes) -> set[int]:
        """The tiles of a journal; a line that was cut off on its way counts for nothing."""
        head, *lines = journal.split(b"\n")
        whole = all(
            layer.path.is_file()
            and layer.path.stat().st_size == layer.shape[0] * layer.shape[1] * layer.pixel_bytes
            for layer in self.layers
        )
        try:
            done = {int(index) for line in lines[:-1] for index in line.split()}
        except ValueError:
            whole = False
        if head.decode(errors="replace") != self._identity or not whole:
            raise OutputError(
                f"{self.folder} holds an unfinished map of another model, scene or settings; "
                "repeat that command, choose another --out, or begin anew with --overwrite"
            )
        return done
