"""Manifests: files that list scenes, their labels and the part that each one plays.

A .csv file with a heading ``image,labels,part``, or a .toml file with a ``[[scene]]`` table for
each scene and the same keys. Relative paths are relative to the manifest.
"""

from __future__ import annotations

import csv
import io
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from st_ray.errors import SceneError, unknown_name
from st_ray.spectral.benchmarks import SCENES
from st_ray.spectral.mosaic import match_files

MANIFEST_SUFFIXES = (".csv", ".toml")

KEYS = ("image", "labels", "part")
PLAYED = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One line of a manifest, or what a path or pattern stands for.

    Attributes:
        image: Path of a cube, or a registered scene.
        labels: Path of its labels; None: its own.
        label: Class id of all its pixels, in place of labels.
        class_name: Name of that class, where the manifest names classes and does not number them.
        part: "train", "validation", "test", or "" where nobody says.
        where: Which line of which manifest; "" if there is none.
    """

    image: str
    labels: str | None = None
    label: int | None = None
    class_name: str = ""
    part: str = ""
    where: str = ""


def list_entries(name: str, labels: str | None) -> tuple[Entry, ...]:
    """The scenes that a name stands for: a manifest's, a pattern's, or the one.

    Args:
        name: A registered scene, a path, a pattern with a ``*``, or a manifest.
        labels: Path or pattern of the labels; None: each scene's own.

    Raises:
        SceneError: A manifest is not valid, or a pattern matches nothing.
    """
    if Path(name).suffix.lower() not in MANIFEST_SUFFIXES or "*" in name:
        return tuple(Entry(image=a, labels=b) for a, b in match_files(name, labels))
    if labels is not None:
        raise SceneError(
            f"{name} with --labels {labels}: a manifest names the labels of its scenes itself, in "
            "a column labels; leave --labels out"
        )
    entries = read_manifest(Path(name).expanduser())
    _check_unique(entries)
    return _number(entries)


def read_manifest(path: Path) -> tuple[Entry, ...]:
    """The lines of a manifest.

    Raises:
        SceneError: It cannot be read, is empty, or a line is not valid; says which.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as problem:
        raise SceneError(f"cannot read manifest {path}: {problem.strerror}") from None
    except UnicodeDecodeError:
        raise SceneError(f"cannot read manifest {path}: expected text, saved as UTF-8") from None
    rows = _toml_rows(text, path) if path.suffix.lower() == ".toml" else _csv_rows(text, path)
    if not rows:
        raise SceneError(f"manifest {path} lists no scene; expected one a line: {', '.join(KEYS)}")
    return tuple(_entry(row, where, path.parent) for where, row in rows)


def _csv_rows(text: str, path: Path) -> list[tuple[str, dict[str, Any]]]:
    heading = text.partition("\n")[0]
    sign = ";" if ";" in heading and "," not in heading else ","  # as some spreadsheets write it
    reader = csv.reader(io.StringIO(text), delimiter=sign, strict=True)
    rows: list[tuple[str, dict[str, Any]]] = []
    names: list[str] = []
    try:
        for cells in reader:
            where = f"{path}, line {reader.line_num}"
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                continue
            if not names:
                names = [cell.lower() for cell in cells]
                _check_keys(names, f"{path}")
            elif len(cells) != len(names):
                raise SceneError(
                    f"{where}: expected {len(names)} cells ({', '.join(names)}), found {len(cells)}"
                )
            else:
                rows.append((where, dict(zip(names, cells, strict=True))))
    except csv.Error as problem:
        raise SceneError(f"{path}, line {reader.line_num}: not CSV ({problem})") from None
    return rows


def _toml_rows(text: str, path: Path) -> list[tuple[str, dict[str, Any]]]:
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise SceneError(f"{path} is not TOML: {problem}") from None
    scenes = table.pop("scene", [])
    if table:
        raise SceneError(f"{path}: {unknown_name('key', next(iter(table)), ('scene',))}")
    if not (isinstance(scenes, list) and all(isinstance(row, Mapping) for row in scenes)):
        raise SceneError(f"{path}: expected a [[scene]] table for each scene")
    rows = []
    for number, row in enumerate(scenes, start=1):
        where = f"{path}, scene {number}"
        _check_keys(list(row), where)
        for key, value in row.items():
            text_or_id = isinstance(value, str) or (key == "labels" and type(value) is int)
            if not text_or_id:
                raise SceneError(f"{where}: {key}={value!r}: expected text")
        rows.append((where, dict(row)))
    return rows


def _check_keys(names: list[str], where: str) -> None:
    for name in names:
        if name not in KEYS:
            raise SceneError(f"{where}: {unknown_name('column', name, KEYS)}")
    if len(set(names)) < len(names):
        raise SceneError(f"{where}: a column stands there twice: {', '.join(names)}")
    if "image" not in names:
        raise SceneError(f"{where}: expected a column image, found {', '.join(names)}")


def _entry(row: Mapping[str, Any], where: str, folder: Path) -> Entry:
    image, part = str(row["image"]), str(row.get("part", "")).lower()
    if not image:
        raise SceneError(f"{where}: image is empty; expected the path of a scene")
    if "*" in image:
        raise SceneError(f"{where}: image={image}: one scene a line, without *")
    if part and part not in PLAYED:
        raise SceneError(f"{where}: {unknown_name('part', part, PLAYED)}")
    place = folder / Path(image).expanduser()
    if not place.exists() and image not in SCENES:
        raise SceneError(f"{where}: no such scene file: {place}")
    image = str(place) if place.exists() else image
    told = _labels_of(row.get("labels", ""), where, folder)
    return Entry(image=image, part=part, where=where, **told)


def _labels_of(value: str | int, where: str, folder: Path) -> dict[str, Any]:
    """The labels' path, or the class of the whole scene; nothing where a cell is empty."""
    text = str(value).strip()
    if not text:
        return {}
    place = folder / Path(text).expanduser()
    if place.is_file():
        return {"labels": str(place)}
    if re.fullmatch(r"[+-]?\d+", text):
        if not 0 < int(text) < 2**31:
            raise SceneError(
                f"{where}: labels={text}: expected a class id from 1 on (0 stands for unlabelled), "
                "a class name, or a file"
            )
        return {"label": int(text)}
    if re.search(r"[/\\]|\.\w{1,8}$", text):
        raise SceneError(f"{where}: no such label file: {place}")
    return {"class_name": text}


def _number(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """Give classes that are named their ids: 1, 2, ... in the order of their names.

    Raises:
        SceneError: Some are named, and the others have ids.
    """
    names = sorted({entry.class_name for entry in entries} - {""})
    odd = [entry for entry in entries if not entry.class_name]
    if names and odd:
        raise SceneError(
            f"{odd[0].where}: expected the name of a class, as on other lines, not "
            f"labels={odd[0].label or odd[0].labels or ''!r}; give names, or ids, everywhere"
        )
    ids = {name: number for number, name in enumerate(names, start=1)}
    return tuple(replace(entry, label=ids.get(entry.class_name, entry.label)) for entry in entries)


def _check_unique(entries: tuple[Entry, ...]) -> None:
    """See that no scene is listed twice: it might be trained on and tested on."""
    seen: dict[str, str] = {}
    for entry in entries:
        image = entry.image if entry.image in SCENES else str(Path(entry.image).resolve())
        if image in seen:
            raise SceneError(f"{entry.where}: {entry.image} is already listed ({seen[image]})")
        seen[image] = entry.where
