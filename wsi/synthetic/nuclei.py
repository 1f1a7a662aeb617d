"""Nuclei: where they lie, what they look like, and how a batch of them is drawn."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from wsi.synthetic.glands import CELL_UM, MAX_NUCLEI, Glands, depth, ring
from wsi.synthetic.layout import Layout
from wsi.synthetic.noise import Floats, Ints, uniform
from wsi.synthetic.specimen import Specimen

REACH_UM = 12.0  # no nucleus reaches further from its centre
_STROMA_UM, _IMMUNE_UM = 15.0, 7.6  # cells that hold at most one nucleus each


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Nuclei:
    """N nuclei; places and lengths in level-0 pixels, one array element each."""

    ids: Ints
    x: Floats
    y: Floats
    long: Floats  # semi-axes
    short: Floats
    angle: Floats  # of the long axis, radians
    bend: Floats  # banana 0.5, straight 0
    lump: Floats  # triangular 0.2, elliptic 0
    dye: Floats  # haematoxylin
    pale: Floats  # share of the dye that the middle lacks
    grain: Floats  # strength of the chromatin's texture
    spot: Floats  # dye of the nucleolus

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, which: object) -> "Nuclei":
        return Nuclei(**{f.name: getattr(self, f.name)[which] for f in fields(self)})


def find_nuclei(
    specimen: Specimen, layout: Layout, glands: Glands, *, x: int, y: int, width: int, height: int
) -> Nuclei:
    """List every nucleus that may reach into a level-0 window, in a fixed order."""
    reach = REACH_UM / specimen.mpp
    window = (x - reach, y - reach, width + 2 * reach, height + 2 * reach)
    kinds = [
        _stroma(specimen, layout, glands, window),
        _epithelium(specimen, layout, glands, window),
        _immune(specimen, layout, glands, window),
    ]
    if layout.extremes(layout.tumour, x=x, y=y, width=width, height=height)[1] > -reach:
        kinds.append(_tumour(specimen, layout, window))
    return Nuclei(
        **{f.name: np.concatenate([getattr(k, f.name) for k in kinds]) for f in fields(Nuclei)}
    )


def fibre_angle(layout: Layout, x: Floats, y: Floats) -> Floats:
    """Return the direction of the stroma's fibres at level-0 points, radians."""
    d = layout.step / 2
    slope_x = layout.at(layout.warp[0], x + d, y) - layout.at(layout.warp[0], x - d, y)
    slope_y = layout.at(layout.warp[0], x, y + d) - layout.at(layout.warp[0], x, y - d)
    across_x = np.cos(layout.lean) + slope_x / (2 * d)
    across_y = np.sin(layout.lean) + slope_y / (2 * d)
    return np.asarray(np.arctan2(across_x, -across_y), np.float32)


def _scatter(
    seed: int, cell: float, jitter: float, window: tuple[float, float, float, float], across: int
) -> tuple[Floats, Floats, Ints]:
    """Place one point in each cell of a grid; return x, y, id of those in a window."""
    x, y, width, height = window
    cols = np.arange(np.floor(x / cell) - 1, np.floor((x + width) / cell) + 2, dtype=np.int64)
    rows = np.arange(np.floor(y / cell) - 1, np.floor((y + height) / cell) + 2, dtype=np.int64)
    i, j = (grid.ravel() for grid in np.meshgrid(cols, rows))
    px = ((i + 0.5 * (j % 2) + 0.5 + jitter * (uniform(seed, i, j) - 0.5)) * cell).astype(
        np.float32
    )
    py = ((j + 0.5 + jitter * (uniform(seed + 1, i, j) - 0.5)) * cell).astype(np.float32)
    keep = (px >= x) & (px < x + width) & (py >= y) & (py < y + height) & (i >= 0) & (j >= 0)
    return px[keep], py[keep], (j * across + i)[keep]


def _grid(specimen: Specimen, cell: float) -> tuple[int, int]:
    """Return columns of a grid of cells and how many ids it takes up."""
    across = int(specimen.width / cell) + 3
    return across, across * (int(specimen.height / cell) + 3)


