"""How fast a slide becomes a pyramid and its tiles are read, beside copying and decoding it.

python benchmarks/pyramid.py [SLIDE] [--runs 5] [--size 6000]
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np
import openslide
from timing import print_table, repeat

from pipelines.convert import convert_slide
from wsi.grid import make_grid
from wsi.open import open_slide
from wsi.plan import TileSpec, plan_read
from wsi.ref import SlideRef
from wsi.resolution import resolve_mpp
from wsi.testing import Specimen, write_slide
from wsi.tiles import read_batches
from wsi.tissue import Tissue

BLOCK_PX = 4096
TILE_PX = 256


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slide", nargs="?", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--size", type=int, default=6000, help="of the made-up slide, pixels")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        specimen = Specimen(seed=1, width=given.size, height=given.size)
        path = given.slide or write_slide(Path(folder) / "slide.svs", specimen)
        with open_slide(path) as slide:
            width, height = slide.dimensions
        copied, decoded = Path(folder) / "copied.ome.zarr", Path(folder) / "zstd.ome.zarr"
        tasks = {
            "cp": lambda: shutil.copyfile(path, Path(folder) / "copy"),
            "openslide, level 0 in blocks": lambda: decode(path, BLOCK_PX),
            "raypath convert, tiles kept": lambda: convert_slide(
                SlideRef.of(path), copied, overwrite=True
            ),
            "raypath convert, zstd": lambda: convert_slide(
                SlideRef.of(path), decoded, codec="zstd", overwrite=True
            ),
            "openslide, tiles in a loop": lambda: decode(path, TILE_PX),
            "raypath, tiles at level-0 mpp": lambda: read_all_tiles(path),
        }
        seconds = repeat(tasks, runs=given.runs)
        print(f"{path.name}: {width} x {height} px")
        baseline = "openslide, level 0 in blocks"
        print_table(seconds, baseline=baseline, unit=width * height / 1e6)
        source = path.stat().st_size
        for pyramid in (copied, decoded):
            written = sum(f.stat().st_size for f in pyramid.rglob("*") if f.is_file())
            print(f"{pyramid.stem}: {written:,} bytes, {written / source:.2f} times the source")


def decode(path: Path, block_px: int) -> None:
    """Read level 0 of a slide with openslide-python in squares."""
    with openslide.OpenSlide(path) as slide:
        width, height = slide.dimensions
        for y in range(0, height, block_px):
            for x in range(0, width, block_px):
                slide.read_region((x, y), 0, (min(block_px, width - x), min(block_px, height - y)))


def read_all_tiles(path: Path) -> None:
    """Read every tile of a slide at the resolution of its level 0."""
    with open_slide(path) as slide:
        mpp = resolve_mpp(slide.properties).mpp
        spec = TileSpec(size_px=TILE_PX, mpp=mpp)
        plan = plan_read(spec, level0_mpp=mpp, downsamples=slide.level_downsamples)
        everything = Tissue(mask=np.ones((64, 64), np.bool_), downsample=max(slide.dimensions) / 64)
        grid = make_grid(
            dimensions=slide.dimensions,
            spec=spec,
            plan=plan,
            tissue=everything,
            min_tissue_fraction=0.0,
        )
        for _ in read_batches(slide, grid, batch_size=64):
            pass


if __name__ == "__main__":
    main()
