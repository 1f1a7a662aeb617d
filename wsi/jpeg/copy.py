"""Copying a slide's JPEG tiles into Zarr shards: no decoding, no loss, the speed of copying.

A shard is a file of chunks followed by an index of their places and a checksum (Zarr v3,
`sharding_indexed`). The chunks here are the slide's own tiles, so a shard is assembled from bytes
and the array's metadata says how to decode them.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import TransposeCodec

from wsi.jpeg.codec import JpegCodec
from wsi.jpeg.stream import JpegError
from wsi.jpeg.tiles import TiledLevel

SHARD_PX = 8192  # edge of a shard: about 1,000 tiles, 10-30 MB of JPEG
NOMINAL_QUALITY = 90  # the codec wants a number; it says nothing of tiles that were copied
ABSENT = 2**64 - 1  # offset and length of a chunk that is not in its shard
BLANK = 255  # what the scanner skipped is background


def copy_level(level: TiledLevel, group: zarr.Group, name: str) -> NDArray[np.bool_]:
    """Write one level as array `name` of a group whose store is a local folder.

    Returns
    -------
    (rows, columns) of tiles, False where a tile's bytes are not a JPEG stream. Such a tile is
    stored as zeros, so that it is not taken for background.
    """
    tile_width, tile_height = level.tile
    columns, rows = level.grid
    per_shard = max(1, SHARD_PX // tile_width)
    across, down = min(per_shard, columns), min(per_shard, rows)
    codec = JpegCodec(
        quality=NOMINAL_QUALITY,
        encoded_color_space=level.colour,
        subsampling=level.frame.sampling,
    )
    array = group.create_array(
        name,
        shape=(3, level.dimensions[1], level.dimensions[0]),
        dtype="uint8",
        chunks=(3, tile_height, tile_width),
        shards=(3, down * tile_height, across * tile_width),
        filters=[TransposeCodec(order=(1, 2, 0))],
        serializer=codec,
        compressors=None,
        fill_value=BLANK,
        dimension_names=("c", "y", "x"),
    )
    unreadable = codec.encode_pixels(np.zeros((tile_height, tile_width, 3), np.uint8))
    valid = np.ones((rows, columns), np.bool_)
    folder = _folder_of(array)
    with level.files[0].open("rb") as file:
        for top in range(0, rows, down):
            for left in range(0, columns, across):
                chunks: list[bytes | None] = [None] * (down * across)
                for row, column, index in _tiles(top, left, down, across, rows, columns):
                    place = row * columns + column
                    try:
                        chunks[index] = level.read_stream(file, place)
                    except JpegError:
                        valid[row, column] = False
                        chunks[index] = unreadable
                if any(chunks):
                    shard = folder / "c" / "0" / str(top // down) / str(left // across)
                    shard.parent.mkdir(parents=True, exist_ok=True)
                    _write_shard(shard, chunks)
    return valid


def _tiles(
    top: int, left: int, down: int, across: int, rows: int, columns: int
) -> Iterator[tuple[int, int, int]]:
    """(row, column, index in the shard) of each tile of a shard, in the file's order."""
    for row in range(top, min(top + down, rows)):
        for column in range(left, min(left + across, columns)):
            yield row, column, (row - top) * across + column - left


def _write_shard(path: Path, chunks: list[bytes | None]) -> None:
    """Write chunks in order, then their offsets and lengths, then the checksum of those."""
    index, offset = [], 0
    for chunk in chunks:
        index += [ABSENT, ABSENT] if chunk is None else [offset, len(chunk)]
        offset += len(chunk or b"")
    packed = struct.pack(f"<{len(index)}Q", *index)
    with path.open("wb") as shard:
        shard.writelines(chunk for chunk in chunks if chunk is not None)
        shard.write(packed + struct.pack("<I", google_crc32c.value(packed)))


def _folder_of(array: zarr.Array[Any]) -> Path:
    root: Any = array.store
    return Path(root.root) / array.path