def _tumour_cell(specimen: Specimen) -> float:
    """Return the spacing of tumour nuclei, level-0 pixels."""
    return (10.2 + 3.0 * float(uniform(specimen.salt(600), 0))) / specimen.mpp


def _outside(glands: Glands, x: Floats, y: Floats, by: float) -> NDArray[np.bool_]:
    """Mark points at least `by` level-0 pixels outside every gland."""
    if not len(glands):
        return np.ones(len(x), np.bool_)
    return np.asarray(depth(glands, slice(None), x, y).max(axis=0) < -by)


def _stroma(
    specimen: Specimen, layout: Layout, glands: Glands, window: tuple[float, float, float, float]
) -> Nuclei:
    um, seed = np.float32(1 / specimen.mpp), specimen.salt(610)
    cell = float(_STROMA_UM * um)
    across, _ = _grid(specimen, cell)
    x, y, ids = _scatter(seed, cell, 0.9, window, across)
    dense = 0.22 + 0.35 * uniform(seed, 7)
    chance = dense * _outside(glands, x, y, 1.5 * float(um))
    chance *= layout.at(layout.tissue, x, y) > 2.5 * um
    chance *= layout.at(layout.fat, x, y) <= 0
    nest = (layout.at(layout.tumour, x, y) > 0) & (layout.at(layout.nests, x, y) > -0.22)
    keep = (uniform(seed + 2, ids) < chance) & ~nest
    x, y, ids = x[keep], y[keep], ids[keep]
    u = uniform(seed + 10, ids, np.arange(6)[:, None])
    thin = u[5] < 0.75
    return Nuclei(
        ids=ids,
        x=x,
        y=y,
        long=np.where(thin, 4.5 + 4.5 * u[0], 3.4 + 1.5 * u[0]).astype(np.float32) * um,
        short=np.where(thin, 1.3 + 1.0 * u[1], 2.2 + 1.1 * u[1]).astype(np.float32) * um,
        angle=fibre_angle(layout, x, y) + (u[2] - np.float32(0.5)) * np.float32(0.6),
        bend=(u[3] - np.float32(0.5)) * np.float32(0.5),
        lump=np.float32(0.10) * u[4],
        dye=np.float32(0.75) + np.float32(0.5) * u[4],
        pale=np.float32(0.25) * u[1],
        grain=np.full(len(ids), 0.16, np.float32),
        spot=np.zeros(len(ids), np.float32),
    )


def _epithelium(
    specimen: Specimen, layout: Layout, glands: Glands, window: tuple[float, float, float, float]
) -> Nuclei:
    um, seed = np.float32(1 / specimen.mpp), specimen.salt(630)
    x, y, angle, ids = ring(glands, specimen)
    keep = (x >= window[0]) & (x < window[0] + window[2])
    keep &= (y >= window[1]) & (y < window[1] + window[3])
    x, y, angle, ids = x[keep], y[keep], angle[keep], ids[keep]
    if len(ids):  # none inside a neighbour
        inside = (depth(glands, slice(None), x, y) > 1.5 * um).sum(axis=0) > 1
        keep = ~inside & (layout.at(layout.tissue, x, y) > 3 * um)
        x, y, angle, ids = x[keep], y[keep], angle[keep], ids[keep]
    u = uniform(seed + 10, ids, np.arange(5)[:, None])
    stroma = _grid(specimen, float(_STROMA_UM * um))[1]
    return Nuclei(
        ids=stroma + ids,
        x=x,
        y=y,
        long=(np.float32(3.6) + np.float32(1.6) * u[0]) * um,
        short=(np.float32(2.3) + np.float32(0.9) * u[1]) * um,
        angle=angle,
        bend=(u[2] - np.float32(0.5)) * np.float32(0.2),
        lump=np.float32(0.10) * u[3],
        dye=np.float32(0.68) + np.float32(0.35) * u[4],
        pale=np.float32(0.15) + np.float32(0.35) * u[2],
        grain=np.full(len(ids), 0.2, np.float32),
        spot=np.float32(0.35) * (u[3] > 0.6),
    )


