"""Tiles that need no second embedding, because only the choice of tiles changed.

Where a tile lies depends on slide, model and stride, never on the mask: the grid covers the whole
slide and the mask picks from it. After a person edited the tissue most tiles are the same.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.embedding.embedders import Embedder
from pipelines.embedding.tiles import join_tables, part_of
from pipelines.receipts import Receipts
from wsi.grid import TileGrid
from wsi.preprocess import needs_sample
from wsi.tilestore import LeftOut, TileTable, read_tiles

CHOOSING = ("mask", "min_tissue_fraction")  # parameters that pick tiles and change none


def known_tiles(
    receipts: Receipts, embedders: Sequence[Embedder], base: Mapping[str, Any]
) -> TileTable | None:
    """The tiles of the last embedding, if it differed from this one in the choice of tiles only.

    Slide, code version and all other parameters (`base` is what every step depends on) must be the
    same, and the embedders' files as they were written; else None. So it is where their tiles
    differ. Nor are any known where steps are fitted to a sample: another choice of tiles is
    another sample, which changes every tile. The table's embeddings are those of all side by side.
    """
    tables: list[TileTable] = []
    for embedder in embedders:
        parameters = {**base, **embedder.parameters}
        receipt = receipts.standing(embedder.step)
        if (
            needs_sample(parameters["preprocess"])
            or receipt is None
            or embedder.file not in receipt["outputs"]
            or _without_choice(receipt["parameters"]) != _without_choice(parameters)
        ):
            return None
        tables.append(read_tiles(receipts.folder / embedder.file))
    if any(not np.array_equal(table.coords, tables[0].coords) for table in tables):
        return None
    return replace(
        tables[0], embeddings=np.concatenate([table.embeddings for table in tables], axis=1)
    )


def unknown_tiles(grid: TileGrid, known: TileTable | None) -> TileGrid:
    """The tiles of a grid that were not dealt with yet.

    Tiles known not to decode are not tried again: the slide's bytes are the same.
    """
    if known is None:
        return grid
    dealt_with = np.concatenate([known.coords, known.invalid, known.left_out.coords])
    return part_of(grid, ~_is_in(grid.coords, dealt_with))


def complete(
    grid: TileGrid, known: TileTable | None, embed: Callable[[TileGrid], TileTable]
) -> tuple[TileTable, int]:
    """Embed the tiles of `grid` that are not known; the table of all, and how many were known.

    The table has the grid's order, as if all had been embedded now.
    """
    if known is None:
        return embed(grid), 0
    new = unknown_tiles(grid, known)
    if len(new.coords) == 0:
        return _pick(known, grid), len(grid.coords)
    joined = join_tables([known, embed(new)])
    return _pick(joined, grid), len(grid.coords) - len(new.coords)


def _pick(table: TileTable, grid: TileGrid) -> TileTable:
    """The grid's tiles from a table that has them all, in the grid's order."""
    rows, out = _rows(table.coords, grid), _rows(table.left_out.coords, grid)
    return replace(
        table,
        coords=table.coords[rows],
        embeddings=table.embeddings[rows],
        invalid=grid.coords[_is_in(grid.coords, table.invalid)],
        quality=None if table.quality is None else table.quality[rows],
        left_out=LeftOut(
            coords=table.left_out.coords[out],
            quality=table.left_out.quality[out],
            reason=table.left_out.reason[out],
        ),
    )


def _rows(coords: NDArray[np.int64], grid: TileGrid) -> list[int]:
    """Where in `coords` the grid's tiles are, as far as they are there, in the grid's order."""
    row_of = {(x, y): row for row, (x, y) in enumerate(coords.tolist())}
    return [row_of[x, y] for x, y in grid.coords.tolist() if (x, y) in row_of]


def _is_in(coords: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.bool_]:
    known = {(x, y) for x, y in others.tolist()}
    return np.array([(x, y) in known for x, y in coords.tolist()], np.bool_)


def _without_choice(parameters: Mapping[str, Any]) -> dict[str, Any]:
    as_stored = json.loads(json.dumps(parameters, default=str))
    return {name: value for name, value in as_stored.items() if name not in CHOOSING}
