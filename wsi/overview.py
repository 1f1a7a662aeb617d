"""The whole slide as one small picture, in bounded memory whatever the slide's size."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsi.errors import ImplausibleSizeError, UnreadableRegionError
from wsi.plan import TOLERANCE
from wsi.slide import Pixels, Slide

STRIP_PIXELS = 16_000_000  # pixels decoded at once: 64 MB as RGBA
MOST_PIXELS = 500_000_000  # of the picture: a glass of 18 x 18 cm at 8 µm
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
    """Reduce a slide by at most `downsample` (and `TOLERANCE`), from its coarsest level for it.

    The level is read in strips and reduced by a whole factor (`Slide.read_reduced`), so the
    result's own downsample (level-0 pixels per pixel) is as asked, or less.
    What does not decode is marked, block by block.

    Raises
    ------
    ImplausibleSizeError
        If the picture would have more than `MOST_PIXELS`: a damaged file can claim any size.
    """
    level, factor = _level_and_factor(slide, downsample)
    (height, width), downsample = overview_grid(slide, downsample=downsample)
    if height * width > MOST_PIXELS:
        columns, rows = slide.dimensions
        raise ImplausibleSizeError(
            f"the slide says it has {columns:,} x {rows:,} pixels, and made {downsample:g} times "
            f"smaller that is a picture of {width:,} x {height:,}, over the limit of "
            f"{MOST_PIXELS:,}: the file is damaged, or its µm per pixel are wrong (--mpp, or the "
            "manifest's mpp column)"
        )
    rows = max(1, STRIP_PIXELS // (slide.level_dimensions[level][0] * factor))
    pixels = np.full((height, width, 3), 255, np.uint8)
    unreadable = np.zeros((height, width), np.bool_)
    for top in range(0, height, rows):
        strip = slice(top, min(top + rows, height))
        _read_strip(slide, level, factor, top, pixels[strip], unreadable[strip])
    return Overview(
        pixels=pixels,
        downsample=downsample,
        unreadable=unreadable if unreadable.any() else None,
    )


def overview_grid(slide: Slide, *, downsample: float) -> tuple[tuple[int, int], float]:
    """Shape (H, W) of the picture that `read_overview` gives, and its own downsample."""
    level, factor = _level_and_factor(slide, downsample)
    width, height = slide.level_dimensions[level]
    shape = (-(-height // factor), -(-width // factor))
    return shape, slide.level_downsamples[level] * factor


def _level_and_factor(slide: Slide, downsample: float) -> tuple[int, int]:
    most = max(downsample, 1.0) * (1 + TOLERANCE)
    level = max(i for i, d in enumerate(slide.level_downsamples) if i == 0 or d <= most)
    return level, max(1, int(most / slide.level_downsamples[level]))


def _read_strip(
    slide: Slide,
    level: int,
    factor: int,
    top: int,
    pixels: Pixels,
    unreadable: NDArray[np.bool_],
) -> None:
    """Fill rows of the overview from `top` on, and mark where they do not decode."""
    downsample = slide.level_downsamples[level] * factor
    try:
        slide.read_into(pixels, (0, round(top * downsample)), level, reduction=factor)
    except UnreadableRegionError:
        block_px = max(1, BLOCK_PX // factor)
        rows, width = unreadable.shape
        for y in range(0, rows, block_px):
            for x in range(0, width, block_px):
                block = np.s_[y : y + block_px, x : x + block_px]
                location = (round(x * downsample), round((top + y) * downsample))
                try:
                    slide.read_into(pixels[block], location, level, reduction=factor)
                except UnreadableRegionError:
                    pixels[block] = 255
                    unreadable[block] = True
