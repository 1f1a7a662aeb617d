"""How good a tile's picture is: ink, darkness, glass and focus, and which tiles to leave out.

All measures are made of one row of pixels in eight (at 0.5 µm per pixel), which is enough for a
share of a tile and costs little beside decoding it. A tile's measures depend on its pixels alone.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsi.slide import Pixels

MEASURES = ("pen", "dark", "blank", "focus")
KEPT = -1  # in place of a measure's index: nothing is wrong

FINE_UM = 0.5  # lag over which a picture in focus changes; about what a 20x objective resolves
LAGS = 4  # the coarse lag, and the edge of a cell whose colour is judged, in fine lags
STEP = 2  # of the rows that are looked at, in coarse lags
ROUNDING = 1 / 3  # mean square difference that rounding to 8 bits makes, x and y together
STRUCTURE = 16.0  # grey levels squared of change over the coarse lag; with less nothing is sharp
GLASS = 0.5  # blank share of a tile from which its few, smooth edges say nothing of focus
DARK_VALUE = 0.3  # of the brightest channel, below which a cell is called dark
BLANK_SATURATION, BLANK_VALUE = 0.05, 0.7  # less colour and more light is called blank


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityLimits:
    """Beyond what a tile is left out; None for no limit.

    How the defaults were chosen, and what they do on real tissue, is in docs/quality.md.

    Attributes
    ----------
    max_pen, max_dark, max_blank
        Largest share of a tile, 0-1, with the colour of ink, too dark, or without stain.
    min_focus
        Least `focus`.
    """

    max_pen: float | None = 0.25
    max_dark: float | None = 0.5
    max_blank: float | None = 0.98
    min_focus: float | None = 0.025


def measure_quality(pixels: Pixels, *, mpp: float) -> NDArray[np.float32]:
    """Measure tiles (B, S, S, 3) uint8 at `mpp` µm per pixel: (B, 4) float32, by `MEASURES`.

    - **pen**: share of 2 µm cells with the colour of felt-tip ink.
    - **dark**: share of cells through which hardly any light came, in any channel: dense folds,
      dirt, edges of bubbles.
    - **blank**: share of cells that are bright and have no colour.
    - **focus**: how much of the change over 2 µm is there over 0.5 µm already, from 0 (as in a
      picture without an edge) to 1 (as in noise). NaN, for not judged, where the tile has hardly
      any structure or is half blank. Above 0.5 µm per pixel the lags are 1 and 4 pixels.

    Focus is a ratio of two structure functions, mean square differences of the green channel, in
    which haematoxylin and eosin both absorb. For a smooth picture differences grow with the lag
    h, so their squares with h² and the ratio is 1/16; edges lift it. Contrast cancels out, unlike
    in the variance of the Laplacian (Pech-Pacheco et al., ICPR 2000), which calls pale tissue
    blurred: docs/quality.md compares the two.
    """
    if len(pixels) == 0:
        return np.zeros((0, len(MEASURES)), np.float32)
    fine = max(1, round(FINE_UM / mpp))
    hue, saturation, value = _cells(pixels, cell=LAGS * fine, step=STEP * LAGS * fine)
    shares = (
        _is_ink_coloured(hue, saturation, value),
        value < DARK_VALUE,
        (saturation < BLANK_SATURATION) & (value > BLANK_VALUE),
    )
    pen, dark, blank = (share.mean(axis=1) for share in shares)
    focus = np.where(blank > GLASS, np.nan, _focus(pixels[..., 1], fine))
    return np.stack([pen, dark, blank, focus], axis=1).astype(np.float32)


def find_poor(quality: NDArray[np.float32], limits: QualityLimits) -> NDArray[np.int8]:
    """What is wrong with tiles of (B, 4) measures: (B,) index in `MEASURES`, or `KEPT`.

    Where several limits are broken the first measure counts: ink is out of focus, too. A measure
    that is NaN breaks none.
    """
    pen, dark, blank, focus = quality.T
    broken = (
        (pen, limits.max_pen, np.greater),
        (dark, limits.max_dark, np.greater),
        (blank, limits.max_blank, np.greater),
        (focus, limits.min_focus, np.less),
    )
    wrong = np.full(len(quality), KEPT, np.int8)
    for index, (values, limit, is_beyond) in reversed(list(enumerate(broken))):
        if limit is not None:
            wrong[is_beyond(values, limit)] = index
    return wrong


def count_poor(wrong: NDArray[np.integer]) -> dict[str, int]:
    """Tiles left out, by measure; those that broke no limit are not counted.

    Examples
    --------
    >>> count_poor(np.array([-1, 3, 0, 3]))
    {'pen': 1, 'focus': 2}
    """
    counts = np.bincount(wrong[wrong != KEPT], minlength=len(MEASURES))
    return {name: int(n) for name, n in zip(MEASURES, counts, strict=True) if n}


def _cells(pixels: Pixels, *, cell: int, step: int) -> tuple[NDArray[np.float32], ...]:
    """Hue, saturation and value, each (B, M) in 0-1, of pieces of rows, `cell` pixels long.

    Averaged, because a single pixel's colour is mostly noise and JPEG's.
    """
    count, height, width, _ = pixels.shape
    cell = min(cell, width)
    rows = pixels[:, min(step // 2, height - 1) :: step, : width // cell * cell]
    pieces = rows.reshape(*rows.shape[:2], -1, cell, 3)
    total = pieces[..., 0, :].astype(np.uint16)
    for k in range(1, cell):
        total += pieces[..., k, :]
    mean = (total // cell).astype(np.uint8)
    image = Image.fromarray(mean.reshape(count, -1, 3)).convert("HSV")
    hsv = np.asarray(image, np.float32) / np.float32(255)
    return tuple(np.moveaxis(hsv, -1, 0))


def _is_ink_coloured(
    hue: NDArray[np.float32], saturation: NDArray[np.float32], value: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Cells with hues that haematoxylin, eosin and DAB do not have, or near-black.

    `wsi.tissue` finds the strokes of a pen in the whole slide; this is for what it left.
    """
    green = (hue > 0.18) & (hue < 0.50) & (saturation > 0.12)
    blue = (hue >= 0.50) & (hue < 0.66) & (saturation > 0.30)
    red = ((hue > 0.97) | (hue < 0.03)) & (saturation > 0.65) & (value > 0.5)
    black = (value < 0.25) & (saturation < 0.4)
    return np.asarray(green | blue | red | black)


