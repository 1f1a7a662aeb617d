"""What each region of a slide contributes: the slide's score with the region's tiles left out.

Exact, on the embeddings that a run has stored: no pixel is read and no tile embedded again.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipelines.channels import Channel
from pipelines.errors import UsageError
from pipelines.heatmap import Heatmap
from pipelines.mil.heads.head import log_odds
from wsi.raster import RasterFrame
from wsi.tilestore import TileTable


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionEffects:
    """The slide's log-odds with everything, and what leaving out each cell of a grid changes.

    Attributes
    ----------
    whole
        Log-odds of the class for the slide.
    change
        (rows, columns) `whole` minus the log-odds without the cell's tiles: positive where the
        region speaks for the class. NaN in cells without tiles, and where no other has any.
    n_tiles
        (rows, columns), by their centres.
    """

    whole: float
    change: NDArray[np.float64]
    n_tiles: NDArray[np.int64]
    cell_level0_px: float


@torch.no_grad()
def leave_region_out(head: nn.Module, tiles: TileTable, *, index: int, cells: int) -> RegionEffects:
    """Score the slide without the tiles of each cell of a grid.

    Parameters
    ----------
    head
        Takes (1, N, D) embeddings and their mask; its answer has logits (1, C).
    index
        Of the class.
    cells
        About how many cells along the slide's longer side; a cell is whole strides wide.

    Raises
    ------
    UsageError
        If `cells` is no positive number.
    """
    if cells < 1:
        raise UsageError(
            f"--regions {cells}: give how many there are along the longer side, from 1"
        )
    # Whole strides, so that every cell of a full grid has as many tiles.
    stride = tiles.stride_level0_px
    edge = stride * max(1, round(max(tiles.dimensions) / cells / stride))
    frame = RasterFrame.over(tiles.dimensions, cell_level0_px=edge)
    rows, columns = frame.cell_of(tiles.coords, tile_level0_px=tiles.tile_level0_px).T
    embeddings = torch.from_numpy(tiles.embeddings)
    whole = _score(head, embeddings, index)
    change = np.full(frame.shape, np.nan)
    n_tiles = np.zeros(frame.shape, np.int64)
    np.add.at(n_tiles, (rows, columns), 1)
    for row, column in np.argwhere(n_tiles).tolist():
        kept = torch.from_numpy((rows != row) | (columns != column))
        if kept.any():
            change[row, column] = whole - _score(head, embeddings[kept], index)
    return RegionEffects(
        whole=whole, change=change, n_tiles=n_tiles, cell_level0_px=frame.cell_level0_px
    )


def as_heatmap(effects: RegionEffects, tiles: TileTable, *, target: str) -> Heatmap:
    """The changes as a heatmap of the slide, its colours ending at the greatest change."""
    known = effects.change[np.isfinite(effects.change)]
    limit = float(f"{np.abs(known).max(initial=0):.2g}") or 1.0
    channel = Channel(
        name=f"region:{target}",
        title=f"what each region adds to the slide's score for {target} (log-odds)",
        meaning=(
            f"How far the slide's log-odds for {target} fall when this region's tiles are left "
            "out: above 0 it speaks for the class, below 0 against it."
        ),
        low=-limit,
        high=limit,
        low_label=f"against {target}",
        high_label=f"for {target}",
        colormap="RdBu_r",
    )
    return Heatmap(
        values=effects.change[None].astype(np.float32),
        channels=(channel,),
        cell_level0_px=effects.cell_level0_px,
        dimensions=tiles.dimensions,
        level0_mpp=float(tiles.attributes["level0_mpp"]),
    )


def as_table(effects: RegionEffects) -> list[dict[str, Any]]:
    """The regions that hold tiles, the greatest change first; x, y in level-0 pixels."""
    edge = effects.cell_level0_px
    rows = []
    for row, column in np.argwhere(effects.n_tiles).tolist():
        change = float(effects.change[row, column])
        is_known = bool(np.isfinite(change))
        rows.append(
            {
                "x": column * edge,
                "y": row * edge,
                "edge_level0_px": edge,
                "n_tiles": int(effects.n_tiles[row, column]),
                "change": change if is_known else None,
                "log_odds_without": effects.whole - change if is_known else None,
            }
        )
    return sorted(rows, key=lambda r: -abs(r["change"] or 0.0))


def _score(head: nn.Module, embeddings: Tensor, index: int) -> float:
    bag = embeddings[None]
    return float(log_odds(head(bag, torch.ones(bag.shape[:2], dtype=torch.bool)).logits, index))
