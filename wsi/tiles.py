"""Reading tiles at exactly the resolution the model was made for."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsi.errors import UnreadableRegionError
from wsi.grid import TileGrid
from wsi.plan import ReadPlan, TileSpec
from wsi.slide import Pixels, Slide

LANCZOS_REACH = 3  # resampled pixels that the filter sees to each side


@dataclass(frozen=True, slots=True, kw_only=True)
class TileBatch:
    """Tiles read together.

    `coords` (B, 2) int64 and `pixels` (B, S, S, 3) uint8 hold the readable tiles; `invalid`
    (M, 2) int64 the corners of those whose bytes did not decode.
    """

    coords: NDArray[np.int64]
    pixels: Pixels
    invalid: NDArray[np.int64]


def read_tile(slide: Slide, *, spec: TileSpec, plan: ReadPlan, x: int, y: int) -> Pixels:
    """Read the tile whose top-left corner is (x, y) level-0 pixels, (S, S, 3) uint8.

    The exact, fractional square of the level is resampled with an antialiased Lanczos filter;
    where the level already has the wanted resolution the pixels come as they are.

    Raises
    ------
    UnreadableRegionError
        If the bytes under the tile do not decode.
    """
    downsample = slide.level_downsamples[plan.level]
    left, top = x / downsample, y / downsample
    size = plan.level_px
    if size == spec.size_px and left.is_integer() and top.is_integer():
        return slide.read_region((x, y), plan.level, (spec.size_px, spec.size_px))
    # As much beyond the tile's edge as the filter sees, so that tiles join without a seam.
    margin = int(np.ceil(LANCZOS_REACH * max(size / spec.size_px, 1))) + 1
    first_x, first_y = int(left) - margin, int(top) - margin
    width = int(np.ceil(left + size)) + margin - first_x
    height = int(np.ceil(top + size)) + margin - first_y
    location = (round(first_x * downsample), round(first_y * downsample))
    region = slide.read_region(location, plan.level, (width, height))
    box = (left - first_x, top - first_y, left - first_x + size, top - first_y + size)
    wanted = (spec.size_px, spec.size_px)
    return np.asarray(Image.fromarray(region).resize(wanted, Image.Resampling.LANCZOS, box))


def read_batches(slide: Slide, grid: TileGrid, *, batch_size: int) -> Iterator[TileBatch]:
    """Read a grid's tiles in order, `batch_size` at a time; unreadable ones are set apart."""
    for start in range(0, len(grid.coords), batch_size):
        read: list[tuple[int, int]] = []
        invalid: list[tuple[int, int]] = []
        pixels: list[Pixels] = []
        for x, y in grid.coords[start : start + batch_size].tolist():
            try:
                pixels.append(read_tile(slide, spec=grid.spec, plan=grid.plan, x=x, y=y))
                read.append((x, y))
            except UnreadableRegionError:
                invalid.append((x, y))
        edge = grid.spec.size_px
        yield TileBatch(
            coords=np.array(read, np.int64).reshape(-1, 2),
            pixels=np.array(pixels, np.uint8).reshape(-1, edge, edge, 3),
            invalid=np.array(invalid, np.int64).reshape(-1, 2),
        )
