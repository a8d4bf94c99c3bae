"""What a model bundle says of itself, and whether that can be true: model.json is not trusted."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from st_ray.errors import ModelError, unknown_name

CARD = "model.json"
_LARGEST_PATCH = 1023  # pixels; a card that claims more would have tiles read that fit no memory
_LARGEST_ID = 2**31 - 1


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
        sha256: Of the files beside the card, by name; empty in bundles that are older.
    """

    backbone: str
    backbone_options: dict[str, bool | int | float | str]
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
    sha256: dict[str, str] = field(default_factory=dict)

    @property
    def used_wavelengths(self) -> tuple[float, ...]:
        """Of the used bands, nanometres; empty if unknown."""
        return tuple(self.wavelengths[band] for band in self.bands) if self.wavelengths else ()


_ADAPTER = TypeAdapter(ModelCard)


def read_card(path: Path) -> ModelCard:
    """Read a card and see that it can be true.

    Raises:
        ModelError: It is damaged, made by a newer version, or contradicts itself; one line.
    """
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as problem:
        first = str(problem).partition("\n")[0]
        raise ModelError(f"cannot read {path}: {first}; copy the bundle anew") from None
    if not isinstance(table, dict):
        raise ModelError(f"{path}: expected a JSON object, found {type(table).__name__}")
    _check_keys(table, path)
    try:
        card: ModelCard = _ADAPTER.validate_json(json.dumps(table), strict=True)
    except ValidationError as error:
        first_error = error.errors()[0]
        where = ".".join(str(part) for part in first_error["loc"])
        what = first_error["msg"].lower()
        raise ModelError(f"{path}: {where}={first_error['input']!r:.80}: {what}") from None
    wrong = _contradiction(card)
    if wrong:
        raise ModelError(f"{path}: {wrong}; copy the bundle anew, or train the model again")
    return card


def _check_keys(table: Mapping[str, Any], path: Path) -> None:
    known = {item.name for item in fields(ModelCard)}
    needed = {
        item.name
        for item in fields(ModelCard)
        if item.default is MISSING and item.default_factory is MISSING
    }
    if missing := sorted(needed - table.keys()):
        raise ModelError(f"{path} lacks {', '.join(missing)}; copy the bundle anew")
    for key in table:
        if key not in known:
            raise ModelError(f"{path}: {unknown_name('key', key, known)}; is st_ray up to date?")


def _contradiction(card: ModelCard) -> str | None:
    """The first thing in a card that cannot be true."""
    ids, bands, waves = card.classes, card.bands, card.wavelengths
    rules = (
        (_ascending(ids, 1, _LARGEST_ID) and len(ids) > 1, "expected two or more ascending class "
         f"ids of 1 or more, found classes={_short(ids)}"),
        (len(card.class_names) == len(ids),
         f"expected {len(ids)} class names, found {len(card.class_names)}"),
        (_ascending(bands, 0, card.file_bands - 1) and bands, "expected ascending bands below "
         f"file_bands={card.file_bands}, found bands={_short(bands)}"),
        (1 <= card.components <= len(bands),
         f"expected 1 to {len(bands)} components, as there are bands, found {card.components}"),
        (card.patch_size % 2 == 1 and 0 < card.patch_size <= _LARGEST_PATCH,
         f"expected an odd patch_size up to {_LARGEST_PATCH}, found {card.patch_size}"),
        (len(waves) in (0, card.file_bands) and all(math.isfinite(w) and w > 0 for w in waves),
         f"expected {card.file_bands} wavelengths above 0, or none, found {_short(waves)}"),
        (set(card.class_colours) <= set(ids)
         and all(0 <= part <= 255 for colour in card.class_colours.values() for part in colour),
         f"expected colours of 0 to 255 of its classes, found class_colours={card.class_colours}"),
    )  # fmt: skip
    return next((message for holds, message in rules if not holds), None)


def _ascending(numbers: tuple[int, ...], least: int, most: int) -> bool:
    return list(numbers) == sorted({n for n in numbers if least <= n <= most})


def _short(numbers: tuple[float, ...]) -> str:
    shown = ", ".join(f"{number:g}" for number in numbers[:4])
    return f"({shown}, … {len(numbers)} in all)" if len(numbers) > 4 else f"({shown})"
