"""One block of a slide: read, looked at by the teacher, cut into nuclei, measured, stored."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from distill.teachers.labelled import Instances
from distill.teachers.measure import MEASURES, measure
from distill.teachers.postprocess import separate
from distill.teachers.predict import predict_maps
from distill.teachers.teacher import Teacher
from pipelines.blockwise.frame import Block, BlockFrame
from pipelines.nuclei.shape import Shape, shapes_of
from pipelines.nuclei.table import MASK_FIELDS, META, SLACK_PX, mask_columns
from pipelines.readable import SQUARE_PX, Box, Unreadable, read_known
from wsi.atomic import replacing
from wsi.slide import Slide

# 1728 + 2 × 96 pixels are three windows of 768 whose middle 640 are kept. Larger windows see less
# twice but take more memory: 1024 take 0.8 GB beyond the weights, 512 take 1.7 times as long.
CORE_PX = 1728
MARGIN_PX = 96  # 24 µm at 40×: no nucleus with its centre in a block reaches further out of it
WINDOW_PX = 768  # of the network, see `distill.teachers.predict`
SHARED_PX = 48  # a nucleus nearer to the border than this is compared with the neighbours'
# What is longer is whole in no block for certain. At 40× it is 44 µm: keratin, a fold, ink.
LONGEST_PX = 2 * (MARGIN_PX - SLACK_PX)

BLOCK_SCHEMA = pa.schema(
    [
        ("x", pa.float64()),
        ("y", pa.float64()),
        *((name, pa.float32()) for name in MEASURES),
        *MASK_FIELDS,
        ("inside", pa.bool_()),  # whether the centre lies in the core
        ("shared", pa.bool_()),  # whether a neighbour may have it too
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundNuclei:
    """What was found in a block: `table` of `BLOCK_SCHEMA`, and what did not decode."""

    table: pa.Table
    unreadable: tuple[Unreadable, ...]


def find_nuclei(
    slide: Slide, frame: BlockFrame, block: Block, teacher: Teacher, *, bfloat16: bool = False
) -> FoundNuclei:
    """Find the nuclei whose centre lies in a block, or hardly outside it.

    Nuclei that touch what does not decode are left out, and what is longer than `LONGEST_PX` or
    reaches out of what the block sees is not a nucleus: that does not depend on the block.
    """
    seen = frame.seen(block, margin_px=MARGIN_PX)
    pixels, bad = read_known(slide, seen, spec=frame.spec, plan=frame.plan, scale=frame.scale)
    maps = predict_maps(teacher.net, pixels, window_px=WINDOW_PX, bfloat16=bfloat16)
    nuclei = separate(maps, teacher.thresholds)
    if bad:
        nuclei[np.isin(nuclei, _touched(nuclei, bad))] = 0
    shapes = shapes_of(nuclei, left=seen[0], top=seen[1])
    centres = np.array([[shape.x, shape.y] for shape in shapes]).reshape(-1, 2)
    outside_by = _distance_outside(centres, frame.core(block))
    kept = (outside_by <= SLACK_PX) & np.array([_is_whole(s, seen, frame) for s in shapes], bool)
    measured = measure(nuclei, pixels, mpp=frame.mpp)
    columns: dict[str, Any] = {
        "x": centres[kept, 0] * frame.scale,
        "y": centres[kept, 1] * frame.scale,
        **{name: getattr(measured, name)[kept] for name in MEASURES},
        **mask_columns([shape for shape, is_kept in zip(shapes, kept, strict=True) if is_kept]),
        "inside": outside_by[kept] <= 0,
        "shared": np.array([_is_shared(s, frame.core(block)) for s in shapes], bool)[kept],
    }
    left, top = seen[:2]
    squares = tuple(
        Unreadable(
            x=(left + x) * frame.scale, y=(top + y) * frame.scale, size=SQUARE_PX * frame.scale
        )
        for x, y in bad
    )
    return FoundNuclei(table=pa.Table.from_pydict(columns, schema=BLOCK_SCHEMA), unreadable=squares)


def write_found(path: Path, found: FoundNuclei) -> None:
    """Store a block's nuclei; the file is there whole or not at all."""
    squares = json.dumps([asdict(square) for square in found.unreadable])
    with replacing(path) as tmp:
        pq.write_table(found.table.replace_schema_metadata({META: squares}), tmp)


def read_found(path: Path) -> FoundNuclei:
    """Read what `write_found` wrote."""
    table = pq.read_table(path)
    squares = json.loads(table.schema.metadata[META])
    return FoundNuclei(
        table=table.replace_schema_metadata(),
        unreadable=tuple(Unreadable(**square) for square in squares),
    )


def _touched(nuclei: Instances, squares: Sequence[tuple[int, int]]) -> NDArray[np.int32]:
    """The labels that reach into squares or lie at their border; the background is not one."""
    found = [
        np.unique(nuclei[max(y - 1, 0) : y + SQUARE_PX + 1, max(x - 1, 0) : x + SQUARE_PX + 1])
        for x, y in squares
    ]
    touched = np.unique(np.concatenate(found))
    return touched[touched > 0]


def _distance_outside(points: NDArray[np.float64], box: Box) -> NDArray[np.float64]:
    """How far (N, 2) points lie outside a box, along the axis where it is more; 0 inside."""
    left, top, right, bottom = box
    x, y = points.T
    # The right and the lower edge belong to the next block.
    beyond = [left - x, top - y, np.nextafter(x, np.inf) - right, np.nextafter(y, np.inf) - bottom]
    return np.asarray(np.maximum(np.max(beyond, axis=0), 0))


def _is_whole(shape: Shape, seen: Box, frame: BlockFrame) -> bool:
    """Whether a nucleus lies within what a block sees, and is not too long for one."""
    (height, width), (frame_height, frame_width) = shape.mask.shape, frame.shape
    left, top, right, bottom = seen
    is_cut = (
        0 < left == shape.left
        or 0 < top == shape.top
        or frame_width > right == shape.left + width
        or frame_height > bottom == shape.top + height
    )
    return not is_cut and max(height, width) <= LONGEST_PX


def _is_shared(shape: Shape, box: Box) -> bool:
    """Whether a nucleus reaches to within `SHARED_PX` of a box's edge, or beyond."""
    left, top, right, bottom = box
    height, width = shape.mask.shape
    return (
        shape.left < left + SHARED_PX
        or shape.top < top + SHARED_PX
        or shape.left + width > right - SHARED_PX
        or shape.top + height > bottom - SHARED_PX
    )
