"""Felt-tip ink on a slide, told from stained tissue by what it absorbs.

Optical densities r, g, b (of red, green and blue light; Beer-Lambert) add up where two dyes lie
on each other. Haematoxylin and eosin absorb green most, and b / g is nearly the same for both, so
it hardly changes over a slide whatever the mixture: within 0.07 for 98 of 100 squares of 32 µm.
Ink breaks that. Green and blue ink absorb more red than green; red ink absorbs blue as much as
green, and no red; black ink absorbs all alike.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from wsi.slide import Pixels

Density = NDArray[np.float32]
Where = NDArray[np.bool_]

LOOK_UM = 32.0  # edge of the squares that are judged: nuclei and vessels average out, strokes not
FEWEST_SQUARES = 16  # a picture is not reduced below this many squares along its shorter edge
CORE_UM = 64.0  # edge of the least patch of unmistakable ink; a pen's tip is 500 µm and more
_DENSITY: Density = np.maximum(-np.log10(np.maximum(np.arange(256), 1) / 245), 0).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Usual:
    """The colour of a slide's own tissue: medians over its stained squares.

    The defaults are for a picture without a square of plain tissue.
    """

    b_over_g: float = 0.58  # 0.28-0.67, by scanner
    r_over_g: float = 0.45
    dark: float = 0.1  # the least of the three densities
    pink: float = 0.1  # g - r


def find_ink(pixels: Pixels, *, pixel_um: float) -> Where:
    """Where a pen marked the slide, (H, W), in a brightfield picture of `pixel_um` µm a pixel.

    A stroke holds at least `CORE_UM` squared of a colour that no stain has. From there it
    reaches as far as what is connected is odd for the tissue of this slide.
    """
    height, width = pixels.shape[:2]
    factor = max(1, min(int(LOOK_UM / pixel_um), min(height, width) // FEWEST_SQUARES))
    squares = np.asarray(Image.fromarray(pixels).reduce(factor))
    r, g, b = np.moveaxis(_DENSITY[squares], -1, 0)
    dark = np.minimum(np.minimum(r, g), b)
    usual = _usual(r, g, b, dark)
    # b beyond what this tissue would have with as much g. Brown (DAB) is no ink.
    excess = np.where(b < 1.25 * g, b - usual.b_over_g * g, 0)

    black = (dark > 0.68) & (excess > 0.1 * g) & (b > 0.72 * g)
    cold = (r - g > 0.15) & (r > 1.2 * g)
    red = (g > 0.6) & (r < 0.25 * g) & (0.7 * g < b) & (b < 1.2 * g)
    odd_dark = (excess > 0.07 * g) & (dark > 0.2)
    odd_dark |= (excess > 0.04 * g) & (dark > max(0.2, 2 * usual.dark))
    odd_cold = (r - g > 0.03) & (r > 0.06)
    odd_red = (excess > 0.07 * g) & (r < 0.35 * g) & (g > 0.07)
    odd_red |= (excess > 0.04 * g) & (r < 0.5 * usual.r_over_g * g) & (g > 0.12)
    # Over tissue, red ink looks like a lot of eosin.
    odd_red |= (excess > 0) & (r < 0.75 * usual.r_over_g * g) & (g - r > 2 * usual.pink)

    fewest = (CORE_UM / (factor * pixel_um)) ** 2
    ink = _grow(cold | black, odd_cold | odd_dark, fewest=fewest)
    ink |= _grow(red | black, odd_red | odd_dark, fewest=fewest)
    if not ink.any():
        return np.zeros((height, width), np.bool_)
    ink = ndimage.maximum_filter(ink, 3)  # ink fades outward: one square more
    return np.asarray(ink.repeat(factor, axis=0)[:height].repeat(factor, axis=1)[:, :width])


def _usual(r: Density, g: Density, b: Density, dark: Density) -> _Usual:
    stained = (g > 0.08) & (r < 0.9 * g) & (b < 0.72 * g)
    if not stained.any():
        return _Usual()
    r, g, b, dark = r[stained], g[stained], b[stained], dark[stained]
    return _Usual(
        b_over_g=float(np.median(b / g)),
        r_over_g=float(np.median(r / g)),
        dark=float(np.median(dark)),
        pink=max(0.1, float(np.median(g - r))),
    )


def _grow(core: Where, odd: Where, *, fewest: float) -> Where:
    """The connected pieces of `core` and `odd` that hold at least `fewest` squares of `core`."""
    if not core.any():
        return core
    piece = core | odd
    labels, count = ndimage.label(ndimage.maximum_filter(piece, 3))  # over gaps of two squares
    held = np.bincount(labels[core], minlength=count + 1)
    return np.asarray((held >= fewest)[labels] & piece)