def _immune(
    specimen: Specimen, layout: Layout, glands: Glands, window: tuple[float, float, float, float]
) -> Nuclei:
    um, seed = np.float32(1 / specimen.mpp), specimen.salt(650)
    cell = float(_IMMUNE_UM * um)
    across, _ = _grid(specimen, cell)
    x, y, ids = _scatter(seed, cell, 1.0, window, across)
    edge = np.exp(-((layout.at(layout.tumour, x, y) / (70 * um)) ** 2))
    crowd = layout.at(layout.immune, x, y) - np.float32(0.62) + np.float32(0.22) * edge
    chance = 0.035 + np.clip(crowd * 2.5, 0, 0.62)
    chance *= layout.at(layout.tissue, x, y) > 4 * um
    chance *= layout.at(layout.fat, x, y) <= 0
    chance *= (layout.at(layout.tumour, x, y) <= 0) | (layout.at(layout.lumina, x, y) < -0.03)
    keep = uniform(seed + 2, ids) < chance
    x, y, ids = x[keep], y[keep], ids[keep]
    keep = _outside(glands, x, y, 2.0 * float(um))
    x, y, ids = x[keep], y[keep], ids[keep]
    u = uniform(seed + 10, ids, np.arange(5)[:, None])
    taken = _grid(specimen, float(_STROMA_UM * um))[1] + _gland_ids(specimen)
    return Nuclei(
        ids=taken + ids,
        x=x,
        y=y,
        long=(np.float32(2.9) + np.float32(0.9) * u[0]) * um,
        short=(np.float32(2.6) + np.float32(0.6) * u[1]) * um,
        angle=u[2] * np.float32(np.pi),
        bend=np.zeros(len(ids), np.float32),
        lump=np.float32(0.08) * u[3],
        dye=np.float32(1.0) + np.float32(0.4) * u[4],
        pale=np.float32(0.2) * u[3],
        grain=np.full(len(ids), 0.2, np.float32),
        spot=np.zeros(len(ids), np.float32),
    )


def _gland_ids(specimen: Specimen) -> int:
    """Return how many ids the nuclei of glands may take up."""
    cell = CELL_UM / specimen.mpp
    across = int(np.ceil(specimen.width / cell)) + 3
    return (int(np.ceil(specimen.height / cell)) + 4) * across * MAX_NUCLEI


def _tumour(
    specimen: Specimen, layout: Layout, window: tuple[float, float, float, float]
) -> Nuclei:
    um, seed = np.float32(1 / specimen.mpp), specimen.salt(670)
    cell = _tumour_cell(specimen)
    across, _ = _grid(specimen, cell)
    x, y, ids = _scatter(seed, cell, 0.75, window, across)
    keep = (layout.at(layout.tumour, x, y) > 0) & (layout.at(layout.nests, x, y) > -0.2)
    keep &= layout.at(layout.lumina, x, y) < -0.03
    keep &= (layout.at(layout.tissue, x, y) > 5 * um) & (uniform(seed + 2, ids) < 0.94)
    x, y, ids = x[keep], y[keep], ids[keep]
    u = uniform(seed + 10, ids, np.arange(7)[:, None])
    size = np.float32(0.88) + np.float32(0.3) * uniform(seed, 3)
    large = (np.float32(3.7) + np.float32(1.7) * u[0] + np.float32(2.0) * u[0] ** 8) * size
    immune = _grid(specimen, float(_IMMUNE_UM * um))[1]
    taken = _grid(specimen, float(_STROMA_UM * um))[1] + _gland_ids(specimen) + immune
    return Nuclei(
        ids=taken + ids,
        x=x,
        y=y,
        long=large * um,
        short=large * (np.float32(0.6) + np.float32(0.36) * u[1]) * um,
        angle=u[2] * np.float32(np.pi),
        bend=(u[3] - np.float32(0.5)) * np.float32(0.35),
        lump=np.float32(0.20) * u[4],
        dye=np.float32(0.72) + np.float32(0.6) * u[5] ** 2,
        pale=np.float32(0.15) + np.float32(0.5) * u[6],
        grain=np.full(len(ids), 0.2, np.float32),
        spot=np.float32(0.7) * (u[4] > 0.45),
    )
