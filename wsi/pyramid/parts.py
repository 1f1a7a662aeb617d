"""Writing a part of a pyramid: copied tiles, or a block decoded and halved."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from wsi.errors import UnreadableRegionError
from wsi.jpeg.copy import copy_shard
from wsi.pyramid.halving import halve
from wsi.pyramid.plan import BlockPart, Chain, CopyPart
from wsi.pyramid.storage import Storage
from wsi.slide import Pixels, Slide

Invalid = list[tuple[str, int, int]]  # array, row and column of chunks that did not decode


def write_copy(root: Path, part: CopyPart) -> Invalid:
    """Copy a shard of tiles into the pyramid at `root`."""
    row, column = part.shard
    path = root / part.name / "c" / "0" / str(row) / str(column)
    valid = copy_shard(part.tiles, path, shard_tiles=part.shard_tiles)
    top, left = part.first
    return [(part.name, top + int(y), left + int(x)) for y, x in np.argwhere(~valid)]


def write_block(root: Path, part: BlockPart, slide: Slide, pool: ThreadPoolExecutor) -> Invalid:
    """Decode a block of a slide's level and write its shards of the pyramid at `root`."""
    chain, edge = part.chain, part.options.block_px
    left, top = part.block[1] * edge, part.block[0] * edge
    width, height = (min(edge, n - at) for n, at in zip(chain.sizes[0], (left, top), strict=True))
    pixels, invalid = _read_block(slide, part, (left, top), (width, height), pool)
    write_halvings(root, part.storage, chain, pixels, part.block, block_px=edge, pool=pool)
    name = chain.names[0]
    if name is None:  # the level is copied, and what is damaged in it is found there
        return []
    return [(name, row, column) for row, column in invalid]


def write_halvings(
    root: Path,
    storage: Storage,
    chain: Chain,
    pixels: Pixels,
    block: tuple[int, int],
    *,
    block_px: int,
    pool: ThreadPoolExecutor,
) -> None:
    """Write (3, h, w) pixels, a block of a chain's source, and their halvings to a single chunk."""
    shard_px = block_px
    for name, size in zip(chain.names, chain.sizes, strict=True):
        if name is not None:
            storage.write(root / name, pixels, block, dimensions=size, shard_px=shard_px, pool=pool)
        shard_px //= 2
        if shard_px < storage.chunk_px:
            return
        pixels = halve(pixels)


def levels_a_block(block_px: int, chunk_px: int) -> int:
    """How many levels of a chain a block is whole shards of, its source included."""
    return (block_px // chunk_px).bit_length()


def _read_block(
    slide: Slide,
    part: BlockPart,
    corner: tuple[int, int],
    size: tuple[int, int],
    pool: ThreadPoolExecutor,
) -> tuple[Pixels, list[tuple[int, int]]]:
    """(3, h, w) pixels, and (row, column) of chunks that do not decode, which are zeros."""
    chain, edge = part.chain, part.options.chunk_px
    level, downsample = chain.source_level, chain.source_downsample
    (left, top), (width, height) = corner, size
    pixels = np.zeros((3, height, width), np.uint8)

    def read(x: int, y: int, w: int) -> bool:
        """Read a rectangle, at most a chunk high, into its place; False if it does not decode."""
        h = min(edge, height - y)
        location = (round((left + x) * downsample), round((top + y) * downsample))
        try:
            region = slide.read_region(location, level, (w, h))
        except UnreadableRegionError:
            return False
        pixels[:, y : y + h, x : x + w] = region.transpose(2, 0, 1)
        return True

    def read_strip(y: int) -> list[tuple[int, int]]:
        if read(0, y, width):
            return []
        return [
            ((top + y) // edge, (left + x) // edge)
            for x in range(0, width, edge)
            if not read(x, y, min(edge, width - x))
        ]

    in_parallel = pool.map if slide.reads_in_parallel else map
    strips = in_parallel(read_strip, range(0, height, edge))
    return pixels, [place for invalid in strips for place in invalid]
