"""What a benchmark has measured: one line of JSON a cell, so that a table can grow over runs."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from st_ray.errors import OutputError, writing

CELLS_FILE = "cells.jsonl"

Row = dict[str, Any]


class Ledger:
    """The measured cells of one directory, by the hash of what decides them.

    Args:
        folder: The benchmark's directory.
        keep: Called with the file after each row.

    Raises:
        OutputError: Its file is not a ledger.
    """

    def __init__(self, folder: Path, keep: Callable[[Path], None] | None = None) -> None:
        self.path = folder / CELLS_FILE
        self._keep = keep
        self._lock = threading.Lock()
        self._rows: dict[str, Row] = {}
        if self.path.exists():
            self._load()

    def _load(self) -> None:
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise OutputError(f"cannot read {self.path}: {error}; choose another --out") from None
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
                self._rows[row["key"]] = row
            except (ValueError, KeyError, TypeError):
                if number == len(lines):  # cut off while it was written: measure it again
                    self.path.write_text("".join(f"{kept}\n" for kept in lines[:-1]), "utf-8")
                    continue
                raise OutputError(
                    f"{self.path}, line {number}, is not a measured cell; remove the line, or "
                    "choose another --out"
                ) from None

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, key: str) -> Row | None:
        """The row of a cell, if it has been measured."""
        return self._rows.get(key)

    def rows(self) -> tuple[Row, ...]:
        """All rows, in the order in which they were measured."""
        return tuple(self._rows.values())

    def add(self, key: str, row: Row) -> Row:
        """Write a row and keep it."""
        row = {"key": key, **row}
        with self._lock, writing(self.path):
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, separators=(",", ":")) + "\n")
            self._rows[key] = row
            if self._keep:
                self._keep(self.path)
        return row


def key_of(facts: object) -> str:
    """The hash of what decides a cell."""
    text = json.dumps(facts, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
