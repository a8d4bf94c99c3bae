"""Writing to a run's folder: a folder appears whole or not at all, a failure is one line."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from st_ray.errors import writing


@contextmanager
def writing_tensors(path: Path) -> Iterator[None]:
    """Around what writes .safetensors, too, whose OSErrors have another name.

    Raises:
        OutputError: It cannot be written.
    """
    with writing(path):
        try:
            yield
        except SafetensorError as problem:
            raise OSError(str(problem).partition("\n")[0]) from None


@contextmanager
def drafting(final: Path) -> Iterator[Path]:
    """Fill a new folder that becomes `final` at the end, in place of what was there.

    What killed writers left beside it is removed: one run at a time writes to a folder.

    Yields:
        The folder to fill; nothing else writes to it.

    Raises:
        OutputError: It cannot be written.
    """
    with writing_tensors(final):
        for litter in final.parent.glob(".draft_*"):
            shutil.rmtree(litter, ignore_errors=True)
        draft = final.with_name(f".draft_{uuid.uuid4().hex[:12]}")
        draft.mkdir(parents=True)
        try:
            yield draft
            shutil.rmtree(final, ignore_errors=True)
            draft.rename(final)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
