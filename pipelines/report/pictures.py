"""Small pictures of a slide, as text that a page can hold."""

import base64

import numpy as np
from PIL import Image

from pipelines.channels import colourise
from pipelines.heatmap import Heatmap
from pipelines.pixels import encode_jpeg
from wsi.quality import MEASURES
from wsi.slide import Pixels
from wsi.tilestore import LeftOut

LONGEST_PX = 360
OPACITY = 0.55
MOST_BYTES = 20_000  # of one JPEG; two of them in base64 stay below 60 kB
QUALITIES = (82, 70, 55, 40, 25)
# Of tiles left out, by measure: apart from each other, from stained tissue, and for the colour
# blind (Okabe & Ito).
REASON_COLOURS = dict(zip(MEASURES, ("#0072b2", "#000000", "#e69f00", "#009e73"), strict=True))
FADED = 0.55  # how far a slide's own picture is faded to white under marks
EDGE = 0.14  # width of a marked tile's outline, share of the tile


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


def mark_left_out(
    pixels: Pixels, left_out: LeftOut, *, tile_level0_px: float, downsample: float
) -> Pixels:
    """Mark tiles left out for their quality on a picture (H, W, 3) of the whole slide.

    The picture has `downsample` level-0 pixels a pixel. A tile is tinted in the colour of its
    reason, with an outline where it is large enough for one, so that tissue shows through.
    """
    faded = pixels + FADED * (255.0 - pixels)
    edge = max(1, round(tile_level0_px / downsample * EDGE))
    for (x, y), reason in zip(left_out.coords, left_out.reason, strict=True):
        colour = np.frombuffer(bytes.fromhex(REASON_COLOURS[MEASURES[reason]][1:]), np.uint8)
        left, top = round(x / downsample), round(y / downsample)
        right = max(left + 1, round((x + tile_level0_px) / downsample))
        bottom = max(top + 1, round((y + tile_level0_px) / downsample))
        square = faded[top:bottom, left:right]
        inside = square[edge:-edge, edge:-edge].copy()
        square[:] = colour
        square[edge:-edge, edge:-edge] = inside + OPACITY * (colour - inside)
    return np.asarray(faded.round(), np.uint8)
