"""Embedding a large slide's tiles in blocks: a block is a run of tiles in the grid's order."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from pipelines.blockwise.work import BlockPlan, BlockWork
from pipelines.embedding.embedders import Embedder
from pipelines.embedding.tiles import embed_tiles, fit_to_slide, join_tables, part_of
from pipelines.model import Model, load_model
from pipelines.settings.config import RunConfig
from pipelines.steps.opened import Opened
from pipelines.steps.timing import Timing
from wsi.atomic import replacing
from wsi.grid import TileGrid
from wsi.lazy import borrowed
from wsi.preprocess import Step
from wsi.tilestore import TileTable, read_tiles, write_tiles

# At most the work of some seconds on a CPU: enough that opening the slide does not count, and a
# slide of 50,000 tiles keeps a hundred workers busy.
BLOCK_TILES = 512
FEWEST_BLOCKS = 8  # where there are more tiles: workers would wait for the longer of two blocks
GRID_NAME = "grid.npz"


@dataclass(frozen=True, slots=True, kw_only=True)
class TileBlock:
    """The tiles of a grid from number `first` up to, not including, number `last`."""

    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingWork(BlockWork[TileBlock]):
    """Models, and the grid of tiles that they are to embed.

    Attributes
    ----------
    frame
        The grid without its tiles, which lie in the folder: they can be too many to travel.
    models
        Folder and digest of each model.
    """

    step = "embed"
    frame: TileGrid = field(compare=False)
    config: RunConfig
    models: tuple[tuple[Path, str], ...]

    def path(self, block: TileBlock) -> Path:
        """Where a block is stored."""
        return self.folder / f"{block.first}-{block.last}.h5"

    def tiles(self, block: TileBlock) -> int:
        """How many tiles a block embeds, with those that turn out to be poor."""
        return block.last - block.first

    def make(self, block: TileBlock) -> None:
        """Embed and store a run of tiles, with all 32 bits of their embeddings, and the time."""
        models = _models_of(self.models, self.config.device)
        some = part_of(_grid_of(self), slice(block.first, block.last))
        steps, timing = _steps_of(self), Timing()
        with borrowed(self.ref) as slide:
            table = embed_tiles(slide, some, models, self.config, steps, timing)
        table = replace(table, attributes=asdict(timing))
        write_tiles(self.path(block), table, dtype="float32")


EmbeddingPlan = BlockPlan[EmbeddingWork, TileBlock]


def plan_embedding(opened: Opened, grid: TileGrid, embedders: Sequence[Embedder]) -> EmbeddingPlan:
    """Cut a grid into blocks; where there are several, its tiles are stored in their folder.

    A block is whole batches, so that an encoder sees the same tiles together as without blocks.
    """
    parameters = {embedder.step: embedder.parameters for embedder in embedders}
    tiles = hashlib.sha256(grid.coords.tobytes()).hexdigest()
    count, batch = len(grid.coords), opened.config.batch_size
    depends = parameters | {"tiles": tiles, "batch_size": batch}
    folder = opened.blocks_folder(EmbeddingWork.step, depends)
    length = _block_length(count, batch)
    firsts = range(0, count, length)
    if len(firsts) > 1 and not (folder / GRID_NAME).exists():
        with replacing(folder / GRID_NAME) as tmp, tmp.open("wb") as stream:
            np.savez(stream, coords=grid.coords, tissue_fraction=grid.tissue_fraction)
    work = EmbeddingWork(
        ref=opened.ref,
        parameters=parameters,
        folder=folder,
        frame=part_of(grid, slice(0)),
        config=opened.config,
        models=tuple((each.folder, each.model.sha256) for each in embedders),
    )
    blocks = tuple(TileBlock(first=n, last=min(n + length, count)) for n in firsts)
    return BlockPlan(work=work, blocks=blocks)


def _block_length(count: int, batch: int) -> int:
    """Tiles of a block, whole batches, where there are `count` in all."""
    if count <= BLOCK_TILES:
        return max(count, 1)
    even = -(-count // (FEWEST_BLOCKS * batch)) * batch
    return min(even, max(1, BLOCK_TILES // batch) * batch)


def embed_blocks(plan: EmbeddingPlan, timing: Timing) -> TileTable:
    """Do the blocks that are not done yet, and join all; `timing` is added to."""
    for block in plan.blocks:
        plan.work.do(block)
    tables = [read_tiles(plan.work.path(block)) for block in plan.blocks]
    for table in tables:
        timing.waited_s += float(table.attributes["waited_s"])
        timing.worked_s += float(table.attributes["worked_s"])
    return join_tables(tables)


@lru_cache(maxsize=1)
def _models_of(models: tuple[tuple[Path, str], ...], device: str) -> tuple[Model, ...]:
    """Load models once a process for their digests."""
    return tuple(load_model(folder, device=device) for folder, _ in models)


@lru_cache(maxsize=1)
def _grid_of(work: EmbeddingWork) -> TileGrid:
    """Read the grid once a process."""
    with np.load(work.folder / GRID_NAME) as stored:
        return replace(
            work.frame, coords=stored["coords"], tissue_fraction=stored["tissue_fraction"]
        )


@lru_cache(maxsize=1)
def _steps_of(work: EmbeddingWork) -> tuple[Step, ...]:
    """Fit the steps once a process: they are functions, which do not travel."""
    with borrowed(work.ref) as slide:
        return fit_to_slide(slide, _grid_of(work), work.config)
