"""Copying a slide's JPEG tiles into a shard: no decoding, no loss, the speed of copying."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import TransposeCodec

from wsi.jpeg.codec import JpegCodec
from wsi.jpeg.stream import EOI, SOI, JpegError, scan_start
from wsi.jpeg.tiles import TiledLevel
from wsi.pyramid.shard import Pieces, ShardWriter

SHARD_PX = 8192  # edge of a shard: about 1,000 tiles, 10-30 MB of JPEG
NOMINAL_QUALITY = 90  # the codec wants a number; it says nothing of tiles that were copied
BLANK = 255  # what the scanner skipped is background
GAP_BYTES = 64 << 10  # what lies between two tiles is read too if it is less than this
RUN_BYTES = 2 << 20  # read at once, at most: what a processor's cache holds


def shard_grid(level: TiledLevel) -> tuple[int, int]:
    """(rows, columns) of tiles in a shard of a level."""
    columns, rows = level.grid
    return min(max(1, SHARD_PX // level.tile[1]), rows), min(
        max(1, SHARD_PX // level.tile[0]), columns
    )


def create_copy(group: zarr.Group, name: str, level: TiledLevel) -> None:
    """Create the array (c, y, x) that takes a level's tiles as its chunks."""
    down, across = shard_grid(level)
    group.create_array(
        name,
        shape=(3, level.dimensions[1], level.dimensions[0]),
        dtype="uint8",
        chunks=(3, level.tile[1], level.tile[0]),
        shards=(3, down * level.tile[1], across * level.tile[0]),
        filters=[TransposeCodec(order=(1, 2, 0))],
        serializer=_codec(level),
        compressors=None,
        fill_value=BLANK,
        dimension_names=("c", "y", "x"),
    )


def copy_shard(tiles: TiledLevel, path: Path, *, shard_tiles: tuple[int, int]) -> NDArray[np.bool_]:
    """Write a shard of (rows, columns) `shard_tiles` that begins with the tiles of `tiles`.

    Returns
    -------
    (rows, columns) of `tiles`, False where a tile's bytes are not a JPEG stream. Such a tile is
    stored as zeros, so that it is not taken for background.
    """
    columns, rows = tiles.grid
    valid = np.ones((rows, columns), np.bool_)
    rewrite = _HeaderRewriter(tiles)
    black: bytes | None = None
    with ShardWriter(path, shard_tiles[0] * shard_tiles[1]) as shard:
        for place, stored in _read_tiles(tiles):
            row, column = divmod(place, columns)
            pieces: Pieces
            try:
                pieces = rewrite(stored, length=int(tiles.lengths[place]))
            except JpegError:
                valid[row, column] = False
                black = black or _codec(tiles).encode_pixels(
                    np.zeros((tiles.tile[1], tiles.tile[0], 3), np.uint8)
                )
                pieces = (black,)
            shard.put(row * shard_tiles[1] + column, pieces)
    return valid


class _HeaderRewriter:
    """`TiledLevel.whole_stream`, which has to look at a header only once as long as it repeats."""

    def __init__(self, tiles: TiledLevel) -> None:
        self._tiles = tiles
        self._seen: dict[bytes, bytes] = {}
        self._length = 0

    def __call__(self, stored: memoryview, *, length: int) -> Pieces:
        if len(stored) < length:
            raise JpegError("the file ends inside the tile")
        if stored[:2] != SOI:  # nobody has looked at what is stored as a whole stream
            raise JpegError("a stream starts with FFD8")
        known = self._seen.get(bytes(stored[: self._length]))
        if known is not None and stored[-2:] == EOI:
            return known, stored[self._length :]
        whole = self._tiles.whole_stream(bytes(stored))
        if stored[-2:] == EOI:
            self._length = scan_start(bytes(stored))
            coded = len(stored) - self._length
            self._seen = {bytes(stored[: self._length]): whole[: len(whole) - coded]}
        return (whole,)


def _read_tiles(tiles: TiledLevel) -> Iterator[tuple[int, memoryview]]:
    """Each stored tile with its number, read in runs of neighbours, in the order of the file.

    The bytes of a tile beyond its file's end are missing. The memory of a run is used again for
    the next: new memory would cost as much as reading into it.
    """
    order = np.lexsort((tiles.offsets, tiles.file_of))
    order = order[tiles.lengths[order] > 0]
    buffer = bytearray()
    with ExitStack() as stack:
        opened: dict[int, int] = {}
        for run in _runs(tiles, order):
            index = int(tiles.file_of[run[0]])
            if index not in opened:
                opened[index] = os.open(tiles.files[index], os.O_RDONLY)
                stack.callback(os.close, opened[index])
            start = int(tiles.offsets[run[0]])
            end = max(int(tiles.offsets[place] + tiles.lengths[place]) for place in run)
            if len(buffer) < end - start:
                buffer = bytearray(end - start)
            read = memoryview(buffer)[: end - start]
            read = read[: os.preadv(opened[index], [read], start)]
            for place in run:
                begin = int(tiles.offsets[place]) - start
                yield place, read[begin : begin + int(tiles.lengths[place])]


def _runs(tiles: TiledLevel, order: NDArray[np.int64]) -> Iterator[list[int]]:
    """Split tile numbers, sorted by place, where the gap is large or the run long enough."""
    run: list[int] = []
    for place in order.tolist():
        if run:
            offset, last = int(tiles.offsets[place]), run[-1]
            far = offset - int(tiles.offsets[last] + tiles.lengths[last]) > GAP_BYTES
            long = offset - int(tiles.offsets[run[0]]) > RUN_BYTES
            if far or long or tiles.file_of[place] != tiles.file_of[last]:
                yield run
                run = []
        run.append(place)
    if run:
        yield run


def _codec(level: TiledLevel) -> JpegCodec:
    sampling: Any = level.frame.sampling
    return JpegCodec(
        quality=NOMINAL_QUALITY, encoded_color_space=level.colour, subsampling=sampling
    )
