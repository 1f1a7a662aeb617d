"""Painting one window of a specimen: dye by dye, then through the scanner's optics."""

from dataclasses import dataclass
from functools import lru_cache
from typing import TypedDict

import numpy as np
from scipy import ndimage

from wsi.synthetic import glands as gland
from wsi.synthetic.layout import Layout
from wsi.synthetic.noise import Floats, hashed, resampled, smooth, texture, uniform
from wsi.synthetic.nuclei import find_nuclei
from wsi.synthetic.specimen import Specimen, Stain
from wsi.synthetic.stamp import stamp

_GRAIN = 512  # the isotropic textures repeat after this many pixels
_SETS = 4  # of textures
_PEN = ((0.35, 0.62, 0.42), (0.30, 0.36, 0.72), (0.22, 0.22, 0.24))  # light let through


class _Window(TypedDict):
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Textures:
    streaks: Floats  # flat (1024 along, 1024 across)
    grain: Floats  # twice over in each direction
    speckle: Floats


@lru_cache(maxsize=_SETS)
def _textures(which: int) -> _Textures:
    """Make one of `_SETS` sets: slides share them, each sees them bent in its own way."""
    seed = which * 10
    streaks = texture(seed + 900, size=(1024, 1024), grains=((3.5, 0.9), (6, 2.4), (10, 6.5)))
    grain = texture(seed + 901, size=(_GRAIN, _GRAIN), grains=((1.1, 1.1), (3.5, 3.5)))
    speckle = texture(seed + 902, size=(_GRAIN, _GRAIN), grains=((0.9, 0.9), (1.7, 1.7)))
    return _Textures(
        streaks=streaks.ravel(), grain=np.tile(grain, (2, 2)), speckle=np.tile(speckle, (2, 2))
    )


