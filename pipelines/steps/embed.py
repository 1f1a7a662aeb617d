"""Embedding: the tiles of a slide through the encoder, into `tiles.h5`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from distill.encoders import Encoder
from pipelines.config import RunConfig
from pipelines.model import Model
from pipelines.steps.look import Look
from wsi.errors import PoorQualityError, UnreadableRegionError
from wsi.grid import TileGrid, make_grid
from wsi.plan import plan_read
from wsi.quality import KEPT, QualityLimits, count_poor, find_poor, measure_quality
from wsi.slide import Slide
from wsi.tiles import read_batches
from wsi.tilestore import LeftOut, TileTable, write_tiles

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
) -> dict[str, Any]:
    """Embed a grid's tiles and write `tiles.h5`; returns how many there are of each kind.

    Tiles whose quality is beyond the configuration's limits are not embedded.

    Raises
    ------
    PoorQualityError
        If every tile that could be read is beyond the limits.
    UnreadableRegionError
        If not one tile could be read.
    """
    limits = config.quality.limits
    coords, measures, reasons, embeddings, invalid = [], [], [], [], []
    for batch in read_batches(slide, grid, batch_size=config.batch_size):
        quality = measure_quality(batch.pixels, mpp=grid.spec.mpp)
        wrong = find_poor(quality, limits)
        coords.append(batch.coords)
        invalid.append(batch.invalid)
        measures.append(quality)
        reasons.append(wrong)
        embeddings.append(model.encoder.embed(batch.pixels[wrong == KEPT]))
    at, measured, reason = np.concatenate(coords), np.concatenate(measures), np.concatenate(reasons)
    kept, poor = reason == KEPT, reason != KEPT
    table = TileTable(
        coords=at[kept],
        embeddings=np.concatenate(embeddings),
        invalid=np.concatenate(invalid),
        attributes=_attributes(slide, name, look, grid, model, limits),
        quality=measured[kept],
        left_out=LeftOut(coords=at[poor], quality=measured[poor], reason=reason[poor]),
    )
    excluded = count_poor(reason)
    if len(at) == 0:
        raise UnreadableRegionError(f"none of the {len(table.invalid)} tiles decodes")
    if not kept.any():
        raise PoorQualityError(_all_are_poor(excluded))
    write_tiles(path, table, dtype=config.feature_dtype)
    return {
        "n_tiles": len(table.coords),
        "n_invalid_tiles": len(table.invalid),
        "n_excluded_tiles": int(poor.sum()),
        "excluded": excluded,
        "flags": ["mostly_excluded"] if poor.sum() > kept.sum() else [],
    }


def _all_are_poor(excluded: dict[str, int]) -> str:
    counts = ", ".join(f"{name} {count}" for name, count in excluded.items())
    return (
        f"all {sum(excluded.values())} tiles are left out for their quality ({counts}): look at "
        "the slide; to embed them all the same, raise the limits in [quality] of the "
        "configuration, or give --quality off"
    )


def _attributes(
    slide: Slide, name: str, look: Look, grid: TileGrid, model: Model, limits: QualityLimits
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
        "quality_limits": json.dumps(asdict(limits)),
    }
