"""`labels/nuclei`: the number of each nucleus at its pixels, beside the slide's image."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pyarrow.parquet as pq
from dask.base import tokenize
from numpy.typing import NDArray

from pipelines.blockwise.frame import Block
from pipelines.labels import publish_labels
from pipelines.nuclei.block import MARGIN_PX
from pipelines.nuclei.table import MASK_COLUMNS, NucleiInfo, mask_of, read_info

LABEL = "nuclei"
PAINTED_PX = 4096  # edge of what is painted at a time, that of `write_labels`
Labels = NDArray[np.uint32]


def write_nuclei_labels(image: Path, table: Path) -> None:
    """Paint the nuclei of a table as ``labels/nuclei`` of an OME-Zarr image, or paint them anew.

    The labels lie on the image's own level-0 pixels; an id is that of the table. They get their
    place when they are complete.
    """
    info, _ = read_info(table)
    publish_labels(
        image,
        LABEL,
        lazy_labels(table, info),
        downsample=1.0,
        level0_mpp=info.level0_mpp,
        colours={},
        ours={"teacher_sha256": info.teacher_sha256},
    )


def lazy_labels(table: Path, info: NucleiInfo) -> da.Array:
    """The ids of nuclei at their level-0 pixels, (H, W) uint32, painted when computed."""
    width, height = info.dimensions
    chunks = tuple(
        tuple(min(PAINTED_PX, length - start) for start in range(0, length, PAINTED_PX))
        for length in (height, width)
    )
    labels: da.Array = da.map_blocks(
        _paint,
        table=table,
        info=info,
        chunks=chunks,
        dtype=np.uint32,
        meta=np.empty((0, 0), np.uint32),
        name=f"nuclei-{tokenize(str(table), table.stat().st_mtime_ns)}",
    )
    return labels


def _paint(*, table: Path, info: NucleiInfo, block_info: dict[Any, Any]) -> Labels:
    """The labels of one block of pixels."""
    (top, bottom), (left, right) = block_info[None]["array-location"]
    labels = np.zeros((bottom - top, right - left), np.uint32)
    groups = [
        number
        for number, block in enumerate(info.blocks)
        if _reaches(block, info, (left, top, right, bottom))
    ]
    with pq.ParquetFile(table) as file:
        for number in groups:
            for row in file.read_row_group(number, columns=list(MASK_COLUMNS)).to_pylist():
                _paint_one(labels, row, left, top, info.scale)
    return labels


def _reaches(block: Block, info: NucleiInfo, box: Sequence[int]) -> bool:
    """Whether nuclei of a block may reach into a box of level-0 pixels."""
    left, top = ((n * info.core_px - MARGIN_PX) * info.scale for n in (block.column, block.row))
    edge = (info.core_px + 2 * MARGIN_PX) * info.scale
    return left < box[2] and top < box[3] and left + edge > box[0] and top + edge > box[1]


def _paint_one(labels: Labels, row: dict[str, Any], left: int, top: int, scale: float) -> None:
    """Paint a nucleus; (`left`, `top`) is the level-0 pixel where `labels` begins.

    A pixel takes what the mask has at its centre. Where two nuclei claim one, the first has it.
    """
    places = []
    for first, length, start, limit in (
        (row["top"], row["height"], top, labels.shape[0]),
        (row["left"], row["width"], left, labels.shape[1]),
    ):
        begin = max(int(np.ceil(first * scale - 0.5)), start)
        end = min(int(np.ceil((first + length) * scale - 0.5)), start + limit)
        pixels = np.arange(begin, max(begin, end))
        within = np.floor((pixels + 0.5) / scale).astype(np.int64) - first
        places.append((slice(begin - start, max(begin, end) - start), within.clip(0, length - 1)))
    (rows, of_rows), (columns, of_columns) = places
    if not len(of_rows) or not len(of_columns):
        return
    mask = mask_of(row)[np.ix_(of_rows, of_columns)]
    part = labels[rows, columns]
    part[mask & (part == 0)] = row["id"]
