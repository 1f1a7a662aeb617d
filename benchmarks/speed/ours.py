"""What is measured of raypath: the only place here that calls it."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray

from benchmarks.speed.measure import BenchmarkError, Work
from cluster.resources import available_cpus
from cluster.serial import SerialExecutor
from cluster.threads import ThreadExecutor
from wsi.cpus import usable_cpus
from wsi.grid import TileGrid, make_grid
from wsi.jpeg.find import find_tiles
from wsi.open import open_slide
from wsi.overview import read_overview
from wsi.plan import TileSpec, plan_read
from wsi.pyramid.options import Codec, PyramidOptions
from wsi.ref import SlideRef
from wsi.resolution import resolve_mpp
from wsi.tiles import read_batches
from wsi.tissue import find_tissue, overview_downsample

READ_THREADS = usable_cpus()  # of `read_batches`: what the decoder beside it gets
BATCH = 64


def convert(slide: Path, codec: Codec, scratch: Path) -> Work:
    """Write a pyramid in this process: tiles copied by threads, or blocks decoded by all CPUs."""
    from pipelines.conversion.driver import convert_slides
    from pipelines.conversion.tasks import ConvertJob

    cpus = available_cpus()
    is_copied = codec == "auto"
    executor = ThreadExecutor(cpus) if is_copied else SerialExecutor()
    job = ConvertJob(
        ref=SlideRef.of(slide),
        path=scratch / f"{slide.stem}.ome.zarr",
        options=PyramidOptions(codec=codec),
        overwrite=True,
        threads=1 if is_copied else cpus,
    )

    def work() -> None:
        (record,) = convert_slides([job], executor)
        if record.verdict != "ok":
            raise BenchmarkError(record.describe())

    return work


def convert_by_command(slide: Path, scratch: Path) -> Work:
    """Write a pyramid as people do; the interpreter's start and the imports count."""
    raypath = str(Path(sys.executable).with_name("raypath"))
    command = [raypath, "convert", str(slide), "-o", str(scratch), "--json"]
    return lambda: subprocess.run(command, check=True, capture_output=True)


def lay_grid(path: Path, *, size_px: int, mpp_factor: float, most: int) -> TileGrid:
    """Lay tiles of `size_px` at `mpp_factor` times the slide's own mpp over its tissue.

    Keeps `most` tiles at most, neighbours from the middle of the slide.

    Raises
    ------
    BenchmarkError
        If the slide has no tissue.
    """
    with open_slide(path) as slide:
        level0_mpp = resolve_mpp(slide.properties).mpp
        downsample = overview_downsample(slide.dimensions, level0_mpp=level0_mpp)
        tissue = find_tissue(read_overview(slide, downsample=downsample), level0_mpp=level0_mpp)
        spec = TileSpec(size_px=size_px, mpp=level0_mpp * mpp_factor)
        plan = plan_read(spec, level0_mpp=level0_mpp, downsamples=slide.level_downsamples)
        grid = make_grid(dimensions=slide.dimensions, spec=spec, plan=plan, tissue=tissue)
    if not len(grid.coords):
        raise BenchmarkError(f"{path.name}: no tissue found, so there are no tiles to read")
    first = max(0, (len(grid.coords) - most) // 2)
    kept = slice(first, first + most)
    return replace(grid, coords=grid.coords[kept], tissue_fraction=grid.tissue_fraction[kept])


def read_tiles(path: Path, grid: TileGrid, scratch: Path) -> Work:
    """Read every tile of the grid from the slide."""

    def work() -> None:
        with open_slide(path) as slide:
            for batch in read_batches(slide, grid, batch_size=BATCH):
                if len(batch.invalid):
                    raise BenchmarkError(f"{path.name}: {len(batch.invalid)} tiles do not decode")

    return work


def read_pyramid_tiles(pyramid: Path, grid: TileGrid, scratch: Path) -> Work:
    """Read every tile of a grid that is planned at level 0 from our own pyramid, through Zarr."""
    edge = round(grid.plan.level_px)

    def work() -> None:
        level0 = zarr.open_array(pyramid / "0", mode="r")
        for x, y in grid.coords.tolist():
            np.asarray(level0[:, y : y + edge, x : x + edge])

    return work


def jpeg_streams(path: Path, grid: TileGrid | None = None) -> list[bytes]:
    """The slide's JPEG tiles under a grid, each once, as streams that decode by themselves.

    Parameters
    ----------
    grid
        Whose tiles, at the level it is read from; None for all of level 0.

    Raises
    ------
    BenchmarkError
        If the slide's tiles are no JPEG that could be decoded by itself.
    """
    with open_slide(path) as slide:
        found = find_tiles(path, slide)
        downsamples = slide.level_downsamples
    if found is None:
        raise BenchmarkError(f"{path.name} has no JPEG tiles")
    level = found.levels[grid.plan.level if grid else 0]
    columns, rows = level.grid
    wanted = np.ones((rows, columns), np.bool_)
    if grid is not None:
        wanted[:] = False
        corners = grid.coords / downsamples[grid.plan.level]
        for left, top, right, bottom in _spans(corners, grid.plan.level_px, level.tile).tolist():
            wanted[top:bottom, left:right] = True
    with level.files[0].open("rb") as file:
        read = (level.read_stream(file, int(place)) for place in np.flatnonzero(wanted))
        return [stream for stream in read if stream is not None]


def _spans(corners: NDArray[np.float64], edge: float, tile: tuple[int, int]) -> NDArray[np.int64]:
    """First and one past the last JPEG tile of squares: (N, 4) left, top, right, bottom."""
    first = np.floor(corners / tile)
    last = np.ceil((corners + edge) / tile)
    return np.concatenate([first, last], axis=1).astype(np.int64)
