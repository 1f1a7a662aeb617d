"""Ways to read the tiles of a grid: ours, and the loops people write."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.speed import ours
from benchmarks.speed.decoding import decoders
from benchmarks.speed.measure import Contender, Work
from wsi.grid import TileGrid

OURS, OPENSLIDE = "raypath", "openslide in a loop"


def readers(
    path: Path, grid: TileGrid, *, threads: int, peers: bool, pyramid: Path | None = None
) -> list[Contender]:
    """The decoder with as many threads as ours uses and with all, ours, then the peers.

    Parameters
    ----------
    pyramid
        Our own pyramid of the slide, to be read back where `grid` is planned at level 0.
    """
    found = [
        contender
        for count in sorted({1, ours.READ_THREADS, threads})
        for contender in decoders(path, grid, threads=count)
    ]
    found.append(Contender(name=OURS, prepare=partial(ours.read_tiles, path, grid), role="ours"))
    if pyramid is not None:
        found.append(
            Contender(
                name="raypath, from its own pyramid",
                prepare=partial(ours.read_tiles, pyramid, grid),
                role="ours",
            )
        )
        found.append(
            Contender(
                name="zarr, from raypath's pyramid",
                prepare=partial(ours.read_pyramid_tiles, pyramid, grid),
                role="ours",
            )
        )
    if peers:
        found.append(Contender(name=OPENSLIDE, prepare=partial(_openslide, path, grid, 1)))
        if threads > 1:
            name = f"openslide, {threads} threads"
            found.append(Contender(name=name, prepare=partial(_openslide, path, grid, threads)))
        found.append(Contender(name="tiffslide in a loop", prepare=partial(_tiffslide, path, grid)))
    return found


def _openslide(path: Path, grid: TileGrid, threads: int, scratch: Path) -> Work:
    import openslide

    level, edge = grid.plan.level, round(grid.plan.level_px)

    def work() -> None:
        with openslide.OpenSlide(path) as slide:

            def read(corner: tuple[int, int]) -> None:
                _resized(slide.read_region(corner, level, (edge, edge)).convert("RGB"), grid)

            corners = [(x, y) for x, y in grid.coords.tolist()]
            if threads == 1:
                for corner in corners:
                    read(corner)
                return
            with ThreadPoolExecutor(threads) as pool:
                for _ in pool.map(read, corners):
                    pass

    return work


def _tiffslide(path: Path, grid: TileGrid, scratch: Path) -> Work:
    import tiffslide

    level, edge = grid.plan.level, round(grid.plan.level_px)

    def work() -> None:
        with tiffslide.TiffSlide(path) as slide:
            for x, y in grid.coords.tolist():
                _resized(slide.read_region((x, y), level, (edge, edge)), grid)

    return work


def _resized(region: Image.Image, grid: TileGrid) -> np.ndarray:
    """A region at the tile's own size, with the filter that ours uses."""
    wanted = (grid.spec.size_px, grid.spec.size_px)
    if region.size != wanted:
        region = region.resize(wanted, Image.Resampling.LANCZOS)
    return np.asarray(region)
