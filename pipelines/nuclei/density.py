"""How many nuclei there are per square millimetre of tissue, tile by tile."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.heatmaps.channels import Channel
from pipelines.heatmaps.looked import LOOKED, NO_TILE, UNREADABLE
from pipelines.heatmaps.ome_zarr import Heatmap
from pipelines.nuclei.table import read_groups, read_info
from pipelines.readable import Unreadable
from wsi.grid import TileGrid
from wsi.plan import TileSpec
from wsi.raster import RasterFrame, first_over, rasterise

DENSITY_UM = 128.0  # edge of a tile where no encoder asks for another
DENSE = 10_000.0  # nuclei per mm² at the end of the scale: a lymphoid follicle

DENSITY = Channel(
    name="nuclei_density",
    title="nuclei density",
    meaning=(
        "Nuclei found per square millimetre of tissue in each tile. Comparable between slides "
        "found by the same teacher; what the teacher misses or splits is missed or split here."
    ),
    low=0.0,
    high=DENSE,
    low_label="0",
    high_label="10,000 nuclei/mm² and more",
    colormap="inferno",
    unit="nuclei/mm²",
)


def density_spec(level0_mpp: float) -> TileSpec:
    """Tiles to count nuclei in where there are no others."""
    return TileSpec(size_px=max(1, round(DENSITY_UM / level0_mpp)), mpp=level0_mpp)


def density_heatmap(table: Path, grid: TileGrid) -> Heatmap:
    """Lay the density of a table's nuclei over its slide, a cell a stride of the grid."""
    info, _ = read_info(table)
    density = nuclei_density(table, grid)
    known = np.isfinite(density)
    cell, edge = grid.stride_level0_px, grid.plan.level0_px
    frame = RasterFrame.over(info.dimensions, cell_level0_px=cell)
    counted = grid.coords[known]
    unreadable = grid.coords[~known & (grid.tissue_fraction > 0)]  # the others are all glass
    looked = first_over([counted, unreadable], tile_level0_px=edge, frame=frame)
    return Heatmap(
        values=rasterise(density[known], counted, tile_level0_px=edge, frame=frame),
        channels=(DENSITY,),
        cell_level0_px=cell,
        dimensions=info.dimensions,
        level0_mpp=info.level0_mpp,
        looked=np.array([NO_TILE, LOOKED, UNREADABLE], np.uint8)[looked],
    )


def nuclei_density(table: Path, grid: TileGrid) -> NDArray[np.float64]:
    """Nuclei per mm² of tissue in each of a grid's N tiles, (N,); NaN where some did not decode.

    Overlapping tiles each count the nuclei they hold.
    """
    info, _ = read_info(table)
    edge, stride = grid.plan.level0_px, grid.stride_level0_px
    cells = np.rint(grid.coords / stride).astype(np.int64)  # as `make_grid` laid them
    counts = np.zeros(cells.max(axis=0) + 1 if len(cells) else (0, 0), np.int64)
    for group in read_groups(table, ["x", "y"]):
        _count(counts, group["x"].to_numpy(), group["y"].to_numpy(), edge=edge, stride=stride)
    pixel_mm2 = (info.level0_mpp / 1000) ** 2
    tissue_mm2 = grid.tissue_fraction.astype(np.float64) * edge**2 * pixel_mm2
    with np.errstate(divide="ignore", invalid="ignore"):
        density = np.where(tissue_mm2 > 0, counts[cells[:, 0], cells[:, 1]] / tissue_mm2, np.nan)
    density[_meets(grid.coords, edge, info.unreadable)] = np.nan
    return density


def _count(
    counts: NDArray[np.int64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    *,
    edge: float,
    stride: float,
) -> None:
    """Add N points to the tiles, (columns, rows), that they lie in."""
    reach = int(np.ceil(edge / stride)) + 1
    in_tiles = []
    for at, limit in ((x, counts.shape[0]), (y, counts.shape[1])):
        # Tile k begins at the rounded k × stride; the last few that began may hold the point.
        candidates = np.floor(at / stride).astype(np.int64)[:, None] + 1 - np.arange(reach + 1)
        start = np.rint(candidates * stride)
        holds = (start <= at[:, None]) & (at[:, None] < start + edge)
        in_tiles.append((candidates, holds & (candidates >= 0) & (candidates < limit)))
    (columns, in_columns), (rows, in_rows) = in_tiles
    both = in_columns[:, :, None] & in_rows[:, None, :]
    point, column, row = np.nonzero(both)
    np.add.at(counts, (columns[point, column], rows[point, row]), 1)


def _meets(
    coords: NDArray[np.int64], edge: float, squares: Sequence[Unreadable]
) -> NDArray[np.bool_]:
    """Which tiles have something in common with any of the squares."""
    meets = np.zeros(len(coords), np.bool_)
    x, y = coords.T
    for square in squares:
        across = (x < square.x + square.size) & (x + edge > square.x)
        meets |= across & (y < square.y + square.size) & (y + edge > square.y)
    return meets
