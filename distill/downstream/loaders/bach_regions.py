"""BACH, part B, as the challenge scores it: which tissue every pixel is, on tiles of the slides.

The layout is that of `distill.downstream.loaders.bach_wsi`.
"""

from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from distill.downstream.loaders.bach_wsi import (
    CLASSES,
    LICENCE,
    SPEC,
    lay_grid,
    outlined_slides,
    read_outlines,
)
from distill.downstream.regions import RegionImage, RegionSet
from wsi.open import open_slide
from wsi.tiles import read_tile

TASK = "bach-wsi-regions"
MOST_TILES = 100  # of a slide, chosen at random once and for all: a slide has thousands
SEED = 0


def load_bach_regions(folder: Path) -> RegionSet:
    """Read tiles on the tissue of every outlined slide, with the class of each pixel.

    Raises
    ------
    LabelledDataError
        If there is no outlined slide, or an outline has no known class.
    SlideError
        If a slide cannot be opened, or a tile does not decode.
    """
    images = []
    for path in outlined_slides(folder):
        outlines = read_outlines(path.with_suffix(".xml"))
        grid = lay_grid(path)
        order = np.random.default_rng(SEED).permutation(len(grid.coords))[:MOST_TILES]
        with open_slide(path) as slide:
            for x, y in grid.coords[np.sort(order)].tolist():
                images.append(
                    RegionImage(
                        pixels=read_tile(slide, spec=SPEC, plan=grid.plan, x=x, y=y),
                        regions=paint(outlines, x, y, size_level0_px=grid.plan.level0_px),
                        name=f"{path.stem}-{x}-{y}",
                        case=path.stem,
                        mpp=SPEC.mpp,
                    )
                )
    return RegionSet(name=TASK, classes=CLASSES, images=tuple(images), licence=LICENCE)


def paint(
    outlines: dict[str, BaseGeometry], x: int, y: int, *, size_level0_px: float
) -> NDArray[np.uint8]:
    """The class at the centre of each pixel of the tile at (x, y), level-0 pixels.

    Where outlines overlap, the later of `CLASSES` holds, which is the graver.
    """
    edge = SPEC.size_px
    regions = np.zeros((edge, edge), np.uint8)
    centres = (np.arange(edge) + 0.5) * size_level0_px / edge
    tile = shapely.box(x, y, x + size_level0_px, y + size_level0_px)
    for number, name in enumerate(CLASSES):
        here = shapely.intersection(outlines[name], tile) if name in outlines else None
        if here is not None and not here.is_empty:
            shapely.prepare(here)
            inside = shapely.contains_xy(here, *np.meshgrid(x + centres, y + centres))
            regions[inside] = number
    return regions
