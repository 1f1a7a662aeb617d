"""Small pictures of a slide, as text that a page can hold."""

import base64

import numpy as np
from PIL import Image

from pipelines.channels import colourise
from pipelines.heatmap import Heatmap
from pipelines.pixels import encode_jpeg
from wsi.slide import Pixels

LONGEST_PX = 360
OPACITY = 0.55
MOST_BYTES = 20_000  # of one JPEG; two of them in base64 stay below 60 kB
QUALITIES = (82, 70, 55, 40, 25)


def data_uri(pixels: Pixels) -> str:
    """(H, W, 3) as a ``data:`` address: the best JPEG of at most `MOST_BYTES`, or the smallest."""
    for quality in QUALITIES:
        jpeg = encode_jpeg(pixels, quality=quality)
        if len(jpeg) <= MOST_BYTES:
            break
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def lay_over(pixels: Pixels, heatmap: Heatmap) -> Pixels:
    """The heatmap's first channel over a picture (H, W, 3) of the whole slide.

    A cell keeps its place to a fraction of a pixel: the picture's width is the slide's, and the
    cells are averaged over what a pixel of the picture covers.
    """
    height, width = pixels.shape[:2]
    rgba = Image.fromarray(colourise(heatmap.values[0], heatmap.channels[0]))
    right, bottom = (n / heatmap.cell_level0_px for n in heatmap.dimensions)
    box = (0, 0, min(right, rgba.width), min(bottom, rgba.height))
    cells = np.asarray(rgba.resize((width, height), Image.Resampling.BOX, box=box), np.float32)
    alpha = cells[..., 3:] / 255 * OPACITY
    mixed = pixels * (1 - alpha) + cells[..., :3] * alpha
    return np.asarray(mixed.round(), np.uint8)
