"""Embedding: the tiles of a slide through the encoder, into `tiles.h5`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from typing import Any

from pipelines.blockwise.work import forget_blocks
from pipelines.embedding.embedders import Embedder, columns
from pipelines.embedding.tiles import embed_tiles, fit_to_slide
from pipelines.embedding.work import embed_blocks, plan_embedding
from pipelines.model import Model
from pipelines.receipts import Receipts
from pipelines.settings.config import RunConfig
from pipelines.steps.look import Look
from pipelines.steps.opened import Opened
from pipelines.steps.reuse import complete, known_tiles
from pipelines.steps.timing import Timing
from pipelines.tissue_mask import scanned_corner
from wsi.errors import PoorQualityError, UnreadableRegionError
from wsi.grid import TileGrid, make_grid
from wsi.plan import TileSpec, plan_read
from wsi.preprocess import Step
from wsi.quality import QualityLimits, count_poor
from wsi.slide import Slide
from wsi.tilestore import TileTable, write_tiles

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """A slide's tiles, embedded by some models.

    Attributes
    ----------
    table
        The tiles, with the embeddings of all models side by side; without attributes.
    steps
        What was done to the tiles before.
    n_reused
        Tiles that were known.
    """

    opened: Opened
    grid: TileGrid
    embedders: tuple[Embedder, ...]
    table: TileTable
    steps: tuple[Step, ...]
    n_reused: int

    def write(self, embedder: Embedder) -> dict[str, Any]:
        """Write the file of one of the models; returns how many tiles there are of each kind."""
        config, table = self.opened.config, self.table
        where = columns([each.model for each in self.embedders])[self.embedders.index(embedder)]
        attributes = _attributes(self.opened, self.grid, embedder.model)
        attributes |= _treatment(config.quality.limits, self.steps)
        write_tiles(
            self.opened.folder / embedder.file,
            replace(table, embeddings=table.embeddings[:, where], attributes=attributes),
            dtype=config.feature_dtype,
        )
        n_excluded = len(table.left_out.coords)
        mostly = ["mostly_excluded"] if n_excluded > len(table.coords) else []
        return {
            "n_tiles": len(table.coords),
            "n_invalid_tiles": len(table.invalid),
            "n_reused_tiles": self.n_reused,
            "n_excluded_tiles": n_excluded,
            "excluded": count_poor(table.left_out.reason),
            "flags": [*mostly, *(flag for step in self.steps for flag in step.flags)],
        }


def embed_slide(
    opened: Opened,
    grid: TileGrid,
    embedders: Sequence[Embedder],
    new: Sequence[Embedder],
    receipts: Receipts,
    base: Mapping[str, Any],
    timing: Timing,
) -> dict[str, Any]:
    """Embed a slide's tiles by the `new` ones of all `embedders`, reading them once.

    Parameters
    ----------
    new
        Those whose receipts do not hold.
    base
        What every step depends on besides the slide's bytes.
    timing
        Is added to.

    Returns
    -------
    How many tiles there are of each kind, as the first embedder's receipt says.

    Raises
    ------
    PoorQualityError, UnreadableRegionError
        See `embed_grid`.
    """

    @cache
    def embedded() -> Embedded:
        known = known_tiles(receipts, new, base)
        return embed_grid(opened, grid, new, timing, known=known)

    facts = []
    for each in embedders:
        parameters = {**base, **each.parameters}
        write = partial(lambda embedder: embedded().write(embedder), each)
        facts.append(receipts.do(each.step, parameters, (each.file,), write))
    forget_blocks(opened.folder, "embed")
    return facts[0]


def embed_grid(
    opened: Opened,
    grid: TileGrid,
    embedders: Sequence[Embedder],
    timing: Timing,
    *,
    known: TileTable | None = None,
) -> Embedded:
    """Read a grid's tiles once, and embed them by each model; nothing is written yet.

    Tiles that are in `known`, see `known_tiles`, are taken from there. Those whose quality is
    beyond the configuration's limits are not embedded. Many tiles are embedded in blocks, see
    `plan_embedding`, with the same result. `timing` is added to.

    Raises
    ------
    PoorQualityError
        If every tile that could be read is beyond the limits.
    UnreadableRegionError
        If not one tile could be read.
    """
    config = opened.config
    steps = fit_to_slide(opened.slide, grid, config)
    models = [embedder.model for embedder in embedders]

    def embed(grid: TileGrid) -> TileTable:
        plan = plan_embedding(opened, grid, embedders)
        if len(plan.blocks) > 1:
            return embed_blocks(plan, timing)
        return embed_tiles(opened.slide, grid, models, config, steps, timing)

    table, n_reused = complete(grid, known, embed)
    if len(table.coords) + len(table.left_out.coords) == 0:
        raise UnreadableRegionError(f"none of the {len(table.invalid)} tiles decodes")
    if len(table.coords) == 0:
        raise PoorQualityError(_all_are_poor(count_poor(table.left_out.reason)))
    return Embedded(
        opened=opened,
        grid=grid,
        embedders=tuple(embedders),
        table=table,
        steps=steps,
        n_reused=n_reused,
    )


def _all_are_poor(excluded: dict[str, int]) -> str:
    counts = ", ".join(f"{name} {count}" for name, count in excluded.items())
    return (
        f"all {sum(excluded.values())} tiles are left out for their quality ({counts}): look at "
        "the slide; to embed them all the same, raise the limits in [quality] of the "
        "configuration, or give --quality off"
    )


def _attributes(opened: Opened, grid: TileGrid, model: Model) -> dict[str, Any]:
    """TRIDENT's attributes, whose magnifications are only for people, and ours, which are exact."""
    resolution, slide = opened.look.resolution, opened.slide
    level0_mpp = resolution.mpp
    width, height = slide.dimensions
    bounds_x, bounds_y = scanned_corner(slide)
    return {
        "patch_size": grid.spec.size_px,
        "patch_size_level0": round(grid.plan.level0_px),
        "level0_magnification": round(10 / level0_mpp),
        "target_magnification": round(10 / grid.spec.mpp),
        "overlap": grid.spec.size_px - grid.stride_px,
        "name": opened.ref.slide_id,
        "slide_digest": opened.source,
        "level0_width": width,
        "level0_height": height,
        "mpp": grid.spec.mpp,
        "level0_mpp": level0_mpp,
        "mpp_source": resolution.source.value,
        "stride": grid.stride_px,
        "level": grid.plan.level,
        "bounds_x": bounds_x,
        "bounds_y": bounds_y,
        "encoder": model.encoder.identifier,
        "encoder_sha256": model.card.encoder.sha256 or "",
    }


def _treatment(limits: QualityLimits, steps: Sequence[Step]) -> dict[str, str]:
    """What was done to the tiles before the encoder saw them, as JSON."""
    return {
        "quality_limits": json.dumps(asdict(limits)),
        "preprocess": json.dumps([{"name": s.name, **s.parameters} for s in steps]),
    }
