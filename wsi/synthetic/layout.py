"""Where a specimen has which tissue: coarse planes from which pixels and truth both follow."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from wsi.synthetic.noise import Floats, fractal, resampled, uniform
from wsi.synthetic.specimen import Specimen

STEP_UM = 16.0
MARGIN = 4  # samples around the slide, so that its edge can be interpolated


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layout:
    """Planes sampled every `step` level-0 pixels.

    Sample ``[j, i]`` lies at level-0 ``((i - MARGIN + 0.5) * step, (j - MARGIN + 0.5) * step)``.
    `tissue`, `tumour`, `fat`, `glands`, `pen` and `blur` are signed distances to the edge of
    the area in level-0 pixels, positive inside. `nests` (tumour cells against their stroma),
    `lumina` (gaps among tumour cells) and `immune` are noise about zero. The fibres of the
    stroma run across direction `lean`, radians, and `warp` bends them: (2, H, W) level-0 pixels.
    """

    step: float
    lean: float
    tissue: Floats
    tumour: Floats
    fat: Floats
    glands: Floats
    pen: Floats
    blur: Floats
    nests: Floats
    lumina: Floats
    immune: Floats
    warp: Floats

    def window(
        self, plane: Floats, *, x: float, y: float, width: int, height: int, downsample: float = 1
    ) -> Floats:
        """Interpolate a plane over `width` x `height` pixels from level-0 (x, y).

        Each pixel of the (height, width) result is `downsample` level-0 pixels wide.
        """
        left, top = x / self.step + MARGIN, y / self.step + MARGIN
        right = left + width * downsample / self.step
        bottom = top + height * downsample / self.step
        return resampled(plane, box=(left, top, right, bottom), size=(width, height), cubic=False)

    def at(self, plane: Floats, x: Floats, y: Floats) -> Floats:
        """Interpolate a plane at level-0 points."""
        offset = MARGIN - 0.5
        where = np.stack((y / self.step + offset, x / self.step + offset))
        values: Floats = ndimage.map_coordinates(plane, where, order=1, mode="nearest")
        return values

    def extremes(
        self, plane: Floats, *, x: float, y: float, width: float, height: float
    ) -> tuple[float, float]:
        """Return bounds (lowest, highest) of a plane over a level-0 window."""
        left, top = int(x / self.step + MARGIN - 1), int(y / self.step + MARGIN - 1)
        right = int((x + width) / self.step + MARGIN + 2)
        bottom = int((y + height) / self.step + MARGIN + 2)
        part = plane[max(top, 0) : bottom, max(left, 0) : right]
        return float(part.min()), float(part.max())


def _distance(inside: NDArray[np.bool_], step: float) -> Floats:
    """Return the signed distance to the edge of a mask, level-0 pixels, slightly rounded."""
    if not inside.any():
        return np.full(inside.shape, -1e4, np.float32)
    depth = ndimage.distance_transform_edt(inside) - ndimage.distance_transform_edt(~inside)
    return (ndimage.gaussian_filter(depth, 0.8) * step).astype(np.float32)


def _top(values: Floats, share: float, within: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark the highest `share` of the values within a mask."""
    if share <= 0 or not within.any():
        return np.zeros_like(within)
    return (values > np.quantile(values[within], 1 - share)) & within


