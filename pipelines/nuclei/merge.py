"""From blocks to a slide: a nucleus that several blocks found counts once.

Whether a nucleus counts depends on its block and the eight around it only, so blocks are joined
one after the other in the memory of a few, and in any order.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.blockwise.frame import Block, BlockFrame, on_tissue
from pipelines.nuclei.block import FoundNuclei
from pipelines.nuclei.table import MASK_COLUMNS, mask_of
from wsi.tissue import Tissue

SAME = 0.5  # of the smaller one's area: two that overlap more are one nucleus
BORDER_COLUMNS = [*MASK_COLUMNS[1:], "inside"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Border:
    """The nuclei of a block that a neighbour may have found too."""

    rows: Sequence[Mapping[str, Any]]
    boxes: NDArray[np.int64]  # (N, 4) left, top, right, bottom


def merge_blocks(
    frame: BlockFrame,
    blocks: Sequence[Block],
    read: Callable[[Block], FoundNuclei],
    tissue: Tissue,
) -> Iterator[tuple[Block, pa.Table]]:
    """Yield each block with the nuclei that count as its own and lie on tissue.

    A nucleus with its centre inside a block goes before one that lies hardly outside, and of
    equals the one of the earlier block; what overlaps it by more than `SAME` is dropped.

    Parameters
    ----------
    blocks
        Those that were looked at, row by row.
    read
        Gives what was found in one of them; called for it and for its neighbours.
    """
    known = set(blocks)
    borders: dict[Block, _Border] = {}

    def border(block: Block) -> _Border:
        if block not in borders:
            borders[block] = _border_of(read(block).table)
        return borders[block]

    for block in blocks:
        for passed in [b for b in borders if b.row < block.row - 1]:
            del borders[passed]
        table = read(block).table
        kept = on_tissue(table["x"].to_numpy(), table["y"].to_numpy(), tissue)
        around = [(b, border(b)) for b in frame.neighbours(block) if b in known]
        shared = np.flatnonzero(table["shared"].to_numpy())
        for index, row in zip(
            shared.tolist(), table.select(BORDER_COLUMNS).take(shared).to_pylist(), strict=True
        ):
            kept[index] &= not _is_taken(block, row, around)
        yield block, table.filter(pa.array(kept))


def _is_taken(
    block: Block, row: Mapping[str, Any], around: Sequence[tuple[Block, _Border]]
) -> bool:
    """Whether another block's nucleus goes before this one."""
    box = _box_of(row)
    mine = (not row["inside"], block.row, block.column)
    for other, border in around:
        left, top, right, bottom = border.boxes.T
        meets = (left < box[2]) & (right > box[0]) & (top < box[3]) & (bottom > box[1])
        for index in np.flatnonzero(meets).tolist():
            its = border.rows[index]
            if (not its["inside"], other.row, other.column) < mine and _is_same(row, its):
                return True
    return False


def _is_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two masks overlap by more than `SAME` of the smaller one."""
    a, b = _box_of(one), _box_of(other)
    left, top = max(a[0], b[0]), max(a[1], b[1])
    right, bottom = min(a[2], b[2]), min(a[3], b[3])
    masks = [mask_of(one), mask_of(other)]
    parts = [
        mask[top - box[1] : bottom - box[1], left - box[0] : right - box[0]]
        for mask, box in zip(masks, (a, b), strict=True)
    ]
    overlap = np.count_nonzero(parts[0] & parts[1])
    return bool(overlap > SAME * min(np.count_nonzero(mask) for mask in masks))


def _border_of(table: pa.Table) -> _Border:
    rows = table.filter(pc.field("shared")).select(BORDER_COLUMNS).to_pylist()
    boxes = np.array([_box_of(row) for row in rows], np.int64).reshape(-1, 4)
    return _Border(rows=rows, boxes=boxes)


def _box_of(row: Mapping[str, Any]) -> tuple[int, int, int, int]:
    left, top = int(row["left"]), int(row["top"])
    return left, top, left + int(row["width"]), top + int(row["height"])
