"""Glands: rings of epithelium round a pale lumen, and the nuclei in the ring."""

from dataclasses import dataclass

import numpy as np

from wsi.synthetic.layout import Layout
from wsi.synthetic.noise import Floats, Ints, uniform
from wsi.synthetic.specimen import Specimen

CELL_UM = 118.0
MAX_NUCLEI = 96  # in one ring
_REACH = 1.45  # outline over mean radius, at most


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Glands:
    """Outlines of N glands; lengths and places in level-0 pixels.

    The radius in direction t is ``radius * (1 + wave2 cos 2(t - turn) + wave3 cos 3(t - turn))``.
    """

    ids: Ints
    x: Floats
    y: Floats
    radius: Floats
    wave2: Floats
    wave3: Floats
    turn: Floats
    wall: Floats  # thickness of the epithelium

    def __len__(self) -> int:
        return len(self.ids)


def find_glands(
    specimen: Specimen, layout: Layout, *, x: float, y: float, width: float, height: float
) -> Glands:
    """List the glands that may reach into a level-0 window."""
    um, seed = 1 / specimen.mpp, specimen.salt(500)
    cell = CELL_UM * um
    cols = np.arange(np.floor(x / cell) - 1, np.floor((x + width) / cell) + 2, dtype=np.int64)
    rows = np.arange(np.floor(y / cell) - 1, np.floor((y + height) / cell) + 2, dtype=np.int64)
    i, j = (grid.ravel() for grid in np.meshgrid(cols, rows))
    cx = ((i + 0.5 + 0.55 * (uniform(seed, i, j) - 0.5)) * cell).astype(np.float32)
    cy = ((j + 0.5 + 0.55 * (uniform(seed + 1, i, j) - 0.5)) * cell).astype(np.float32)
    radius = (24 + 30 * uniform(seed + 2, i, j)) * np.float32(um)
    keep = (layout.at(layout.glands, cx, cy) > radius * 0.3) & (uniform(seed + 3, i, j) < 0.93)
    keep &= layout.at(layout.tissue, cx, cy) > radius * 1.1
    reach = radius * _REACH
    keep &= (cx + reach > x) & (cx - reach < x + width)
    keep &= (cy + reach > y) & (cy - reach < y + height)
    i, j, cx, cy, radius = i[keep], j[keep], cx[keep], cy[keep], radius[keep]
    across = int(np.ceil(specimen.width / cell)) + 3
    return Glands(
        ids=(j + 1) * across + i + 1,
        x=cx,
        y=cy,
        radius=radius,
        wave2=0.06 + 0.24 * uniform(seed + 4, i, j),
        wave3=0.14 * uniform(seed + 5, i, j),
        turn=uniform(seed + 6, i, j) * np.float32(2 * np.pi),
        wall=(12 + 12 * uniform(seed + 7, i, j)) * np.float32(um),
    )


def depth(glands: Glands, which: int | slice, x: Floats, y: Floats) -> Floats:
    """Return how far points lie inside gland outlines, level-0 pixels; negative outside.

    `x` and `y` broadcast against each other and, for a slice, against the glands as (N, 1).
    """
    pick = (slice(which, which + 1) if isinstance(which, int) else which, None)
    dx, dy = x - glands.x[pick], y - glands.y[pick]
    far = np.sqrt(dx * dx + dy * dy) + np.float32(1e-3)
    cos, sin = np.cos(glands.turn[pick]), np.sin(glands.turn[pick])
    c, s = (dx * cos + dy * sin) / far, (dy * cos - dx * sin) / far
    cos2, cos3 = c * c - s * s, c * (c * c - 3 * s * s)
    outline = glands.radius[pick] * (1 + glands.wave2[pick] * cos2 + glands.wave3[pick] * cos3)
    return np.asarray(outline - far, np.float32)


def paint(glands: Glands, *, x: int, y: int, width: int, height: int) -> tuple[Floats, Floats]:
    """Return the depth inside the deepest gland and its wall, each (height, width).

    Both are level-0 pixels; the depth is -1000 where no gland comes near.
    """
    deepest = np.full((height, width), -1000, np.float32)
    wall = np.ones((height, width), np.float32)
    for n in range(len(glands)):
        reach = float(glands.radius[n]) * _REACH
        left, top = max(int(glands.x[n] - reach) - x, 0), max(int(glands.y[n] - reach) - y, 0)
        right = min(int(glands.x[n] + reach) + 2 - x, width)
        bottom = min(int(glands.y[n] + reach) + 2 - y, height)
        if left >= right or top >= bottom:
            continue
        px = np.arange(left + x, right + x, dtype=np.float32)[None, :] + np.float32(0.5)
        py = np.arange(top + y, bottom + y, dtype=np.float32)[:, None] + np.float32(0.5)
        here = depth(glands, n, px, py)
        part = deepest[top:bottom, left:right]
        np.copyto(wall[top:bottom, left:right], glands.wall[n], where=here > part)
        np.maximum(part, here, out=part)
    return deepest, wall


def ring(glands: Glands, specimen: Specimen) -> tuple[Floats, Floats, Floats, Ints]:
    """Place the nuclei of the epithelium at the outer side of the wall.

    Returns
    -------
    x, y
        Level-0 pixels; (N,).
    angle
        Of the long axis, radians, along the radius of the gland.
    ids
        Unique among all nuclei of all glands of the specimen.
    """
    um, seed = 1 / specimen.mpp, specimen.salt(550)
    count = np.minimum(2 * np.pi * glands.radius / (6.3 * um), MAX_NUCLEI).astype(np.int64)
    owner = np.repeat(np.arange(len(glands)), count)
    order = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    ids = glands.ids[owner] * MAX_NUCLEI + order
    turn = (order + 0.6 * (uniform(seed, ids) - 0.5)) / count[owner]
    angle = (turn * 2 * np.pi).astype(np.float32)
    around = angle - glands.turn[owner]
    outline = glands.radius[owner] * (
        1 + glands.wave2[owner] * np.cos(2 * around) + glands.wave3[owner] * np.cos(3 * around)
    )
    inward = glands.wall[owner] * (0.30 + 0.25 * uniform(seed + 1, ids) ** 2)
    x = glands.x[owner] + (outline - inward) * np.cos(angle)
    y = glands.y[owner] + (outline - inward) * np.sin(angle)
    return x, y, angle + (uniform(seed + 2, ids) - np.float32(0.5)) * np.float32(0.5), ids
