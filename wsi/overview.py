"""The whole slide as one small picture, in bounded memory whatever the slide's size."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsi.errors import UnreadableRegionError
from wsi.slide import Pixels, Slide

STRIP_PIXELS = 16_000_000  # pixels decoded at once: 64 MB as RGBA
BLOCK_PX = 256  # how finely a strip that does not decode is searched for what does


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """A slide as one small picture.

    Attributes
    ----------
    pixels
        (H, W, 3) uint8; pixel (i, j) averages level 0 from (j, i) × `downsample` on.
    downsample
        Level-0 pixels per pixel.
    unreadable
        (H, W), True where the bytes did not decode; None where all did.
    """

    pixels: Pixels
    downsample: float
    unreadable: NDArray[np.bool_] | None = None


def read_overview(slide: Slide, *, downsample: float) -> Overview:
    """Reduce a slide by at most `downsample`, from its coarsest level that allows it.

    The level is read in strips and reduced by a whole factor with area averaging, so the
    result's own downsample (level-0 pixels per pixel) is at most, and often exactly, as asked.
    What does not decode is marked, block by block.
    """
    level, factor = _level_and_factor(slide, downsample)
    width, height = slide.level_dimensions[level]
    rows = max(1, STRIP_PIXELS // (width * factor)) * factor
    strips, unreadable = [], []
    for top in range(0, height, rows):
        strip, bad = _read_strip(slide, level, top, min(rows, height - top))
        strips.append(np.asarray(Image.fromarray(strip).reduce(factor)))
        unreadable.append(bad[::factor, ::factor])
    bad = np.concatenate(unreadable)
    return Overview(
        pixels=np.concatenate(strips),
        downsample=slide.level_downsamples[level] * factor,
        unreadable=bad if bad.any() else None,
    )


def overview_grid(slide: Slide, *, downsample: float) -> tuple[tuple[int, int], float]:
    """Shape (H, W) of the picture that `read_overview` gives, and its own downsample."""
    level, factor = _level_and_factor(slide, downsample)
    width, height = slide.level_dimensions[level]
    shape = (-(-height // factor), -(-width // factor))
    return shape, slide.level_downsamples[level] * factor


def _level_and_factor(slide: Slide, downsample: float) -> tuple[int, int]:
    downsample = max(downsample, 1.0)
    level = max(i for i, d in enumerate(slide.level_downsamples) if i == 0 or d <= downsample)
    return level, max(1, int(downsample / slide.level_downsamples[level]))


def _read_strip(slide: Slide, level: int, top: int, rows: int) -> tuple[Pixels, NDArray[np.bool_]]:
    """Rows of a level, (rows, W, 3), and where they did not decode, (rows, W)."""
    downsample = slide.level_downsamples[level]
    width = slide.level_dimensions[level][0]
    bad = np.zeros((rows, width), np.bool_)
    try:
        return slide.read_region((0, round(top * downsample)), level, (width, rows)), bad
    except UnreadableRegionError:
        pixels = np.full((rows, width, 3), 255, np.uint8)
    for y in range(0, rows, BLOCK_PX):
        for x in range(0, width, BLOCK_PX):
            size = (min(BLOCK_PX, width - x), min(BLOCK_PX, rows - y))
            location = (round(x * downsample), round((top + y) * downsample))
            block = np.s_[y : y + size[1], x : x + size[0]]
            try:
                pixels[block] = slide.read_region(location, level, size)
            except UnreadableRegionError:
                bad[block] = True
    return pixels, bad
