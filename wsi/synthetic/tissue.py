"""A made-up specimen's pixels and truth, for any region of it.

Everything is drawn on fixed blocks of level 0, so a pixel is the same whichever region it is
asked for through.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsi.synthetic.canvas import Canvas
from wsi.synthetic.layout import lay_out
from wsi.synthetic.noise import Floats
from wsi.synthetic.specimen import Specimen

BLOCK = 256


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rendering:
    """A rendered region with its truth; all arrays (H, W), `rgb` (H, W, 3).

    `nuclei` holds instance labels, 0 = none; a nucleus has the same label in every region.
    `tissue` includes lumina and fat, `tumour` its own stroma.
    """

    rgb: NDArray[np.uint8]
    nuclei: NDArray[np.int32]
    tumour: NDArray[np.bool_]
    tissue: NDArray[np.bool_]


def render(specimen: Specimen, *, x: int, y: int, width: int, height: int) -> Rendering:
    """Render a region of a specimen.

    Parameters
    ----------
    specimen
        What to render.
    x, y
        Top-left corner, level-0 pixels.
    width, height
        Size, level-0 pixels; what lies outside the specimen is empty glass.
    """
    white = np.array(specimen.staining.white, np.uint8)
    rgb = np.empty((height, width, 3), np.uint8)
    rgb[:] = white
    nuclei = np.zeros((height, width), np.int32)
    tumour, tissue = np.zeros((height, width), np.bool_), np.zeros((height, width), np.bool_)
    right, bottom = min(x + width, specimen.width), min(y + height, specimen.height)
    for block_y in range(max(y, 0) // BLOCK * BLOCK, bottom, BLOCK):
        for block_x in range(max(x, 0) // BLOCK * BLOCK, right, BLOCK):
            block = _render_block(specimen, block_x, block_y)
            if block is None:
                continue
            x0, x1 = max(x, block_x), min(right, block_x + BLOCK)
            y0, y1 = max(y, block_y), min(bottom, block_y + BLOCK)
            here = np.s_[y0 - y : y1 - y, x0 - x : x1 - x]
            there = np.s_[y0 - block_y : y1 - block_y, x0 - block_x : x1 - block_x]
            rgb[here], nuclei[here] = block.rgb[there], block.nuclei[there]
            tumour[here], tissue[here] = block.tumour[there], block.tissue[there]
    return Rendering(rgb=rgb, nuclei=nuclei, tumour=tumour, tissue=tissue)


def tumour_mask(specimen: Specimen, *, downsample: int) -> NDArray[np.bool_]:
    """Return where the tumour is, without rendering: (height // d, width // d)."""
    layout = lay_out(specimen)
    inside = _coarse(specimen, layout.tumour, downsample) > 0
    return inside & tissue_mask(specimen, downsample=downsample)


def tissue_mask(specimen: Specimen, *, downsample: int) -> NDArray[np.bool_]:
    """Return where the tissue is, without rendering: (height // d, width // d)."""
    return _coarse(specimen, lay_out(specimen).tissue, downsample) > 0


def _coarse(specimen: Specimen, plane: Floats, downsample: int) -> Floats:
    width, height = specimen.width // downsample, specimen.height // downsample
    return lay_out(specimen).window(
        plane, x=0, y=0, width=width, height=height, downsample=downsample
    )


def _render_block(specimen: Specimen, x: int, y: int) -> Rendering | None:
    """Render the block at (x, y), or nothing where the glass is empty."""
    layout = lay_out(specimen)
    square = {"x": x, "y": y, "width": BLOCK, "height": BLOCK}
    pen = layout.extremes(layout.pen, **square)[1] > -layout.step
    empty = layout.extremes(layout.tissue, **square)[1] < -layout.step
    if empty and not pen:
        return None
    blurred = layout.extremes(layout.blur, **square)[1] > 0
    halo = 2 * round(4 / specimen.mpp) if blurred else 2
    width = min(BLOCK, specimen.width - x) + 2 * halo
    height = min(BLOCK, specimen.height - y) + 2 * halo
    canvas = Canvas(specimen, layout, x - halo, y - halo, width, height)
    canvas.paint()
    inner = np.s_[halo : height - halo, halo : width - halo]
    rgb = canvas.develop(specimen.staining)
    if blurred:
        rgb = canvas.defocus(rgb)
    if pen:
        rgb = canvas.mark(rgb)
    rgb8 = np.clip(rgb[inner] + np.float32(0.5), 0, 255).astype(np.uint8)
    tissue = canvas.depth[inner] > 0
    return Rendering(
        rgb=rgb8,
        nuclei=canvas.nuclei[inner],
        tumour=(canvas.tumour[inner] > 0) & tissue,
        tissue=tissue,
    )
