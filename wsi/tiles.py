"""Reading tiles at exactly the resolution the model was made for."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsi.buffers import Buffers
from wsi.cpus import usable_cpus
from wsi.errors import UnreadableRegionError
from wsi.grid import TileGrid
from wsi.plan import ReadPlan, TileSpec, reduction_of
from wsi.slide import Pixels, Slide

LANCZOS_REACH = 3  # resampled pixels that the filter sees to each side
AHEAD = 2  # batches being read while one is used


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

    The level is reduced by 2, 4 or 8 where that leaves the wanted resolution
    (`Slide.read_reduced`), and the exact, fractional square of what remains is resampled with an
    antialiased Lanczos filter. Where it is the wanted pixels already they come as they are.

    Raises
    ------
    UnreadableRegionError
        If the bytes under the tile do not decode.
    """
    tile = np.empty((spec.size_px, spec.size_px, 3), np.uint8)
    _read_into(tile, slide, plan, reduction_of(spec, plan), x, y, spec.size_px)
    return tile


def read_area(
    slide: Slide, *, spec: TileSpec, plan: ReadPlan, x: float, y: float, shape: tuple[int, int]
) -> Pixels:
    """Read an area of (height, width) = `shape` pixels as `read_tile` reads a tile.

    Its top-left corner (x, y), level-0 pixels, may lie within a pixel.

    Raises
    ------
    UnreadableRegionError
        If the bytes under the area do not decode.
    """
    area = np.empty((*shape, 3), np.uint8)
    _read_into(area, slide, plan, reduction_of(spec, plan), x, y, spec.size_px)
    return area


def _read_into(
    out: Pixels, slide: Slide, plan: ReadPlan, reduction: int, x: float, y: float, size_px: int
) -> None:
    """Write the pixels from (x, y) on into `out` (H, W, 3); `size_px` is the plan's tile."""
    downsample = slide.level_downsamples[plan.level] * reduction
    left, top = x / downsample, y / downsample
    scale = plan.level_px / reduction / size_px
    if scale == 1 and left.is_integer() and top.is_integer():
        slide.read_into(out, (round(x), round(y)), plan.level, reduction=reduction)
        return
    height, width = (length * scale for length in out.shape[:2])
    # As much beyond the edges as the filter sees, so that tiles join without a seam.
    margin = int(np.ceil(LANCZOS_REACH * max(scale, 1))) + 1
    first_x, first_y = int(left) - margin, int(top) - margin
    across = int(np.ceil(left + width)) + margin - first_x
    down = int(np.ceil(top + height)) + margin - first_y
    location = (round(first_x * downsample), round(first_y * downsample))
    region = slide.read_reduced(location, plan.level, (across, down), reduction)
    box = (left - first_x, top - first_y, left - first_x + width, top - first_y + height)
    size = (out.shape[1], out.shape[0])
    out[...] = np.asarray(Image.fromarray(region).resize(size, Image.Resampling.LANCZOS, box))


def read_batches(
    slide: Slide, grid: TileGrid, *, batch_size: int, threads: int | None = None
) -> Iterator[TileBatch]:
    """Read a grid's tiles in order, `batch_size` at a time; unreadable ones are set apart.

    While a batch is used the next `AHEAD` are read, by `threads` threads (by default as many as
    there are CPUs; one if the slide cannot be read by several). The memory of a batch's pixels is
    used again once nothing refers to it.
    """
    workers = (threads or usable_cpus()) if slide.reads_in_parallel else 1
    pool = ThreadPoolExecutor(workers, "tiles")
    buffers = Buffers()
    ahead: deque[_Reading] = deque()
    try:
        for start in range(0, len(grid.coords), batch_size):
            coords = grid.coords[start : start + batch_size]
            pixels = buffers.take((len(coords), grid.spec.size_px, grid.spec.size_px, 3))
            ahead.append(_start(pool, workers, slide, grid, coords, pixels))
            if len(ahead) > AHEAD:
                yield ahead.popleft().finish()
        while ahead:
            yield ahead.popleft().finish()
    finally:
        pool.shutdown(cancel_futures=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """A batch being read: each of `tasks` tells which tiles of its part were readable."""

    coords: NDArray[np.int64]
    pixels: Pixels
    tasks: list[Future[list[bool]]]

    def finish(self) -> TileBatch:
        """Wait for the batch."""
        readable = np.concatenate([task.result() for task in self.tasks])
        return TileBatch(
            coords=self.coords[readable],
            pixels=self.pixels if readable.all() else self.pixels[readable],
            invalid=self.coords[~readable],
        )


def _start(
    pool: ThreadPoolExecutor,
    workers: int,
    slide: Slide,
    grid: TileGrid,
    coords: NDArray[np.int64],
    pixels: Pixels,
) -> _Reading:
    """Have the tiles at `coords` read into `pixels`, a run of neighbours by each thread."""
    reduction = reduction_of(grid.spec, grid.plan)
    run = -(-len(coords) // workers)

    def read(first: int) -> list[bool]:
        part = slice(first, first + run)
        readable = []
        for out, (x, y) in zip(pixels[part], coords[part].tolist(), strict=True):
            try:
                _read_into(out, slide, grid.plan, reduction, x, y, grid.spec.size_px)
                readable.append(True)
            except UnreadableRegionError:
                readable.append(False)
        return readable

    tasks = [pool.submit(read, first) for first in range(0, len(coords), run)]
    return _Reading(coords=coords, pixels=pixels, tasks=tasks)
