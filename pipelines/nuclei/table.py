"""`nuclei.parquet`: one row a nucleus, one row group a block, and the mask of each nucleus.

The masks make it the source of everything else that is written about nuclei. Programs that read
other columns do not load them.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from distill.teachers.measure import MEASURES
from pipelines.blockwise.frame import Block
from pipelines.nuclei.shape import Shape
from pipelines.readable import Unreadable
from wsi.atomic import replacing

META = b"raypath"
# Blocks see the same nucleus with slightly different surroundings, so that its centre may move
# by a fraction of a pixel. Within this distance of the border both neighbours keep it, and
# `pipelines.nuclei.merge` decides.
SLACK_PX = 8
MASK_FIELDS = [
    ("left", pa.int32()),
    ("top", pa.int32()),
    ("width", pa.int16()),
    ("height", pa.int16()),
    ("mask", pa.binary()),
]
SCHEMA = pa.schema(
    [
        ("id", pa.uint32()),
        ("x", pa.float64()),
        ("y", pa.float64()),
        *((name, pa.float32()) for name in MEASURES),
        *MASK_FIELDS,
    ]
)
MASK_COLUMNS = ("id", "left", "top", "width", "height", "mask")


@dataclass(frozen=True, slots=True, kw_only=True)
class NucleiInfo:
    """What a table of nuclei says of itself.

    Attributes
    ----------
    slide_id
        The slide.
    scale, mpp
        Level-0 pixels, and µm, per pixel of the masks.
    shape
        (height, width) of the slide in pixels of the masks.
    level0_mpp, dimensions
        µm per pixel, and (width, height), of level 0.
    origin
        Corner (x, y) of the scanned area, level-0 pixels, from which QuPath counts.
    core_px, blocks
        Edge of a block in pixels of the masks; the block of each row group.
    teacher_sha256
        Of the weights that found the nuclei.
    unreadable
        Where nobody could look.
    """

    slide_id: str
    scale: float
    mpp: float
    shape: tuple[int, int]
    level0_mpp: float
    dimensions: tuple[int, int]
    origin: tuple[int, int]
    core_px: int
    blocks: tuple[Block, ...]
    teacher_sha256: str
    unreadable: tuple[Unreadable, ...]

    def to_json(self) -> str:
        """As it is stored."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> "NucleiInfo":
        """As it was stored."""
        values = json.loads(text)
        for name in ("shape", "dimensions", "origin"):
            values[name] = tuple(values[name])
        values["blocks"] = tuple(Block(**block) for block in values["blocks"])
        values["unreadable"] = tuple(Unreadable(**square) for square in values["unreadable"])
        return cls(**values)


def mask_columns(shapes: Sequence[Shape]) -> dict[str, Any]:
    """The masks of nuclei, packed eight pixels a byte, row by row."""
    return {
        "left": [shape.left for shape in shapes],
        "top": [shape.top for shape in shapes],
        "width": [shape.mask.shape[1] for shape in shapes],
        "height": [shape.mask.shape[0] for shape in shapes],
        "mask": [np.packbits(shape.mask).tobytes() for shape in shapes],
    }


def mask_of(row: Mapping[str, Any]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """The mask (H, W) of a row."""
    height, width = row["height"], row["width"]
    bits = np.unpackbits(np.frombuffer(row["mask"], np.uint8), count=height * width)
    return bits.reshape(height, width).astype(np.bool_)


def write_nuclei(path: Path, groups: Iterator[tuple[Block, pa.Table]], info: NucleiInfo) -> int:
    """Write tables of nuclei, one row group each, numbering them from 1; returns how many.

    Blocks without nuclei have no row group. A table is let go before the next is asked for.
    """
    count, blocks = 0, []
    with replacing(path) as tmp, pq.ParquetWriter(tmp, SCHEMA, compression="zstd") as writer:
        for block, table in groups:
            if table.num_rows == 0:
                continue
            ids = pa.array(range(count + 1, count + table.num_rows + 1), pa.uint32())
            numbered = table.add_column(0, "id", ids).select(SCHEMA.names).cast(SCHEMA)
            writer.write_table(numbered, row_group_size=table.num_rows)
            count += table.num_rows
            blocks.append(block)
        info = replace(info, blocks=tuple(blocks))
        writer.add_key_value_metadata({META.decode(): info.to_json()})
    return count


def read_info(path: Path) -> tuple[NucleiInfo, int]:
    """What a table says of itself, and how many nuclei it has."""
    metadata = pq.read_metadata(path)
    return NucleiInfo.from_json(metadata.metadata[META]), int(metadata.num_rows)


def read_groups(path: Path, columns: Sequence[str]) -> Iterator[pa.Table]:
    """The nuclei, a block at a time."""
    with pq.ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            yield file.read_row_group(number, columns=list(columns))