class Canvas:
    """The dyes of one level-0 window while it is painted; planes are (H, W) float32.

    Call `paint`, then `develop`, then what the scanner and the pathologist did to it.
    """

    def __init__(
        self, specimen: Specimen, layout: Layout, x: int, y: int, width: int, height: int
    ) -> None:
        self.specimen, self.layout = specimen, layout
        self.x, self.y, self.width, self.height = x, y, width, height
        self.um = np.float32(1 / specimen.mpp)  # level-0 pixels per µm
        self.textures = _textures(specimen.seed % _SETS)
        self.depth = self._plane(layout.tissue).copy()
        self.tumour = self._plane(layout.tumour)
        self.nuclei = np.zeros((height, width), np.int32)
        self.haematoxylin = np.zeros((height, width), np.float32)
        self.eosin = np.zeros((height, width), np.float32)

    @property
    def _window(self) -> _Window:
        return {"x": self.x, "y": self.y, "width": self.width, "height": self.height}

    def _plane(self, plane: Floats) -> Floats:
        return self.layout.window(plane, **self._window)

    def _noise(self, which: int, step_um: float) -> Floats:
        return smooth(self.specimen.salt(which), step=float(step_um * self.um), **self._window)

    def _tiled(self, texture: Floats, shift: int = 0) -> Floats:
        j, i = (self.y + shift) % _GRAIN, (self.x + shift) % _GRAIN
        return texture[j : j + self.height, i : i + self.width]

    def _blend(self, cover: Floats, haematoxylin: Floats | float, eosin: Floats | float) -> None:
        """Replace the dyes where `cover` is 1, leave them where it is 0."""
        self.haematoxylin += (haematoxylin - self.haematoxylin) * cover
        self.eosin += (eosin - self.eosin) * cover

    def _streaks(self, mottle: Floats) -> Floats:
        """Return the fibres: a streaky texture seen through bent coordinates, unit deviation."""
        px = np.arange(self.x, self.x + self.width, dtype=np.float32)[None, :]
        py = np.arange(self.y, self.y + self.height, dtype=np.float32)[:, None]
        cos, sin = np.float32(np.cos(self.layout.lean)), np.float32(np.sin(self.layout.lean))
        scale = np.float32(2) / self.um
        across = (px * cos + py * sin + self._plane(self.layout.warp[0])) * scale
        along = (py * cos - px * sin + self._plane(self.layout.warp[1])) * (scale * np.float32(0.5))
        across += self._noise(701, 9.0) * 3 + mottle * 7
        index = (along.astype(np.int32) & 1023) << 10
        index |= across.astype(np.int32) & 1023
        return self.textures.streaks.take(index)

    def paint(self) -> None:
        """Lay dye everywhere, then press the nuclei in."""
        grain, mottle = self._tiled(self.textures.grain), self._noise(702, 22.0)
        self.depth += (mottle * 3 + grain * 0.4) * self.um
        loose = np.clip(self._noise(703, 140.0) * 1.1 + 0.45, 0, 1)
        fibres = self._streaks(mottle)
        thick = 0.78 - 0.34 * loose + (0.13 + 0.22 * loose) * fibres
        thick += 0.16 * mottle + 0.06 * grain
        thick = np.clip(thick, 0.04, 1.5)
        self.eosin += thick * np.float32(0.60)
        self.haematoxylin += thick * np.float32(0.09) + np.float32(0.03)
        if self.layout.extremes(self.layout.tumour, **self._window)[1] > -self.layout.step:
            self._paint_tumour(grain, mottle)
        reach = round(20 * float(self.um))  # a gland beyond the window may lend it nuclei
        found = gland.find_glands(
            self.specimen,
            self.layout,
            x=self.x - reach,
            y=self.y - reach,
            width=self.width + 2 * reach,
            height=self.height + 2 * reach,
        )
        if len(found):
            self._paint_glands(found, grain, mottle)
        if self.layout.extremes(self.layout.fat, **self._window)[1] > 0:
            self._paint_fat(mottle)
        self._press_nuclei(found)
        there = np.clip(self.depth / (2 * self.um) + 0.5, 0, 1)
        self.eosin *= there
        self.haematoxylin *= there

    def _paint_tumour(self, grain: Floats, mottle: Floats) -> None:
        nests = self._plane(self.layout.nests)
        solid = np.clip((nests + 0.22) * 9 + 0.4 * mottle, 0, 1)
        solid *= np.clip(self.tumour / (6 * self.um) + 0.5, 0, 1)
        cells = self._noise(704, 6.0)
        haematoxylin = 0.19 + 0.06 * mottle + 0.07 * cells + 0.04 * grain
        self._blend(solid, haematoxylin, 0.44 + 0.14 * mottle + 0.12 * cells + 0.06 * grain)
        gaps = self._plane(self.layout.lumina) + 0.05 * mottle + 0.02 * grain
        self._blend(solid * np.clip(gaps * 12 + 0.5, 0, 1), 0.01, 0.03)

    def _paint_glands(self, found: gland.Glands, grain: Floats, mottle: Floats) -> None:
        depth, wall = gland.paint(found, x=self.x, y=self.y, width=self.width, height=self.height)
        px = np.float32(1) / self.um
        inside = np.clip(depth * px + 0.5, 0, 1)
        cleft = np.clip(1.2 - np.abs(depth + 1.8 * self.um) * px * 0.8, 0, 1) * (mottle > -0.1)
        self._blend(cleft * 0.8, 0.02, 0.08)
        apical = np.clip((depth / wall - 0.45) * 3, 0, 1)
        self._blend(inside, 0.24 - 0.10 * apical + 0.05 * grain, 0.42 + 0.1 * mottle + 0.06 * grain)
        lumen = np.clip((depth - wall + grain * self.um) * px * 0.7 + 0.5, 0, 1)
        self._blend(lumen, 0.02, 0.04 + 0.05 * np.clip(mottle, 0, 1))

    def _paint_fat(self, mottle: Floats) -> None:
        area = np.clip(self._plane(self.layout.fat) / (4 * self.um) + 0.5 + mottle, 0, 1)
        rim = self._vacuoles()
        hole = np.clip(rim - 0.4 + 0.8 * mottle, 0, 1)
        self._blend(area, 0.05, 0.45)
        self._blend(area * hole, 0.0, 0.015)

    def _vacuoles(self) -> Floats:
        """Return the distance to the rim between round-cornered fat cells, about µm.

        Half of the difference of the distances to the nearest centre and to the soft minimum
        of the others (Worley noise), at half the resolution.
        """
        seed, cell = self.specimen.salt(720), float(52 * self.um)
        cols, rows = (self.width + 1) // 2, (self.height + 1) // 2
        px = (np.arange(cols, dtype=np.float32) * 2 + self.x + 1)[None, :]
        py = (np.arange(rows, dtype=np.float32) * 2 + self.y + 1)[:, None]
        nearest = np.full((rows, cols), 1e9, np.float32)
        total = np.zeros((rows, cols), np.float32)
        sharp = np.float32(-1 / (5 * self.um))
        i = np.arange(int(self.x // cell) - 1, int((self.x + self.width) // cell) + 2)
        j = np.arange(int(self.y // cell) - 1, int((self.y + self.height) // cell) + 2)
        i, j = (grid.ravel() for grid in np.meshgrid(i, j))
        centres_x = (i + 0.5 + 0.75 * (uniform(seed, i, j) - 0.5)) * cell
        centres_y = (j + 0.5 + 0.75 * (uniform(seed + 1, i, j) - 0.5)) * cell
        for cx, cy in zip(centres_x.astype(np.float32), centres_y.astype(np.float32), strict=True):
            far = np.sqrt((px - cx) ** 2 + (py - cy) ** 2)
            np.minimum(nearest, far, out=nearest)
            total += np.exp(far * sharp)
        others = np.maximum(total - np.exp(nearest * sharp), np.float32(1e-12))
        rim = (np.log(others) / sharp - nearest) / (2 * self.um)
        size = (2 * cols, 2 * rows)
        return resampled(rim, box=(0, 0, cols, rows), size=size, cubic=False)[
            : self.height, : self.width
        ]

    def _press_nuclei(self, found: gland.Glands) -> None:
        nuclei = find_nuclei(self.specimen, self.layout, found, **self._window)
        done = stamp(nuclei, self._tiled(self.textures.speckle), **self._window)
        self.nuclei = done.ids
        self._blend(done.cover, done.dye, 0.35)

    def develop(self, stain: Stain) -> Floats:
        """Turn dye into light (Beer-Lambert) through the scanner's optics; (H, W, 3), 0-255."""
        noise = self._tiled(self.textures.speckle, shift=171)  # away from the chromatin's
        for dye in (self.haematoxylin, self.eosin):
            _soften(dye, stain.softness)
            dye *= 1 + stain.noise * noise
        out = np.empty((self.height, self.width, 3), np.float32)
        for c in range(3):
            h = np.float32(-stain.haematoxylin_strength * stain.haematoxylin[c])
            e = np.float32(-stain.eosin_strength * stain.eosin[c])
            out[..., c] = np.exp(self.haematoxylin * h + self.eosin * e) * stain.white[c]
        return out

    def defocus(self, rgb: Floats) -> Floats:
        """Blur the light where the scanner missed the focus."""
        share = np.clip(self._plane(self.layout.blur) / (30 * self.um), 0, 1)[..., None]
        sigma = 2.2 * float(self.um)
        soft = ndimage.gaussian_filter(rgb, (sigma, sigma, 0), truncate=3.5)
        return np.asarray(rgb + (soft - rgb) * share, np.float32)

    def mark(self, rgb: Floats) -> Floats:
        """Filter the light through the ink of the pen."""
        ink = np.asarray(_PEN[int(hashed(self.specimen.seed, 1)) % 3], np.float32)
        edge = self._plane(self.layout.pen) + self._noise(730, 30.0) * 12
        cover = np.clip(edge / (4 * self.um) + 0.5, 0, 1) * (0.85 + 0.15 * self._noise(731, 60.0))
        return np.asarray(rgb * (1 - cover[..., None] * (1 - ink)), np.float32)


def _soften(plane: Floats, share: float) -> None:
    """Mix each pixel with its four neighbours, in place; the outermost pixels stay."""
    s = np.float32(share)
    plane[:, 1:-1] += s * (plane[:, :-2] + plane[:, 2:] - 2 * plane[:, 1:-1])
    plane[1:-1] += s * (plane[:-2] + plane[2:] - 2 * plane[1:-1])
