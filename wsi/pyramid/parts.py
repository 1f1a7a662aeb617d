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
    """Decode a block of a slide's level and write its shards of the pyramid at `root`.

    What does not decode is said of the level's own array, be it copied or written here.
    """
    chain, edge = part.chain, part.options.block_px
    left, top = part.block[1] * edge, part.block[0] * edge
    width, height = (min(edge, n - at) for n, at in zip(chain.sizes[0], (left, top), strict=True))
    pixels, invalid = _read_block(slide, part, (left, top), (width, height), pool)
    write_halvings(root, part.storage, chain, pixels, part.block, block_px=edge, pool=pool)
    return [(chain.names[0], row, column) for row, column in invalid]


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
    for n, (name, size) in enumerate(zip(chain.names, chain.sizes, strict=True)):
        if n > 0 or not chain.is_source_stored:
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
    """(3, h, w) pixels, and (row, column) of chunks or tiles that do not decode: zeros."""
    chain, edge = part.chain, part.chain.source_px
    (left, top), (width, height) = corner, size
    right, bottom = left + width, top + height
    pixels = np.zeros((3, height, width), np.uint8)

    def read(x0: int, y0: int, x1: int, y1: int) -> bool:
        """Read a rectangle of the level into its place; False if it does not decode."""
        location = (round(x0 * chain.source_downsample), round(y0 * chain.source_downsample))
        try:
            region = slide.read_region(location, chain.source_level, (x1 - x0, y1 - y0))
        except UnreadableRegionError:
            return False
        pixels[:, y0 - top : y1 - top, x0 - left : x1 - left] = region.transpose(2, 0, 1)
        return True

    def read_row(row: int) -> list[tuple[int, int]]:
        """Read a row of chunks or tiles, as much as is in the block; (row, column) of invalid."""
        y0, y1 = max(row * edge, top), min((row + 1) * edge, bottom)
        if read(left, y0, right, y1):
            return []
        return [
            (row, column)
            for column in range(left // edge, -(-right // edge))
            if not read(max(column * edge, left), y0, min((column + 1) * edge, right), y1)
        ]

    in_parallel = pool.map if slide.reads_in_parallel else map
    rows = in_parallel(read_row, range(top // edge, -(-bottom // edge)))
    return pixels, [place for invalid in rows for place in invalid]
