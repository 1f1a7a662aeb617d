"""Small pictures of a slide: bounded in bytes, with tissue, heatmap or quality drawn on them."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_erosion

from pipelines.heatmaps.channels import colourise
from pipelines.heatmaps.ome_zarr import Heatmap
from pipelines.heatmaps.picture import OPACITY
from wsi.quality import MEASURES
from wsi.slide import Pixels
from wsi.tilestore import LeftOut

QUALITIES = (80, 65, 50, 35)
TISSUE_COLOUR = (0, 110, 120)  # apart from haematoxylin, eosin and the heatmaps' ends
# Of tiles left out, by measure: apart from each other, from stained tissue, and for the colour
# blind (Okabe & Ito).
REASON_COLOURS = dict(zip(MEASURES, ("#0072b2", "#000000", "#e69f00", "#009e73"), strict=True))
EDGE_PX = 2  # width of the outline of the tissue
FADED = 0.55  # how far a slide's own picture is faded to white under marks
EDGE = 0.14  # width of a marked tile's outline, share of the tile


def encode_webp(pixels: Pixels, *, most_bytes: int) -> bytes:
    """(H, W, 3) as WebP of at most `most_bytes`: less quality first, then half the size."""
    image = Image.fromarray(pixels)
    while True:
        for quality in QUALITIES:
            stream = io.BytesIO()
            image.save(stream, format="WEBP", quality=quality)
            if stream.tell() <= most_bytes or max(image.size) == 1:
                return stream.getvalue()
        image = image.reduce(2)


def outline_tissue(pixels: Pixels, tissue: NDArray[np.bool_]) -> Pixels:
    """Draw the edge of a mask (H, W) on a picture (H, W, 3), inside the tissue."""
    drawn = pixels.copy()
    inside = binary_erosion(tissue, iterations=EDGE_PX, border_value=1)
    drawn[tissue & ~inside] = TISSUE_COLOUR
    return drawn


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
