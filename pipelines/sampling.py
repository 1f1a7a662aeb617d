"""Unlabelled tiles for pretraining, drawn evenly from the slides of a cohort."""

from collections.abc import Sequence

import numpy as np

from pipelines.manifest import Entry
from pipelines.steps.look import look
from wsi.grid import make_grid
from wsi.open import open_slide
from wsi.plan import TileSpec, plan_read
from wsi.slide import Pixels
from wsi.tiles import read_tile


def sample_tiles(entries: Sequence[Entry], *, spec: TileSpec, count: int, seed: int = 0) -> Pixels:
    """Read tiles at random places of tissue, the same number from each slide.

    Returns
    -------
    (N, S, S, 3) uint8 with N at most `count`, fewer where slides have less tissue.
    """
    generator = np.random.default_rng(seed)
    each = -(-count // len(entries))
    tiles: list[Pixels] = []
    for entry in entries:
        with open_slide(entry.ref) as slide:
            seen = look(slide, entry.ref)
            plan = plan_read(
                spec, level0_mpp=seen.resolution.mpp, downsamples=slide.level_downsamples
            )
            grid = make_grid(dimensions=slide.dimensions, spec=spec, plan=plan, tissue=seen.tissue)
            chosen = generator.permutation(len(grid.coords))[:each]
            for x, y in grid.coords[np.sort(chosen)].tolist():
                tiles.append(read_tile(slide, spec=spec, plan=plan, x=x, y=y))
    return np.stack(tiles[:count])
