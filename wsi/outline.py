"""A mask as polygons a person can edit, and polygons as a mask: the one home of that geometry.

Polygons are in level-0 pixels, (x, y) with y down, edges of pixels and not their centres: pixel
(row i, column j) of a mask covers x from j to j + 1 times its downsample. A pixel belongs to a
polygon when its centre lies inside.
"""

from collections.abc import Iterable
from typing import Any

import contourpy
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import MultiPolygon, Polygon

from wsi.tissue import Mask

# Outlines pass √2 / 4 = 0.354 mask pixels from the centre of the nearest pixel, so whatever moves
# them by less keeps every pixel on its side. GEOS may move a ring twice where it starts and ends:
# a piece that lost or won a pixel by that is simplified by less than half.
TOLERANCES_PX = (0.35, 0.17)


def outline(mask: Mask, *, downsample: float) -> tuple[Polygon, ...]:
    """Draw around each piece of a mask; `fill` gives the mask back, pixel for pixel.

    A piece is what is connected over the sides of pixels. Its polygon is valid, touches neither
    itself nor others, and is oriented as RFC 7946 asks: the exterior has a positive area in
    (x, y), holes a negative one. The corners of pixels are cut and the outline is simplified by
    about a third of a pixel of the mask. Where the mask ends so does the polygon, at the edge of
    the pixel.

    Parameters
    ----------
    mask
        (H, W).
    downsample
        Level-0 pixels per pixel of the mask.

    Returns
    -------
    Polygons, the largest first.
    """
    # Contours run half-way between the centres of pixels that differ; a margin closes them.
    values = np.pad(mask, 1).astype(np.float64)
    contours = contourpy.contour_generator(z=values, fill_type="OuterOffset")
    filled: Any = contours.filled(0.5, np.inf)
    pieces = []
    for ring_points, ends in zip(*filled, strict=True):
        rings = np.split(np.asarray(ring_points) - 0.5, np.asarray(ends[1:-1], np.intp))
        pieces.append(Polygon(rings[0], rings[1:]))
    exact = np.array(pieces, object)
    simple = shapely.simplify(exact, TOLERANCES_PX[0], preserve_topology=True)
    for row, column in np.argwhere(fill(simple, shape=mask.shape, downsample=1.0) != mask):
        near = shapely.dwithin(exact, shapely.Point(column + 0.5, row + 0.5), 1.0)
        simple[near] = shapely.simplify(exact[near], TOLERANCES_PX[1], preserve_topology=True)
    oriented = [shapely.orient_polygons(_scale(piece, downsample)) for piece in simple]
    return tuple(sorted(oriented, key=lambda piece: -piece.area))


def fill(
    polygons: Iterable[Polygon | MultiPolygon], *, shape: tuple[int, int], downsample: float
) -> Mask:
    """The pixels, (H, W), whose centres lie in any of the polygons and in none of its holes.

    What lies outside the mask is cut off. The polygons must be valid, see `repair`.
    """
    mask = np.zeros(shape, np.bool_)
    for polygon in polygons:
        for part in shapely.get_parts(polygon):
            mask |= _fill_one(_scale(part, 1 / downsample), shape)
    return mask


def repair(polygon: Polygon | MultiPolygon) -> MultiPolygon:
    """A valid geometry of the same outline; empty where it encloses nothing.

    Loops of a line that crosses itself are kept, whichever way round they were drawn.
    """
    valid = shapely.make_valid(polygon, method="structure", keep_collapsed=False)
    areas = [part for part in shapely.get_parts(valid) if isinstance(part, Polygon)]
    return MultiPolygon([part for part in areas if not part.is_empty])


def _scale(polygon: Polygon, factor: float) -> Polygon:
    scaled: Polygon = shapely.transform(polygon, lambda points: points * factor)
    return scaled


def _fill_one(polygon: Polygon, shape: tuple[int, int]) -> Mask:
    """Fill one polygon in pixels of the mask, by the parity of the edges left of a centre."""
    height, width = shape
    starts, ends = _edges(polygon)
    upper, lower = np.minimum(starts[:, 1], ends[:, 1]), np.maximum(starts[:, 1], ends[:, 1])
    # An edge crosses the lines through the centres of rows first … last - 1.
    first = np.clip(np.ceil(upper - 0.5), 0, height).astype(np.int64)
    last = np.clip(np.ceil(lower - 0.5), 0, height).astype(np.int64)
    count = np.maximum(last - first, 0)
    edge = np.repeat(np.arange(len(count)), count)
    row = np.arange(count.sum()) - np.repeat(count.cumsum() - count, count) + first[edge]
    (x, y), (end_x, end_y) = starts[edge].T, ends[edge].T
    crossing = x + (row + 0.5 - y) * (end_x - x) / (end_y - y)
    column = np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.int64)
    toggles = np.zeros((height, width + 1), np.uint8)
    np.bitwise_xor.at(toggles, (row, column), 1)
    return np.bitwise_xor.accumulate(toggles, axis=1)[:, :width].astype(np.bool_)


def _edges(polygon: Polygon) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The start and the end of every edge of every ring, both (N, 2)."""
    rings = [np.asarray(ring.coords) for ring in (polygon.exterior, *polygon.interiors)]
    return np.concatenate([r[:-1] for r in rings]), np.concatenate([r[1:] for r in rings])