def _focus(green: NDArray[np.uint8], fine: int) -> NDArray[np.float64]:
    """Focus of (B, S, S), (B,); NaN without structure, or where a tile is too small for the lags.

    For the vertical differences each row that is looked at has a partner `LAGS` x `fine` pixels
    below, and every fine step on the way there counts: an edge that one finds, the other does too.
    """
    coarse = LAGS * fine
    last = green.shape[1] - coarse
    if min(last, green.shape[2] - coarse) <= 0:
        return np.full(len(green), np.nan)
    rows = [
        green[:, shift : last + shift : STEP * coarse].astype(np.float32)
        for shift in range(0, coarse + 1, fine)
    ]
    here, far = rows[0], rows[-1]
    over_fine = sum(_mean_square(below - above) for above, below in pairwise(rows)) / LAGS
    over_fine += _mean_square(here[..., fine:] - here[..., :-fine])
    over_coarse = _mean_square(far - here) + _mean_square(here[..., coarse:] - here[..., :-coarse])
    over_coarse -= ROUNDING
    ratio = np.maximum(over_fine - ROUNDING, 0) / np.maximum(over_coarse, STRUCTURE)
    smooth = 1 / LAGS**2
    focus = np.clip((ratio - smooth) / (1 - smooth), 0, 1)
    return np.asarray(np.where(over_coarse < STRUCTURE, np.nan, focus))


def _mean_square(differences: NDArray[np.float32]) -> NDArray[np.float64]:
    sums = np.einsum("bij,bij->b", differences, differences).astype(np.float64)
    return np.asarray(sums / differences[0].size)
