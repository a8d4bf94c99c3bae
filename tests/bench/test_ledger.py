"""The ledger keeps what was measured, through kills and wrong files."""

from __future__ import annotations

from pathlib import Path

import pytest

from st_ray import StRayError
from st_ray.bench.ledger import Ledger, key_of


def test_a_row_is_there_after_the_process_that_wrote_it(tmp_path: Path) -> None:
    Ledger(tmp_path).add("a", {"seconds": 1.5})
    assert Ledger(tmp_path).get("a") == {"key": "a", "seconds": 1.5}
    assert Ledger(tmp_path).get("b") is None


def test_a_line_cut_off_by_a_kill_is_measured_again(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.add("a", {"seconds": 1.5})
    ledger.add("b", {"seconds": 2.5})
    text = ledger.path.read_text()
    ledger.path.write_text(text[:-8])
    again = Ledger(tmp_path)
    assert again.get("a")
    assert again.get("b") is None
    again.add("b", {"seconds": 3.5})
    assert len(Ledger(tmp_path)) == 2


def test_a_file_that_is_no_ledger_is_named_with_the_line(tmp_path: Path) -> None:
    (tmp_path / "cells.jsonl").write_text("hello\nworld\n")
    with pytest.raises(StRayError, match=r"cells.jsonl, line 1, is not a measured cell"):
        Ledger(tmp_path)


def test_a_key_depends_on_what_decides_and_not_on_its_order() -> None:
    assert key_of({"a": 1, "b": (2, 3)}) == key_of({"b": (2, 3), "a": 1})
    assert key_of({"a": 1}) != key_of({"a": 2})
