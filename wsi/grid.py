"""The grid of tiles over a slide: exact in mpp, level-0 integers where it is stored."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsi.plan import ReadPlan, TileSpec
from wsi.tissue import Tissue


@dataclass(frozen=True, slots=True, kw_only=True)
class TileGrid:
    """The tiles of a slide that hold enough tissue.

    Attributes
    ----------
    spec, plan
        What the model sees, and how that is read from this slide.
    stride_px
        Step between tiles in tile pixels; ``spec.size_px - stride_px`` is the overlap.
    coords
        (N, 2) int64 top-left corners (x, y) in level-0 pixels, row by row.
    tissue_fraction
        (N,) float32, share of each tile that is tissue.
    """

    spec: TileSpec
    plan: ReadPlan
    stride_px: int
    coords: NDArray[np.int64]
    tissue_fraction: NDArray[np.float32]

    @property
    def stride_level0_px(self) -> float:
        """Step between tiles in level-0 pixels; not rounded."""
        return self.plan.level0_px * self.stride_px / self.spec.size_px


def make_grid(
    *,
    dimensions: tuple[int, int],
    spec: TileSpec,
    plan: ReadPlan,
    tissue: Tissue,
    stride_px: int | None = None,
    min_tissue_fraction: float = 0.25,
) -> TileGrid:
    """Lay tiles over a slide and keep those with tissue.

    Tile k of a row starts at ``round(k × stride)`` level-0 pixels with the exact stride, so the
    error is half a pixel at most and does not grow along the row. Tiles that reach over the
    right or lower edge are kept when they hold enough tissue: the part outside counts as none.

    Parameters
    ----------
    dimensions
        (width, height) of level 0.
    spec, plan
        The tile as the model sees it and as `plan_read` reads it.
    tissue
        Where to look.
    stride_px
        Step in tile pixels, 1 to `spec.size_px`; None for no overlap.
    min_tissue_fraction
        Least share of tissue, 0 to 1; 0 keeps every tile.
    """
    stride_px = spec.size_px if stride_px is None else stride_px
    if not 1 <= stride_px <= spec.size_px:
        raise ValueError(
            f"stride_px must be in 1-{spec.size_px} (the tile's size), got {stride_px}"
        )
    stride = plan.level0_px * stride_px / spec.size_px
    xs, ys = (_starts(length, plan.level0_px, stride) for length in dimensions)
    fraction = _tissue_fractions(tissue, xs, ys, plan.level0_px)
    rows, columns = np.nonzero(fraction >= min_tissue_fraction)
    return TileGrid(
        spec=spec,
        plan=plan,
        stride_px=stride_px,
        coords=np.stack([xs[columns], ys[rows]], axis=1),
        tissue_fraction=fraction[rows, columns],
    )


def _starts(length: int, tile: float, stride: float) -> NDArray[np.int64]:
    """Level-0 starts along one axis, so that the last tile reaches the end of the slide."""
    count = max(1, int(np.ceil((length - tile) / stride - 1e-9)) + 1)
    return np.asarray(np.rint(np.arange(count) * stride).astype(np.int64))


def _tissue_fractions(
    tissue: Tissue, xs: NDArray[np.int64], ys: NDArray[np.int64], tile: float
) -> NDArray[np.float32]:
    """Exact share of tissue of each tile, (rows, columns), from one summed-area table."""
    mask = tissue.mask
    # Row by row, in the smallest integers that hold it: a given mask may have 10⁸ pixels.
    table = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.min_scalar_type(mask.size))
    for n, row in enumerate(mask):
        np.cumsum(row, dtype=table.dtype, out=table[n + 1, 1:])
        table[n + 1] += table[n]
    left, right = xs / tissue.downsample, (xs + tile) / tissue.downsample
    top, bottom = ys / tissue.downsample, (ys + tile) / tissue.downsample
    lower, upper = _interpolate_rows(table, bottom), _interpolate_rows(table, top)
    band = lower - upper
    area = _interpolate_rows(band.T, right).T - _interpolate_rows(band.T, left).T
    return (area / (tile / tissue.downsample) ** 2).astype(np.float32)


def _interpolate_rows(
    table: NDArray[np.integer | np.float64], at: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Rows of a table at fractional positions; past the end the last row goes on."""
    at = np.clip(at.astype(np.float64), 0, len(table) - 1)
    low = np.minimum(at.astype(np.int64), len(table) - 2)
    weight = (at - low)[:, None]
    return np.asarray(table[low] * (1 - weight) + table[low + 1] * weight)
