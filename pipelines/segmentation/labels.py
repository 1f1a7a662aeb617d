"""From blocks to a slide's label image, on tissue only."""

from collections.abc import Sequence
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from numpy.typing import NDArray

from pipelines.blockwise.frame import Block
from pipelines.segmentation.block import NOT_LOOKED, Labels, read_segmented
from pipelines.segmentation.work import SegmentationWork
from wsi.tissue import Tissue

# The background is a light grey. Okabe and Ito's colours, told apart by the colour-blind too, then
# eight that differ most from these and from each other (CIEDE2000, the red-green blind's too).
COLOURS = (
    (190, 190, 190),
    (213, 94, 0),
    (0, 114, 178),
    (0, 158, 115),
    (230, 159, 0),
    (204, 121, 167),
    (86, 180, 233),
    (240, 228, 66),
    (51, 51, 0),
    (51, 0, 102),
    (153, 51, 51),
    (0, 102, 102),
    (0, 255, 153),
    (153, 102, 255),
    (51, 0, 255),
    (204, 0, 153),
)


def colour_of(index: int) -> tuple[int, int, int]:
    """The colour of class number `index`; those of further classes come again."""
    return COLOURS[index if index < len(COLOURS) else 1 + (index - 1) % (len(COLOURS) - 1)]


def fraction_colour_of(index: int) -> tuple[float, float, float]:
    """The same colour in 0-1, as matplotlib takes it."""
    red, green, blue = colour_of(index)
    return red / 255, green / 255, blue / 255


def lazy_labels(of: SegmentationWork, blocks: Sequence[Block], tissue: Tissue) -> da.Array:
    """The labels (H, W) uint8 of a slide in pixels of its frame, put together when computed.

    A pixel whose centre is not on tissue is `NOT_LOOKED`.
    """
    edge = of.frame.core_px
    chunks = tuple(
        tuple(min(edge, length - start) for start in range(0, length, edge))
        for length in of.frame.shape
    )
    labels: da.Array = da.map_blocks(
        _block_labels,
        of=of,
        known=frozenset(blocks),
        tissue=tissue,
        chunks=chunks,
        dtype=np.uint8,
        meta=np.empty((0, 0), np.uint8),
        name=f"segmentation-{tokenize(str(of.folder), len(blocks))}",
    )
    return labels


def on_tissue(
    tissue: Tissue, rows: NDArray[np.int64], columns: NDArray[np.int64], *, scale: float
) -> NDArray[np.bool_]:
    """Whether the centres of a frame's pixels are on tissue, (rows, columns)."""
    at = [
        np.minimum(((n + 0.5) * scale / tissue.downsample).astype(np.int64), limit - 1)
        for n, limit in zip((rows, columns), tissue.mask.shape, strict=True)
    ]
    return tissue.mask[np.ix_(*at)]


def _block_labels(
    *, of: SegmentationWork, known: frozenset[Block], tissue: Tissue, block_info: dict[Any, Any]
) -> Labels:
    (top, bottom), (left, right) = block_info[None]["array-location"]
    block = Block(row=top // of.frame.core_px, column=left // of.frame.core_px)
    if block not in known:
        return np.full((bottom - top, right - left), NOT_LOOKED, np.uint8)
    mask = on_tissue(tissue, np.arange(top, bottom), np.arange(left, right), scale=of.frame.scale)
    return np.where(mask, read_segmented(of.path(block)).labels, np.uint8(NOT_LOOKED))
