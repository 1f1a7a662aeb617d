"""From values of tiles to a picture in the slide's frame: the one home of that arithmetic."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterFrame:
    """A grid of square cells over a slide, cell (row 0, column 0) at its top-left corner.

    Attributes
    ----------
    cell_level0_px
        Edge of a cell in level-0 pixels; not rounded.
    shape
        (rows, columns), enough to cover the slide.
    """

    cell_level0_px: float
    shape: tuple[int, int]

    @classmethod
    def over(cls, dimensions: tuple[int, int], *, cell_level0_px: float) -> "RasterFrame":
        """Cover a slide of `dimensions` (width, height) level-0 pixels with cells."""
        width, height = (max(1, int(np.ceil(n / cell_level0_px - 1e-9))) for n in dimensions)
        return cls(cell_level0_px=cell_level0_px, shape=(height, width))

    def cell_of(self, coords: NDArray[np.int64], *, tile_level0_px: float) -> NDArray[np.int64]:
        """The cells that hold the centres of tiles: (N, 2) rows and columns.

        `coords` are the tiles' top-left corners (x, y) in level-0 pixels.
        """
        cells = np.floor((coords + tile_level0_px / 2) / self.cell_level0_px).astype(np.int64)
        limit = np.array(self.shape[::-1]) - 1
        return np.asarray(np.clip(cells, 0, limit)[:, ::-1])


def rasterise(
    values: NDArray[np.floating],
    coords: NDArray[np.int64],
    *,
    tile_level0_px: float,
    frame: RasterFrame,
) -> NDArray[np.float32]:
    """Average, in every cell, the values of the tiles that cover the cell's centre.

    Parameters
    ----------
    values
        (N,) or (N, K), one or K values a tile; NaN is not allowed.
    coords
        (N, 2) int64 top-left corners (x, y), level-0 pixels.
    tile_level0_px
        Edge of a tile in level-0 pixels.
    frame
        The cells.

    Returns
    -------
    (K, rows, columns) float32, NaN in cells whose centre no tile covers.
    """
    values = np.asarray(values, np.float64)
    values = values[:, None] if values.ndim == 1 else values
    if not np.isfinite(values).all():
        raise ValueError("values of tiles must be finite; leave out the tiles that have none")
    sums = _sum_over(
        np.concatenate([values, np.ones((len(coords), 1))], axis=1),
        coords,
        tile_level0_px=tile_level0_px,
        frame=frame,
    )
    count = np.rint(sums[..., -1])
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(count[..., None] > 0, sums[..., :-1] / count[..., None], np.nan)
    return np.moveaxis(mean, -1, 0).astype(np.float32)


def first_over(
    groups: Sequence[NDArray[np.int64]], *, tile_level0_px: float, frame: RasterFrame
) -> NDArray[np.uint8]:
    """Say of every cell which is the first group with a tile that covers the cell's centre.

    Parameters
    ----------
    groups
        Up to 255 times (N, 2) int64 top-left corners (x, y), level-0 pixels.
    tile_level0_px, frame
        As in `rasterise`.

    Returns
    -------
    (rows, columns) uint8: the number of the group, from 1; 0 where no tile covers the centre.
    """
    cells = np.zeros(frame.shape, np.uint8)
    for number, coords in reversed(list(enumerate(groups, start=1))):
        tiles = np.ones((len(coords), 1))
        count = _sum_over(tiles, coords, tile_level0_px=tile_level0_px, frame=frame)[..., 0]
        cells[count > 0.5] = number
    return cells


def _sum_over(
    values: NDArray[np.float64],
    coords: NDArray[np.int64],
    *,
    tile_level0_px: float,
    frame: RasterFrame,
) -> NDArray[np.float64]:
    """Sums, (rows, columns, K), of the (N, K) values of the tiles that cover a cell's centre."""
    rows, columns = frame.shape
    # Cell j has its centre at (j + 0.5) cells, so a tile covers j when the centre is in [x, x + t).
    first = np.ceil(coords / frame.cell_level0_px - 0.5).astype(np.int64)
    last = np.ceil((coords + tile_level0_px) / frame.cell_level0_px - 0.5).astype(np.int64)
    first = np.clip(first, 0, (columns, rows))
    last = np.clip(last, 0, (columns, rows))
    # A summed-area table backwards: +/- at the corners of each tile, then two running sums.
    table = np.zeros((rows + 1, columns + 1, values.shape[1]))
    np.add.at(table, (first[:, 1], first[:, 0]), values)
    np.add.at(table, (last[:, 1], last[:, 0]), values)
    np.add.at(table, (first[:, 1], last[:, 0]), -values)
    np.add.at(table, (last[:, 1], first[:, 0]), -values)
    return np.asarray(table.cumsum(0).cumsum(1)[:rows, :columns])
