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
    pixels, invalid = _read_block(slide, part, (left, top), (width, height))
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
    slide: Slide, part: BlockPart, corner: tuple[int, int], size: tuple[int, int]
) -> tuple[Pixels, list[tuple[int, int]]]:
    """(3, h, w) pixels, and (row, column) of chunks that do not decode, which are zeros."""
    chain, edge = part.chain, part.options.chunk_px
    level, downsample = chain.source_level, chain.source_downsample
    (left, top), (width, height) = corner, size

    def read(x: int, y: int, w: int, h: int) -> Pixels:
        location = (round((left + x) * downsample), round((top + y) * downsample))
        return slide.read_region(location, level, (w, h))

    try:
        return np.ascontiguousarray(read(0, 0, width, height).transpose(2, 0, 1)), []
    except UnreadableRegionError:
        pixels = np.zeros((3, height, width), np.uint8)
    invalid = []
    for y in range(0, height, edge):
        for x in range(0, width, edge):
            w, h = min(edge, width - x), min(edge, height - y)
            try:
                pixels[:, y : y + h, x : x + w] = read(x, y, w, h).transpose(2, 0, 1)
            except UnreadableRegionError:
                invalid.append(((top + y) // edge, (left + x) // edge))
    return pixels, invalid
