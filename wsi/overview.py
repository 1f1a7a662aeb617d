"""The whole slide as one small picture, in bounded memory whatever the slide's size."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from wsi.slide import Pixels, Slide

STRIP_PIXELS = 16_000_000  # pixels decoded at once: 64 MB as RGBA


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """`pixels` (H, W, 3) uint8; pixel (i, j) averages level 0 from (j, i) × `downsample` on."""

    pixels: Pixels
    downsample: float


def read_overview(slide: Slide, *, downsample: float) -> Overview:
    """Reduce a slide by at most `downsample`, from its coarsest level that allows it.

    The level is read in strips and reduced by a whole factor with area averaging, so the
    result's own downsample (level-0 pixels per pixel) is at most, and often exactly, as asked.

    Raises
    ------
    UnreadableRegionError
        If the level does not decode.
    """
    downsample = max(downsample, 1.0)
    level = max(i for i, d in enumerate(slide.level_downsamples) if i == 0 or d <= downsample)
    level_downsample = slide.level_downsamples[level]
    factor = max(1, int(downsample / level_downsample))
    width, height = slide.level_dimensions[level]
    rows = max(1, STRIP_PIXELS // (width * factor)) * factor
    strips = []
    for top in range(0, height, rows):
        location = (0, round(top * level_downsample))
        strip = slide.read_region(location, level, (width, min(rows, height - top)))
        strips.append(np.asarray(Image.fromarray(strip).reduce(factor)))
    return Overview(pixels=np.concatenate(strips), downsample=level_downsample * factor)
