"""Embedding: the tiles of a slide through the encoder, into `tiles.h5`."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.config import RunConfig
from pipelines.model import Model
from pipelines.steps.look import Look
from pipelines.steps.reuse import complete
from pipelines.steps.timing import Timing
from wsi.errors import PoorQualityError, UnreadableRegionError
from wsi.grid import TileGrid, make_grid
from wsi.plan import TileSpec, plan_read
from wsi.preprocess import Step, apply_steps, fit_steps, needs_sample
from wsi.quality import KEPT, QualityLimits, count_poor, find_poor, measure_quality
from wsi.slide import Slide
from wsi.tiles import read_batches
from wsi.tilestore import LeftOut, TileTable, write_tiles

SAMPLE_TILES = 32  # of a slide, that steps which must see its stain are fitted to
LITTLE_TISSUE = 0.5  # share of the fullest tile's tissue that a tile needs on a sparse slide


def lay_grid(slide: Slide, look: Look, spec: TileSpec, config: RunConfig) -> TileGrid:
    """Lay the tiles a model wants over the slide's tissue.

    Where tissue is found and no tile holds enough of it, as with a single small core, the tiles
    with the most are taken: a slide is never empty because of a threshold alone. The slide is
    flagged then, see `is_sparse`.

    Raises
    ------
    ResolutionError
        If the slide is coarser than the model wants.
    """
    plan = plan_read(spec, level0_mpp=look.resolution.mpp, downsamples=slide.level_downsamples)

    def lay(fraction: float) -> TileGrid:
        return make_grid(
            dimensions=slide.dimensions,
            spec=spec,
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
    timing: Timing,
) -> dict[str, Any]:
    """Embed a grid's tiles and write `tiles.h5`; returns how many there are of each kind.

    Tiles that are in `known`, see `known_tiles`, are taken from there. Those whose quality is
    beyond the configuration's limits are not embedded. `timing` is added to.

    Raises
    ------
    PoorQualityError
        If every tile that could be read is beyond the limits.
    UnreadableRegionError
        If not one tile could be read.
    """
    steps = _fit(slide, grid, config)
    if needs_sample(config.preprocess):
        known = None  # another choice of tiles is another sample, which changes every tile

    def embed(grid: TileGrid) -> TileTable:
        attributes = _attributes(slide, name, look, grid, model)
        table = _embed(slide, grid, model, config, steps, timing)
        return replace(table, attributes=attributes | _treatment(config.quality.limits, steps))

    table, n_reused = complete(grid, known, embed)
    excluded = count_poor(table.left_out.reason)
    n_excluded = len(table.left_out.coords)
    if len(table.coords) + n_excluded == 0:
        raise UnreadableRegionError(f"none of the {len(table.invalid)} tiles decodes")
    if len(table.coords) == 0:
        raise PoorQualityError(_all_are_poor(excluded))
    write_tiles(path, table, dtype=config.feature_dtype)
    mostly = ["mostly_excluded"] if n_excluded > len(table.coords) else []
    return {
        "n_tiles": len(table.coords),
        "n_invalid_tiles": len(table.invalid),
        "n_reused_tiles": n_reused,
        "n_excluded_tiles": n_excluded,
        "excluded": excluded,
        "flags": [*mostly, *(flag for step in steps for flag in step.flags)],
    }


def _embed(
    slide: Slide,
    grid: TileGrid,
    model: Model,
    config: RunConfig,
    steps: Sequence[Step],
    timing: Timing,
) -> TileTable:
    """Read a grid's tiles, measure them, and embed the good ones; without attributes."""
    coords, measures, reasons, embeddings, invalid = [], [], [], [], []
    for batch in timing.over(read_batches(slide, grid, batch_size=config.batch_size)):
        quality = measure_quality(batch.pixels, mpp=grid.spec.mpp)
        wrong = find_poor(quality, config.quality.limits)
        coords.append(batch.coords)
        invalid.append(batch.invalid)
        measures.append(quality)
        reasons.append(wrong)
        pixels = apply_steps(steps, batch.pixels[wrong == KEPT])
        embeddings.append(model.encoder.embed(pixels))
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


def _fit(slide: Slide, grid: TileGrid, config: RunConfig) -> tuple[Step, ...]:
    """The configuration's steps, fitted to the slide where they have to see it.

    That takes at most `SAMPLE_TILES` tiles, evenly over the grid, of which the good ones count.
    """
    tiles = [np.zeros((0, grid.spec.size_px, grid.spec.size_px, 3), np.uint8)]
    if needs_sample(config.preprocess):
        count = min(SAMPLE_TILES, len(grid.coords))
        some = np.linspace(0, len(grid.coords) - 1, count).round().astype(np.int64)
        few = replace(grid, coords=grid.coords[some], tissue_fraction=grid.tissue_fraction[some])
        for batch in read_batches(slide, few, batch_size=config.batch_size):
            quality = measure_quality(batch.pixels, mpp=grid.spec.mpp)
            tiles.append(batch.pixels[find_poor(quality, config.quality.limits) == KEPT])
    return fit_steps(config.preprocess, np.concatenate(tiles))


def _all_are_poor(excluded: dict[str, int]) -> str:
    counts = ", ".join(f"{name} {count}" for name, count in excluded.items())
    return (
        f"all {sum(excluded.values())} tiles are left out for their quality ({counts}): look at "
        "the slide; to embed them all the same, raise the limits in [quality] of the "
        "configuration, or give --quality off"
    )


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


def _treatment(limits: QualityLimits, steps: Sequence[Step]) -> dict[str, str]:
    """What was done to the tiles before the encoder saw them, as JSON."""
    return {
        "quality_limits": json.dumps(asdict(limits)),
        "preprocess": json.dumps([{"name": s.name, **s.parameters} for s in steps]),
    }
