"""The tiles of a grid read, measured, and the good ones embedded."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.embedding.embedders import embed_pixels
from pipelines.model import Model
from pipelines.settings.config import RunConfig
from pipelines.steps.timing import Timing
from wsi.grid import TileGrid
from wsi.preprocess import Step, apply_steps, fit_steps, needs_sample
from wsi.quality import KEPT, find_poor, measure_quality
from wsi.slide import Slide
from wsi.tiles import read_batches
from wsi.tilestore import LeftOut, TileTable

SAMPLE_TILES = 32  # of a slide, that steps which must see its stain are fitted to


def embed_tiles(
    slide: Slide,
    grid: TileGrid,
    models: Sequence[Model],
    config: RunConfig,
    steps: Sequence[Step],
    timing: Timing,
) -> TileTable:
    """Read a grid's tiles once, measure them, and embed the good ones; without attributes.

    The table's embeddings are those of all `models` side by side. `timing` is added to.
    """
    coords, measures, reasons, embeddings, invalid = [], [], [], [], []
    for batch in timing.over(read_batches(slide, grid, batch_size=config.batch_size)):
        quality = measure_quality(batch.pixels, mpp=grid.spec.mpp)
        wrong = find_poor(quality, config.quality.limits)
        coords.append(batch.coords)
        invalid.append(batch.invalid)
        measures.append(quality)
        reasons.append(wrong)
        pixels = apply_steps(steps, batch.pixels[wrong == KEPT])
        embeddings.append(embed_pixels(models, pixels, bfloat16=config.bfloat16))
    at, measured, reason = np.concatenate(coords), np.concatenate(measures), np.concatenate(reasons)
    kept, poor = reason == KEPT, reason != KEPT
    return TileTable(
        coords=at[kept],
        embeddings=np.concatenate(embeddings),
        invalid=np.concatenate(invalid),
        attributes={},
        quality=measured[kept],
        left_out=LeftOut(coords=at[poor], quality=measured[poor], reason=reason[poor]),
    )


def fit_to_slide(slide: Slide, grid: TileGrid, config: RunConfig) -> tuple[Step, ...]:
    """The configuration's steps, fitted to the slide where they have to see it.

    That takes at most `SAMPLE_TILES` tiles, evenly over the grid, of which the good ones count.
    """
    tiles = [np.zeros((0, grid.spec.size_px, grid.spec.size_px, 3), np.uint8)]
    if needs_sample(config.preprocess):
        count = min(SAMPLE_TILES, len(grid.coords))
        some = np.linspace(0, len(grid.coords) - 1, count).round().astype(np.int64)
        for batch in read_batches(slide, part_of(grid, some), batch_size=config.batch_size):
            quality = measure_quality(batch.pixels, mpp=grid.spec.mpp)
            tiles.append(batch.pixels[find_poor(quality, config.quality.limits) == KEPT])
    return fit_steps(config.preprocess, np.concatenate(tiles))


def part_of(grid: TileGrid, which: slice | NDArray[Any]) -> TileGrid:
    """Some tiles of a grid: a slice, a mask (N,) bool, or their numbers."""
    return replace(grid, coords=grid.coords[which], tissue_fraction=grid.tissue_fraction[which])


def join_tables(tables: Sequence[TileTable]) -> TileTable:
    """One table of several, in their order, with the attributes of the last."""
    measured = [table.quality for table in tables if table.quality is not None]
    return replace(
        tables[-1],
        coords=np.concatenate([table.coords for table in tables]),
        embeddings=np.concatenate([table.embeddings for table in tables]),
        invalid=np.concatenate([table.invalid for table in tables]),
        quality=np.concatenate(measured) if len(measured) == len(tables) else None,
        left_out=LeftOut(
            coords=np.concatenate([table.left_out.coords for table in tables]),
            quality=np.concatenate([table.left_out.quality for table in tables]),
            reason=np.concatenate([table.left_out.reason for table in tables]),
        ),
    )
