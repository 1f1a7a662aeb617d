"""Tiles that need no second embedding, because only the choice of tiles changed.

Where a tile lies depends on slide, model and stride, never on the mask: the grid covers the whole
slide and the mask picks from it. After a person edited the tissue most tiles are the same.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.embedding.tiles import join_tables, part_of
from pipelines.receipts import Receipts
from pipelines.runfolder import TILES_NAME
from wsi.grid import TileGrid
from wsi.preprocess import needs_sample
from wsi.tilestore import LeftOut, TileTable, read_tiles

CHOOSING = ("mask", "min_tissue_fraction")  # parameters that pick tiles and change none


def known_tiles(receipts: Receipts, parameters: Mapping[str, Any]) -> TileTable | None:
    """The tiles of the last embedding, if it differed from this one in the choice of tiles only.

    Slide, code version and all other `parameters` (of the step ``embed``) must be the same, and
    `tiles.h5` as it was written; else None. Nor are any known where steps are fitted to a sample:
    another choice of tiles is another sample, which changes every tile.
    """
    if needs_sample(parameters["preprocess"]):
        return None
    receipt = receipts.standing("embed")
    if receipt is None or TILES_NAME not in receipt["outputs"]:
        return None
    if _without_choice(receipt["parameters"]) != _without_choice(parameters):
        return None
    return read_tiles(receipts.folder / TILES_NAME)


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