@lru_cache(maxsize=4)
def lay_out(specimen: Specimen) -> Layout:
    """Plan a specimen: outline, tumour, fat, glands, pen and blur.

    The tumour takes 12-33 % of the tissue. Equal specimens give equal layouts.
    """
    step = STEP_UM / specimen.mpp
    cols = int(np.ceil(specimen.width / step)) + 2 * MARGIN
    rows = int(np.ceil(specimen.height / step)) + 2 * MARGIN
    x = (np.arange(cols, dtype=np.float32)[None, :] - MARGIN + 0.5) * step
    y = (np.arange(rows, dtype=np.float32)[:, None] - MARGIN + 0.5) * step
    draw = [float(u) for u in uniform(specimen.salt(0), np.arange(32))]
    short = float(min(specimen.width, specimen.height))

    def noise(which: int, scale_px: float, octaves: int = 5) -> Floats:
        grain = max(scale_px / step, 1.5)
        salt = specimen.salt(1000 + 10 * which)
        return fractal(salt, width=cols, height=rows, step=grain, octaves=octaves)

    um = 1 / specimen.mpp
    border = np.minimum(np.minimum(x, specimen.width - x), np.minimum(y, specimen.height - y)) / (
        0.07 * short
    )
    oval = _oval(x, y, specimen, draw[:4])
    outline = 1.2 * oval + 0.6 * noise(1, short / 2.5, 6) - 3 * np.clip(1 - border, 0, 3) ** 2
    tissue = outline > np.quantile(outline[MARGIN:-MARGIN, MARGIN:-MARGIN], 0.64 - 0.2 * draw[4])
    tears = noise(2, short / 3, 3)
    tissue &= np.abs(tears) > 0.012
    tissue = ndimage.binary_opening(tissue, iterations=1) if min(rows, cols) > 40 else tissue

    none = np.zeros_like(tissue)
    tumour = none
    if specimen.tumour:
        middle = np.argmax(np.where(tissue, oval + 0.8 * noise(3, short / 3, 2), -9))
        cy, cx = y[middle // cols, 0], x[0, middle % cols]
        mound = 1 - np.hypot(x - cx, y - cy) / (0.4 * short)
        tumour = _top(mound + 0.7 * noise(4, short / 4), 0.13 + 0.19 * draw[5], tissue)
    away = tissue & (_distance(tumour, step) < -40 * um)
    fat = _top(noise(5, 900 * um), 0.22 * draw[6], away)
    glands = _top(noise(6, 800 * um), 0.4 + 0.45 * draw[7], away & ~fat)
    return Layout(
        step=step,
        lean=np.pi * draw[25],
        tissue=_distance(tissue, step),
        tumour=_distance(tumour, step),
        fat=_distance(fat, step),
        glands=_distance(glands, step),
        pen=_pen(x, y, specimen, draw[8:16], tissue) if specimen.pen else _distance(none, step),
        blur=_blur(x, y, specimen, draw[16:24]) if specimen.blur else _distance(none, step),
        nests=noise(7, 90 * um, 3),
        lumina=noise(11, 60 * um, 2) - np.float32(0.5 + 0.3 * draw[24]),
        immune=noise(8, 260 * um, 3),
        warp=np.stack([noise(9, 420 * um, 3), noise(10, 420 * um, 3)]) * np.float32(150 * um),
    )


def _oval(x: Floats, y: Floats, specimen: Specimen, draw: list[float]) -> Floats:
    """Return 1 in the middle of a tilted ellipse, 0 at its edge, negative outside."""
    tilt = np.pi * draw[0]
    dx, dy = x - specimen.width * (0.4 + 0.2 * draw[1]), y - specimen.height * (0.4 + 0.2 * draw[2])
    along = (dx * np.cos(tilt) + dy * np.sin(tilt)) / (0.48 * specimen.width)
    across = (dy * np.cos(tilt) - dx * np.sin(tilt)) / ((0.30 + 0.15 * draw[3]) * specimen.height)
    return np.asarray(1 - np.hypot(along, across), np.float32)


def _pen(
    x: Floats, y: Floats, specimen: Specimen, draw: list[float], tissue: NDArray[np.bool_]
) -> Floats:
    """Return the signed distance to an arc of marker, turned so that half of it is on tissue."""
    short = min(specimen.width, specimen.height)
    dx = x - specimen.width * (0.3 + 0.4 * draw[0])
    dy = y - specimen.height * (0.3 + 0.4 * draw[1])
    radius, half = short * (0.26 + 0.12 * draw[2]), min(short * 0.03, 300 / specimen.mpp)
    direction = np.arctan2(dy, dx)
    wobble = 1 + 0.08 * np.sin(3 * direction) + 0.05 * np.sin(5 * direction + 1)
    side = half - np.abs(np.hypot(dx, dy) - radius * wobble)
    strokes = []
    for middle in 2 * np.pi * (draw[3] + np.arange(6) / 6):
        turn = np.abs((direction - middle + np.pi) % (2 * np.pi) - np.pi)
        strokes.append(np.minimum(side, (0.9 + 0.8 * draw[4] - turn) * radius))
    shares = [float(tissue[stroke > 0].mean()) if (stroke > 0).any() else 0 for stroke in strokes]
    best = int(np.argmin(np.abs(np.array(shares) - 0.5)))
    return np.asarray(strokes[best], np.float32)


def _blur(x: Floats, y: Floats, specimen: Specimen, draw: list[float]) -> Floats:
    """Return the signed distance to a rectangle that the scanner did not bring into focus."""
    cx, cy = specimen.width * (0.35 + 0.3 * draw[0]), specimen.height * (0.35 + 0.3 * draw[1])
    half_w, half_h = 0.1 + 0.1 * draw[2], 0.08 + 0.1 * draw[3]
    inside_x, inside_y = (
        half_w * specimen.width - abs(x - cx),
        half_h * specimen.height - abs(y - cy),
    )
    return np.asarray(np.minimum(inside_x, inside_y), np.float32)
