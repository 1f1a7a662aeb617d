"""Reading a part of a slide of which something may not decode, and what that leaves unseen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wsi.errors import UnreadableRegionError
from wsi.plan import ReadPlan, TileSpec
from wsi.slide import Pixels, Slide
from wsi.tiles import read_area
from wsi.tissue import Tissue

SQUARE_PX = 256  # what is tried to be read on its own in an area that does not decode
GLASS = 240  # grey value of what does not decode: nothing is seen there, and that is reported

Box = tuple[int, int, int, int]  # left, top, right, bottom


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A square of the slide that did not decode: corner and edge in level-0 pixels."""

    x: float
    y: float
    size: float


def read_known(
    slide: Slide, box: Box, *, spec: TileSpec, plan: ReadPlan, scale: float
) -> tuple[Pixels, list[tuple[int, int]]]:
    """The pixels of a box, (H, W, 3), and the corners (x, y) of squares that do not decode.

    Squares lie on one raster over the slide, whatever the box: it may begin inside one. Their
    corners count from the box's, and may lie outside it.

    Parameters
    ----------
    box
        In pixels of `spec.mpp`, of which one is `scale` level-0 pixels; beyond the slide is white.
    spec, plan
        How such pixels are read.
    """
    left, top, right, bottom = box

    def area(x: int, y: int, height: int, width: int) -> Pixels:
        return read_area(
            slide, spec=spec, plan=plan, x=x * scale, y=y * scale, shape=(height, width)
        )

    try:
        return area(left, top, bottom - top, right - left), []
    except UnreadableRegionError:
        pixels = np.full((bottom - top, right - left, 3), GLASS, np.uint8)
    bad = []
    for y in range(top // SQUARE_PX * SQUARE_PX, bottom, SQUARE_PX):
        for x in range(left // SQUARE_PX * SQUARE_PX, right, SQUARE_PX):
            try:
                square = area(x, y, SQUARE_PX, SQUARE_PX)
            except UnreadableRegionError:
                bad.append((x - left, y - top))
                continue
            part = pixels[max(y - top, 0) : y - top + SQUARE_PX]
            part = part[:, max(x - left, 0) : x - left + SQUARE_PX]
            down, across = max(top - y, 0), max(left - x, 0)
            part[...] = square[down : down + part.shape[0], across : across + part.shape[1]]
    return pixels, bad


def unseen_tissue_mm2(
    tissue: Tissue, unreadable: Sequence[Unreadable], *, level0_mpp: float
) -> float:
    """The area of tissue within squares that did not decode."""
    unseen = tissue.mask & False
    for square in unreadable:
        left, top = (max(int(n / tissue.downsample), 0) for n in (square.x, square.y))
        right, bottom = (
            int(-(-(n + square.size) // tissue.downsample)) for n in (square.x, square.y)
        )
        unseen[top:bottom, left:right] = True
    return float((unseen & tissue.mask).sum()) * (tissue.downsample * level0_mpp / 1000) ** 2
