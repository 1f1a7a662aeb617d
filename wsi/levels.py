"""Levels of a pyramid, each half the one before, written shard by shard in bounded memory."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from PIL import Image
from zarr.codecs import ZstdCodec

from wsi.slide import Pixels

CHUNK_PX = 512  # edge of a chunk, the unit a viewer reads
SHARD_PX = 4096  # edge of a shard, the unit a worker writes: 50 MB of pixels
COARSEST_PX = 512  # levels are added until one fits into this
ZSTD_LEVEL = 1  # stained tissue is noise to zstd: higher levels cost time and gain little

ReadBlock = Callable[[int, int, int, int], Pixels]


def halvings(dimensions: tuple[int, int]) -> list[tuple[int, int]]:
    """(width, height) of a level and of its halvings, down to one that fits `COARSEST_PX`.

    Examples
    --------
    >>> halvings((1100, 900))
    [(1100, 900), (550, 450), (275, 225)]
    """
    sizes = [dimensions]
    while max(sizes[-1]) > COARSEST_PX:
        width, height = sizes[-1]
        sizes.append((-(-width // 2), -(-height // 2)))
    return sizes


def create_level(group: zarr.Group, name: str, dimensions: tuple[int, int]) -> zarr.Array[Any]:
    """Create a sharded array (c, y, x) uint8 behind zstd for a level of (width, height)."""
    width, height = dimensions
    shard = tuple(min(SHARD_PX, -(-n // CHUNK_PX) * CHUNK_PX) for n in (height, width))
    return group.create_array(
        name,
        shape=(3, height, width),
        dtype="uint8",
        chunks=(3, CHUNK_PX, CHUNK_PX),
        shards=(3, *shard),
        compressors=ZstdCodec(level=ZSTD_LEVEL),
        dimension_names=("c", "y", "x"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelWriter:
    """Walks a pyramid as a quad-tree: a shard is halved while it is in memory.

    Attributes
    ----------
    read
        Gives the pixels of a block of the finest level: left, top, width, height to (H, W, 3).
    sizes
        (width, height) of each level, from `halvings`.
    arrays
        Where each level goes; None for a level that is already written elsewhere.
    """

    read: ReadBlock
    sizes: list[tuple[int, int]]
    arrays: list[zarr.Array[Any] | None]

    def write(self) -> None:
        """Write every level, reading each block of the finest once."""
        width, height = self.sizes[-1]
        for row in range(-(-height // SHARD_PX)):
            for column in range(-(-width // SHARD_PX)):
                self._build(len(self.sizes) - 1, row, column)

    def _build(self, level: int, row: int, column: int) -> Pixels:
        """Write shard (row, column) of a level and all below it; returns its pixels (H, W, 3)."""
        width, height = self.sizes[level]
        top, left = row * SHARD_PX, column * SHARD_PX
        shard_height, shard_width = min(SHARD_PX, height - top), min(SHARD_PX, width - left)
        if level == 0:
            pixels = self.read(left, top, shard_width, shard_height)
        else:
            pixels = np.empty((shard_height, shard_width, 3), np.uint8)
            half = SHARD_PX // 2
            for dy in range(-(-shard_height // half)):
                for dx in range(-(-shard_width // half)):
                    child = self._build(level - 1, 2 * row + dy, 2 * column + dx)
                    # Pillow averages the pixels there are in an odd last row or column.
                    reduced = np.asarray(Image.fromarray(child).reduce(2))
                    y, x = dy * half, dx * half
                    pixels[y : y + reduced.shape[0], x : x + reduced.shape[1]] = reduced
        array = self.arrays[level]
        if array is not None:
            rows, columns = slice(top, top + shard_height), slice(left, left + shard_width)
            array[:, rows, columns] = pixels.transpose(2, 0, 1)
        return pixels
