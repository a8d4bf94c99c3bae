"""Patches as Parquet files, for people who want to keep them, and the way back to a tile stack.

A row is a labelled pixel: where it lies, its part of the split, its class, and its patch in
columns of a few components each, so that an early stage of a curriculum reads fewer columns. The
columns are Arrow's fixed-shape tensors (S, S, g), which any Arrow reader opens.

Read back, each patch is a tile of one pixel with a halo: a `TileStack` like any other, only
larger, for neighbours no longer share their surroundings.

Shape letters: N pixels, M some of them, S patch side, K components, g components of a column.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow import fs

from st_ray.errors import SceneError
from st_ray.spectral.ingest import StackPlan
from st_ray.spectral.patches import Samples, TileStack, extract_patches
from st_ray.spectral.tiles import Tile
from st_ray.storage import join, open_uri, read_text, telling

_CARD = "patches.json"
# Of each block of tiles, named by its first. Other files of a folder are the user's.
_FILE, _IS_FILE = "part-{:08d}.parquet", re.compile(r"part-\d{8,}\.parquet")
_BYTES = 128 << 20  # of patches that are held while they are written
_PARTS = 4  # of a split, the unused one among them
_FORMAT = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchCard:
    """What a folder of patches holds.

    Attributes:
        patch_size: S, pixels on a side.
        groups: Components of each column, (first, last + 1).
        made_of: What decided the values: settings and digests, by name.
        rows: Labelled pixels N.
    """

    patch_size: int
    groups: tuple[tuple[int, int], ...]
    made_of: Mapping[str, Any]
    rows: int = 0


@dataclass(frozen=True, slots=True)
class ExportTiles:
    """Write the patches of a block of tiles as one file; the raster is that of `patch_codes`.

    If it fails, what was written stays there; without a card no file of a folder counts.

    Attributes:
        plan: What the stack is made of.
        card: What is written.
        folder: A path or any URI that pyarrow knows (s3://, gs://, file://).
    """

    plan: StackPlan
    card: PatchCard
    folder: str

    def __call__(
        self, tiles: Sequence[Tile], codes_Tss: Sequence[NDArray[np.generic]]
    ) -> dict[str, NDArray[np.generic]]:
        """Column "rows" (1,): how many were written."""
        rows = 0
        system, place = open_uri(self.folder)
        path = str(place / _FILE.format(min(tile.index for tile in tiles)))
        writer: pq.ParquetWriter | None = None
        with ExitStack() as opened:
            for tile, codes_ss in zip(tiles, codes_Tss, strict=True):
                for table in self._tables(tile, np.asarray(codes_ss)[: tile.height, : tile.width]):
                    with telling("write", self.folder):
                        writer = writer or opened.enter_context(
                            pq.ParquetWriter(
                                path, table.schema, filesystem=system, compression="zstd"
                            )
                        )
                        writer.write_table(table)
                    rows += table.num_rows
            with telling("write", self.folder):
                opened.close()
        return {"rows": np.array([rows])}

    def _tables(self, tile: Tile, codes_hw: NDArray[np.generic]) -> Iterator[pa.Table]:
        """The patches of a tile, some at a time: together they may be larger than memory."""
        rows_N, cols_N = np.nonzero(codes_hw)
        if len(rows_N) == 0:
            return
        stack = TileStack(values_REK=self.plan.project(tile), halo=self.plan.halo)
        each = max(1, _BYTES // (4 * stack.components * self.card.patch_size**2))
        for start in range(0, len(rows_N), each):
            some = slice(start, start + each)
            yield self._table(tile, stack, codes_hw, rows_N[some], cols_N[some])

    def _table(
        self,
        tile: Tile,
        stack: TileStack,
        codes_hw: NDArray[np.generic],
        rows_M: NDArray[np.int64],
        cols_M: NDArray[np.int64],
    ) -> pa.Table:
        patches_MKSS = extract_patches(
            stack, np.stack([rows_M, cols_M], axis=1), self.card.patch_size
        )
        targets_M, parts_M = np.divmod(codes_hw[rows_M, cols_M], _PARTS)
        columns = {
            "row": pa.array((tile.row + rows_M).astype(np.int32)),
            "col": pa.array((tile.col + cols_M).astype(np.int32)),
            "part": pa.array(parts_M.astype(np.uint8)),
            "target": pa.array(targets_M.astype(np.int16)),
        }
        for first, last in self.card.groups:
            values = np.ascontiguousarray(patches_MKSS[:, first:last].transpose(0, 2, 3, 1))
            columns[_column(first, last)] = pa.FixedShapeTensorArray.from_numpy_ndarray(values)
        return pa.table(columns)


def patch_codes(
    parts_HW: NDArray[np.uint8], labels_HW: NDArray[np.int32], classes: Sequence[int]
) -> NDArray[np.int32]:
    """Part of the split and class of every pixel in one raster (H, W): 0 where it has no part.

    Args:
        parts_HW: Split raster.
        labels_HW: Class ids.
        classes: Sorted class ids; a target is a position in it.
    """
    codes_HW = np.zeros(parts_HW.shape, np.int32)
    used_HW = parts_HW > 0
    targets_N = np.searchsorted(np.asarray(classes), labels_HW[used_HW])
    codes_HW[used_HW] = targets_N * _PARTS + parts_HW[used_HW]
    return codes_HW


def component_groups(stages: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Columns such that every stage reads whole ones: cut where a stage's components end.

    Args:
        stages: Components of each stage of a curriculum.
    """
    cuts = sorted({0, *stages})
    return tuple(pairwise(cuts))


def clear_patches(folder: str) -> None:
    """Remove the patches of a folder, and nothing else.

    Raises:
        OutputError: It cannot be written to.
    """
    system, place = open_uri(folder)
    with telling("write", folder):
        names = [str(place / _CARD), *_files(system, place)]  # without a card none are whole
        for item in system.get_file_info(names):
            if item.type == fs.FileType.File:
                system.delete_file(item.path)


def write_card(card: PatchCard, folder: str) -> None:
    """Write what the folder holds, last: a folder with a card is whole.

    Raises:
        OutputError: It cannot be written.
    """
    system, place = open_uri(folder)
    text = json.dumps({**asdict(card), "format": _FORMAT}, indent=1) + "\n"
    with telling("write", folder), system.open_output_stream(str(place / _CARD)) as file:
        file.write(text.encode())


def read_card(folder: str) -> PatchCard:
    """What a folder holds.

    Raises:
        SceneError: It is no folder of patches, or its writing did not end.
    """
    try:
        table = json.loads(read_text(join(folder, _CARD)))
        if table.pop("format") != _FORMAT:
            raise SceneError(f"{folder} was written by another version; write it anew")
        return PatchCard(**{**table, "groups": tuple(tuple(group) for group in table["groups"])})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise SceneError(
            f"{folder} holds no patches: {_CARD} is missing or damaged; write them with "
            "st-ray prepare"
        ) from None


def read_patches(
    folder: str, card: PatchCard, *, components: int, patch_size: int
) -> tuple[TileStack, dict[int, Samples]]:
    """Patches of a folder as a stack, and its samples by part of the split.

    Only the columns that hold the asked components are read.

    Args:
        folder: Where they are.
        card: Its card.
        components: Of the largest stage.
        patch_size: Of the largest stage; the centres of the patches are kept.

    Raises:
        SceneError: The folder holds fewer components or smaller patches, or is damaged.
    """
    held = max(last for _, last in card.groups)
    if components > held or patch_size > card.patch_size:
        raise SceneError(
            f"{folder} holds {held} components of {card.patch_size}x{card.patch_size} pixels, the "
            f"curriculum asks for {components} of {patch_size}x{patch_size}; write it anew"
        )
    groups = [group for group in card.groups if group[0] < components]
    system, place = open_uri(folder)

    def read(columns: list[str]) -> Iterator[pa.Table]:
        try:
            for path in _files(system, place):
                yield pq.read_table(path, columns=columns, filesystem=system)
        except (OSError, pa.ArrowException) as problem:
            raise SceneError(f"cannot read {folder}: {problem}; write it anew") from None

    table = pa.concat_tables([_nothing(), *read(list(_INDEX.names))])
    if table.num_rows != card.rows:
        raise SceneError(
            f"{folder} holds {table.num_rows} patches where {_CARD} tells of {card.rows}; write it "
            "anew, from a cluster to storage that all nodes share"
        )
    order_N = np.lexsort((table["col"].to_numpy(), table["row"].to_numpy()))
    place_N = np.argsort(order_N)
    edge = card.patch_size - (trim := (card.patch_size - patch_size) // 2) * 2
    inner = slice(trim, trim + edge)
    values_NSSK = np.empty((len(order_N), edge, edge, components), np.float32)
    done = 0
    for part in read([_column(*group) for group in groups]):  # beside the stack, one file at a time
        place_M = place_N[done : done + part.num_rows]
        done += part.num_rows
        for (first, last), column in zip(groups, part.columns, strict=True):
            filled = 0
            for chunk in column.chunks:
                values = chunk.to_numpy_ndarray()[:, inner, inner, : components - first]
                values_NSSK[place_M[filled : filled + len(chunk)], ..., first:last] = values
                filled += len(chunk)
    stack = TileStack(values_REK=values_NSSK.reshape(-1, edge, components), halo=edge // 2)
    part_N = table["part"].to_numpy()[order_N]
    target_N = table["target"].to_numpy()[order_N].astype(np.int64)
    samples = {}
    for part in np.unique(part_N).tolist():
        position_M = np.flatnonzero(part_N == part)
        centres_M2 = np.stack([position_M * edge, np.zeros_like(position_M)], axis=1)
        samples[part] = Samples(centres_N2=centres_M2, targets_N=target_N[position_M])
    return stack, samples


def _column(first: int, last: int) -> str:
    return f"components_{first:03d}_{last:03d}"


# What is told of every patch, beside its values.
_INDEX = pa.schema(
    [("row", pa.int32()), ("col", pa.int32()), ("part", pa.uint8()), ("target", pa.int16())]
)


def _nothing() -> pa.Table:
    return _INDEX.empty_table()


def _files(system: fs.FileSystem, place: PurePosixPath) -> list[str]:
    found = system.get_file_info(fs.FileSelector(str(place)))
    return sorted(item.path for item in found if _IS_FILE.fullmatch(item.base_name))
