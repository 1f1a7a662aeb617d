"""Embedding: the tiles of a slide through the encoder, into `tiles.h5`."""

from pathlib import Path
from typing import Any

import numpy as np

from distill.encoders import Encoder
from pipelines.config import RunConfig
from pipelines.model import Model
from pipelines.steps.look import Look
from pipelines.steps.reuse import complete
from wsi.errors import UnreadableRegionError
from wsi.grid import TileGrid, make_grid
from wsi.plan import plan_read
from wsi.slide import Slide
from wsi.tiles import read_batches
from wsi.tilestore import TileTable, write_tiles

LITTLE_TISSUE = 0.5  # share of the fullest tile's tissue that a tile needs on a sparse slide


def lay_grid(slide: Slide, look: Look, encoder: Encoder, config: RunConfig) -> TileGrid:
    """Lay the encoder's tiles over the slide's tissue.

    Where tissue is found and no tile holds enough of it, as with a single small core, the tiles
    with the most are taken: a slide is never empty because of a threshold alone. The slide is
    flagged then, see `is_sparse`.

    Raises
    ------
    ResolutionError
        If the slide is coarser than the encoder wants.
    """
    plan = plan_read(
        encoder.spec, level0_mpp=look.resolution.mpp, downsamples=slide.level_downsamples
    )

    def lay(fraction: float) -> TileGrid:
        return make_grid(
            dimensions=slide.dimensions,
            spec=encoder.spec,
            plan=plan,
            tissue=look.tissue,
            stride_px=config.stride_px,
            min_tissue_fraction=fraction,
        )

    grid = lay(config.min_tissue_fraction)
    if len(grid.coords) == 0:
        most = float(lay(0.0).tissue_fraction.max())
        grid = lay(most * LITTLE_TISSUE)
    return grid


def is_sparse(grid: TileGrid, config: RunConfig) -> bool:
    """Whether a grid from `lay_grid` had to go below the least share of tissue asked for."""
    return bool(grid.tissue_fraction.min() < config.min_tissue_fraction)


def embed_slide(
    slide: Slide,
    path: Path,
    *,
    name: str,
    look: Look,
    grid: TileGrid,
    model: Model,
    config: RunConfig,
    known: TileTable | None = None,
) -> dict[str, Any]:
    """Embed a grid's tiles and write `tiles.h5`; returns how many there are of each kind.

    Tiles that are in `known`, see `known_tiles`, are taken from there.

    Raises
    ------
    UnreadableRegionError
        If not one tile could be read.
    """

    def embed(grid: TileGrid) -> TileTable:
        coords, embeddings, invalid = [], [], []
        for batch in read_batches(slide, grid, batch_size=config.batch_size):
            coords.append(batch.coords)
            invalid.append(batch.invalid)
            embeddings.append(model.encoder.embed(batch.pixels))
        return TileTable(
            coords=np.concatenate(coords),
            embeddings=np.concatenate(embeddings),
            invalid=np.concatenate(invalid),
            attributes=_attributes(slide, name, look, grid, model),
        )

    table, n_reused = complete(grid, known, embed)
    if len(table.coords) == 0:
        raise UnreadableRegionError(f"none of the {len(table.invalid)} tiles decodes")
    write_tiles(path, table, dtype=config.feature_dtype)
    return {
        "n_tiles": len(table.coords),
        "n_invalid_tiles": len(table.invalid),
        "n_reused_tiles": n_reused,
    }


def _attributes(
    slide: Slide, name: str, look: Look, grid: TileGrid, model: Model
) -> dict[str, Any]:
    """TRIDENT's attributes, whose magnifications are only for people, and ours, which are exact."""
    level0_mpp = look.resolution.mpp
    width, height = slide.dimensions
    return {
        "patch_size": grid.spec.size_px,
        "patch_size_level0": round(grid.plan.level0_px),
        "level0_magnification": round(10 / level0_mpp),
        "target_magnification": round(10 / grid.spec.mpp),
        "overlap": grid.spec.size_px - grid.stride_px,
        "name": name,
        "level0_width": width,
        "level0_height": height,
        "mpp": grid.spec.mpp,
        "level0_mpp": level0_mpp,
        "mpp_source": look.resolution.source.value,
        "stride": grid.stride_px,
        "level": grid.plan.level,
        "bounds_x": int(slide.properties.get("openslide.bounds-x", 0)),
        "bounds_y": int(slide.properties.get("openslide.bounds-y", 0)),
        "encoder": model.encoder.identifier,
        "encoder_sha256": model.card.encoder.sha256 or "",
    }
