"""What each region of a slide contributes: the slide's score with the region's tiles left out.

Exact, on the embeddings that a run has stored: no pixel is read and no tile embedded again.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor, nn

from pipelines.errors import UsageError
from pipelines.heatmaps.channels import Channel
from pipelines.heatmaps.ome_zarr import Heatmap
from pipelines.mil.heads.head import log_odds
from wsi.raster import RasterFrame
from wsi.tilestore import TileTable


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionEffects:
    """The slide's score with everything, and without each cell of a grid.

    Attributes
    ----------
    log_odds
        Of the class for the slide, the logits divided by the head's temperature; `score` is its
        logistic.
    without
        (rows, columns) the same without the cell's tiles. NaN in cells without tiles, and where
        no other has any.
    n_tiles
        (rows, columns), by their centres.
    """

    log_odds: float
    without: NDArray[np.float64]
    n_tiles: NDArray[np.int64]
    cell_level0_px: float

    @property
    def score(self) -> float:
        """The slide's score, 0 to 1: a probability where the head is calibrated."""
        return float(expit(self.log_odds))

    @property
    def log_odds_change(self) -> NDArray[np.float64]:
        """How far the log-odds fall without the cell: positive where it speaks for the class."""
        return self.log_odds - self.without

    @property
    def score_change(self) -> NDArray[np.float64]:
        """How far the score falls without the cell; little where the slide is beyond doubt."""
        return self.score - np.asarray(expit(self.without))


@torch.no_grad()
def leave_region_out(
    head: nn.Module, tiles: TileTable, *, index: int, temperature: float, cells: int
) -> RegionEffects:
    """Score the slide without the tiles of each cell of a grid.

    Parameters
    ----------
    head
        Takes (1, N, D) embeddings and their mask; its answer has logits (1, C).
    index
        Of the class.
    temperature
        What the head's logits are divided by.
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
    whole = _log_odds(head, embeddings, index, temperature)
    without = np.full(frame.shape, np.nan)
    n_tiles = np.zeros(frame.shape, np.int64)
    np.add.at(n_tiles, (rows, columns), 1)
    for row, column in np.argwhere(n_tiles).tolist():
        kept = torch.from_numpy((rows != row) | (columns != column))
        if kept.any():
            without[row, column] = _log_odds(head, embeddings[kept], index, temperature)
    return RegionEffects(
        log_odds=whole, without=without, n_tiles=n_tiles, cell_level0_px=frame.cell_level0_px
    )


def as_heatmap(
    effects: RegionEffects, tiles: TileTable, *, target: str, is_calibrated: bool
) -> Heatmap:
    """The changes as a heatmap: of the slide's score in percentage points, and of its log-odds.

    Each has colours that end at its greatest change.
    """
    points, log_odds = 100 * effects.score_change, effects.log_odds_change
    what = f"probability of {target}" if is_calibrated else f"score for {target}"
    of_score = "" if is_calibrated else ", which nobody calibrated,"
    channels = (
        _channel(
            points,
            target,
            name=f"region_score:{target}",
            title=f"fall of the {what} without the region, in percentage points",
            meaning=f"How far the slide's {what}{of_score} falls when this region's tiles are "
            "left out, in percentage points. Where the slide is beyond doubt all change little: "
            "see the log-odds.",
            unit="points",
        ),
        _channel(
            log_odds,
            target,
            name=f"region:{target}",
            title=f"fall of the log-odds for {target} without the region",
            meaning=f"How far the slide's log-odds for {target} fall when this region's tiles "
            "are left out: above 0 it speaks for the class, below 0 against it.",
        ),
    )
    return Heatmap(
        values=np.stack([points, log_odds]).astype(np.float32),
        channels=channels,
        cell_level0_px=effects.cell_level0_px,
        dimensions=tiles.dimensions,
        level0_mpp=float(tiles.attributes["level0_mpp"]),
    )


def _channel(
    change: NDArray[np.float64], target: str, *, name: str, title: str, meaning: str, unit: str = ""
) -> Channel:
    limit = float(f"{np.abs(change[np.isfinite(change)]).max(initial=0):.2g}") or 1.0
    return Channel(
        name=name,
        title=title,
        meaning=meaning,
        low=-limit,
        high=limit,
        low_label=f"against {target}",
        high_label=f"for {target}",
        colormap="RdBu_r",
        unit=unit,
    )


def as_table(effects: RegionEffects) -> list[dict[str, Any]]:
    """The regions that hold tiles, the greatest change first; x, y in level-0 pixels."""
    edge = effects.cell_level0_px
    rows = []
    for row, column in np.argwhere(effects.n_tiles).tolist():
        without = float(effects.without[row, column])
        is_known = bool(np.isfinite(without))
        rows.append(
            {
                "x": column * edge,
                "y": row * edge,
                "edge_level0_px": edge,
                "n_tiles": int(effects.n_tiles[row, column]),
                "score_without": float(expit(without)) if is_known else None,
                "score_change": float(effects.score_change[row, column]) if is_known else None,
                "log_odds_without": without if is_known else None,
                "log_odds_change": effects.log_odds - without if is_known else None,
            }
        )
    return sorted(rows, key=lambda row: -abs(row["log_odds_change"] or 0.0))


def _log_odds(head: nn.Module, embeddings: Tensor, index: int, temperature: float) -> float:
    bag = embeddings[None]
    logits = head(bag, torch.ones(bag.shape[:2], dtype=torch.bool)).logits
    return float(log_odds(logits.double() / temperature, index))
