"""Drawing nuclei: a batch of soft-edged, textured shapes pressed into planes of dye."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsi.synthetic.noise import Floats
from wsi.synthetic.nuclei import Nuclei

_BATCH = 128  # nuclei drawn at a time, so that the work fits the cache


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stamped:
    """Nuclei drawn over a window; all (H, W)."""

    cover: Floats  # 0 no nucleus, 1 nothing but nucleus
    dye: Floats  # haematoxylin of the nucleus that covers
    ids: NDArray[np.int32]  # 0 where `cover` is under a half


def stamp(nuclei: Nuclei, chromatin: Floats, *, x: int, y: int, width: int, height: int) -> Stamped:
    """Draw nuclei over the level-0 window at (x, y); where two overlap the fuller wins.

    `chromatin` is a unit-deviation texture of the window's (height, width).
    """
    cover = np.zeros(height * width, np.float32)
    dye = np.zeros(height * width, np.float32)
    ids = np.zeros(height * width, np.int32)
    reach = np.ceil(np.maximum(nuclei.long, nuclei.short * 1.25) * 1.12 + 1.5).astype(np.int64)
    parts = []
    for size in np.unique((reach + 3) // 4 * 4):
        group = np.flatnonzero((reach + 3) // 4 * 4 == size)
        for start in range(0, len(group), _BATCH):
            some = group[start : start + _BATCH]
            parts.append(_draw(nuclei[some], int(size), x, y, width, height))
    if parts:
        where = np.concatenate([p[0] for p in parts])
        alpha = np.concatenate([p[1] for p in parts])
        order = np.argsort((alpha * 65535).astype(np.uint16), kind="stable")
        where = where[order]
        cover[where] = alpha[order]
        dye[where] = np.concatenate([p[2] for p in parts])[order]
        grain = np.zeros(height * width, np.float32)
        grain[where] = np.concatenate([p[3] for p in parts])[order]
        dye *= 1 + grain * chromatin.ravel()
        ids[where] = np.concatenate([p[4] for p in parts])[order]
        ids[cover < 0.5] = 0
    shape = (height, width)
    return Stamped(cover=cover.reshape(shape), dye=dye.reshape(shape), ids=ids.reshape(shape))


def _draw(
    some: Nuclei, size: int, x: int, y: int, width: int, height: int
) -> tuple[NDArray[np.int64], Floats, Floats, Floats, NDArray[np.int32]]:
    """Draw nuclei on squares of ``2 * size`` pixels; return the pixels they touch, flat."""
    left = np.floor(some.x).astype(np.int64) - size
    top = np.floor(some.y).astype(np.int64) - size
    steps = np.arange(2 * size)
    px, py = left[:, None] + steps, top[:, None] + steps
    dx = (px + 0.5 - some.x[:, None]).astype(np.float32)[:, None, :]
    dy = (py + 0.5 - some.y[:, None]).astype(np.float32)[:, :, None]
    cos, sin = np.cos(some.angle)[:, None, None], np.sin(some.angle)[:, None, None]
    long, short = some.long[:, None, None], some.short[:, None, None]
    u = (cos / long) * dx + (sin / long) * dy
    v = (cos / short) * dy - (sin / short) * dx
    uu = u * u
    v += some.bend[:, None, None] * (uu - np.float32(0.4))
    rr = uu + v * v
    rho = np.sqrt(rr)
    rho += some.lump[:, None, None] * u * (uu - 3 * v * v) / (rr + np.float32(0.3))
    soft = np.minimum(short, 6)
    alpha = np.clip((1 - rho) * soft * np.float32(0.6) + np.float32(0.5), 0, 1)
    inside = (px >= x) & (px < x + width)
    rows = (py >= y) & (py < y + height)
    n, j, i = np.nonzero((alpha > 0.02) & inside[:, None, :] & rows[:, :, None])
    middle = np.clip(1 - rr[n, j, i], 0, 1)
    un, vn = u[n, j, i], v[n, j, i]
    au = (un - some.bend[n]) ** 2 + (vn + 2 * some.bend[n]) ** 2
    spot = some.spot[n] * np.exp(au * np.float32(-18))
    dye = np.asarray(some.dye[n] * (1 - some.pale[n] * middle) + spot, np.float32)
    where = (top[n] + j - y) * width + (left[n] + i - x)
    return (
        where,
        np.asarray(alpha[n, j, i], np.float32),
        dye,
        some.grain[n],
        some.ids[n].astype(np.int32),
    )
