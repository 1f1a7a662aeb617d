"""What a pyramid will hold, and the parts it is written in, each whole shards and independent."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi.jpeg.copy import shard_grid
from wsi.jpeg.tiles import JpegTiles, TiledLevel
from wsi.pyramid.halving import halvings
from wsi.pyramid.options import PyramidOptions
from wsi.pyramid.storage import Storage
from wsi.slide import Slide

Size = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A level of the slide that is decoded, and what is made of it by halving.

    Attributes
    ----------
    source_level, source_downsample
        The slide's level, and its level-0 pixels per pixel.
    sizes
        (width, height) of the source and of each halving.
    names
        Array of each of these.
    source_px
        Edge of what of the source decodes as a whole or not at all: its chunk, or a copied tile.
    is_source_stored
        Whether the source's array is written already, or copied, and only read here.
    """

    source_level: int
    source_downsample: float
    sizes: tuple[Size, ...]
    names: tuple[str, ...]
    source_px: int
    is_source_stored: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyPart:
    """A shard of the slide's own tiles: those of `tiles` go to (row, column) of array `name`.

    `tiles` is the level cut down to the shard, at (`first_row`, `first_column`) in tiles.
    """

    part_id: str
    name: str
    tiles: TiledLevel
    shard: tuple[int, int]
    shard_tiles: tuple[int, int]

    @property
    def first(self) -> tuple[int, int]:
        """(row, column) of the first tile in the level."""
        return self.shard[0] * self.shard_tiles[0], self.shard[1] * self.shard_tiles[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockPart:
    """A block to be decoded, and its shard of each level of a chain down to a single chunk."""

    part_id: str
    chain: Chain
    block: tuple[int, int]
    options: PyramidOptions
    storage: Storage


Part = CopyPart | BlockPart


@dataclass(frozen=True, slots=True, kw_only=True)
class PyramidPlan:
    """The levels of a pyramid, finest first.

    Attributes
    ----------
    codec
        Of the slide's own levels: ``"jpeg"`` with tiles unchanged or encoded here, or another.
    sizes, downsamples
        (width, height), and level-0 pixels per pixel, of the arrays ``0``, ``1`` …
    copied
        Array names and tiles of the levels that are copied.
    chains
        The others.
    storage
        Of the others.
    validity_px
        For each array whose pixels are the slide's own, edge of what is either readable or not,
        in pixels of that level.
    """

    options: PyramidOptions
    codec: str
    sizes: tuple[Size, ...]
    downsamples: tuple[float, ...]
    copied: dict[str, TiledLevel]
    chains: tuple[Chain, ...]
    storage: Storage
    validity_px: dict[str, int]

    def parts(self) -> Iterator[Part]:
        """The parts that can be written at once, in any order."""
        for name, level in self.copied.items():
            columns, rows = level.grid
            down, across = shard_grid(level)
            for row, column in np.ndindex(-(-rows // down), -(-columns // across)):
                yield CopyPart(
                    part_id=f"{name}-{row}-{column}",
                    name=name,
                    tiles=cut(level, row * down, column * across, down, across),
                    shard=(row, column),
                    shard_tiles=(down, across),
                )
        for chain in self.chains:
            yield from self.blocks(chain)

    def blocks(self, chain: Chain) -> Iterator[BlockPart]:
        """The blocks of a chain's source, in reading order."""
        width, height = chain.sizes[0]
        edge = self.options.block_px
        name = f"below-{chain.source_level}" if chain.is_source_stored else chain.names[0]
        for row, column in np.ndindex(-(-height // edge), -(-width // edge)):
            yield BlockPart(
                part_id=f"{name}-{row}-{column}",
                chain=chain,
                block=(row, column),
                options=self.options,
                storage=self.storage,
            )


def plan_pyramid(slide: Slide, options: PyramidOptions, tiles: JpegTiles | None) -> PyramidPlan:
    """Lay out the pyramid of an open slide.

    With `tiles`, from `find_tiles`, the slide's own levels are kept and those below its coarsest
    added; without, level 0 is decoded and each level is half the one before. Either way levels
    are added until one fits `options.coarsest_px`.
    """
    computed = "jpeg" if tiles or options.codec == "jpeg" else options.codec
    storage = Storage(
        codec="zstd" if computed == "auto" else computed,
        quality=options.quality,
        ngff=options.ngff,
        chunk_px=options.chunk_px,
    )
    if tiles is None:
        sizes = halvings(slide.dimensions, coarsest_px=options.coarsest_px)
        chain = Chain(
            source_level=0,
            source_downsample=1.0,
            sizes=tuple(sizes),
            names=tuple(str(n) for n in range(len(sizes))),
            source_px=options.chunk_px,
        )
        return PyramidPlan(
            options=options,
            codec=storage.codec,
            sizes=chain.sizes,
            downsamples=tuple(2.0**n for n in range(len(sizes))),
            copied={},
            chains=(chain,),
            storage=storage,
            validity_px={"0": options.chunk_px},
        )
    return _plan_copy(slide, options, tiles, storage)


def _plan_copy(
    slide: Slide, options: PyramidOptions, tiles: JpegTiles, storage: Storage
) -> PyramidPlan:
    """The slide's own levels, those between them if asked for, and those below the coarsest."""
    sizes: list[Size] = []
    downsamples: list[float] = []
    copied: dict[str, TiledLevel] = {}
    chains: list[Chain] = []
    last = len(tiles.levels) - 1
    for n, level in enumerate(tiles.levels):
        copied[str(len(sizes))] = level
        sizes.append(level.dimensions)
        downsample = slide.level_downsamples[n]
        downsamples.append(downsample)
        if n == last:
            added = halvings(level.dimensions, coarsest_px=options.coarsest_px)
        elif options.fill_levels:
            # Those at least half as large again as the slide's next level.
            between = halvings(level.dimensions, coarsest_px=1)
            added = [s for s in between if s[0] > 1.5 * tiles.levels[n + 1].dimensions[0]]
        else:
            continue
        if len(added) > 1:
            chain = Chain(
                source_level=n,
                source_downsample=downsample,
                sizes=tuple(added),
                names=tuple(str(len(sizes) - 1 + k) for k in range(len(added))),
                source_px=level.tile[0],
                is_source_stored=True,
            )
            chains.append(chain)
            sizes += added[1:]
            downsamples += [downsample * 2.0 ** (k + 1) for k in range(len(added) - 1)]
    return PyramidPlan(
        options=options,
        codec="jpeg",
        sizes=tuple(sizes),
        downsamples=tuple(downsamples),
        copied=copied,
        chains=tuple(chains),
        storage=storage,
        validity_px={name: level.tile[0] for name, level in copied.items()},
    )


def cut(level: TiledLevel, top: int, left: int, down: int, across: int) -> TiledLevel:
    """The rectangle of a level from tile (`top`, `left`) on, at most `down` x `across` tiles."""
    columns, rows = level.grid
    window = np.s_[top : min(top + down, rows), left : min(left + across, columns)]

    def pick(of_tiles: NDArray[Any]) -> NDArray[Any]:
        return np.ascontiguousarray(of_tiles.reshape(rows, columns)[window]).ravel()

    found_rows, found_columns = min(top + down, rows) - top, min(left + across, columns) - left
    return TiledLevel(
        dimensions=(found_columns * level.tile[0], found_rows * level.tile[1]),
        tile=level.tile,
        files=level.files,
        file_of=pick(level.file_of),
        offsets=pick(level.offsets),
        lengths=pick(level.lengths),
        tables=level.tables,
        colour=level.colour,
        frame=level.frame,
        is_complete=level.is_complete,
    )
