"""A mask is drawn around and filled again to the pixel; polygons are filled by pixels' centres."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.path import Path as Outline
from scipy import ndimage
from shapely import MultiPolygon, Polygon

from wsi.outline import fill, outline, repair

Mask = np.ndarray[Any, np.dtype[np.bool_]]


PLACES = st.floats(-50, 450).map(lambda place: round(place, 2))


@st.composite
def masks(draw: st.DrawFn) -> Mask:
    """Noise of any density, in blobs or not: many holes, islands in them and touching corners."""
    height, width = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    rng = np.random.default_rng(draw(st.integers(0, 9999)))
    noise = rng.random((height, width))
    smooth = ndimage.gaussian_filter(noise, draw(st.sampled_from([0, 0.7, 1.5])))
    return smooth < np.quantile(smooth, draw(st.floats(0, 1)))


@given(mask=masks(), downsample=st.sampled_from([1.0, 4.0001, 16.0, 31.9]))
def test_a_mask_comes_back_to_the_pixel(mask: Mask, downsample: float) -> None:
    pieces = outline(mask, downsample=downsample)
    np.testing.assert_array_equal(fill(pieces, shape=mask.shape, downsample=downsample), mask)
    assert len(pieces) == ndimage.label(mask)[1]
    for piece in pieces:
        assert piece.is_valid
        assert piece.exterior.is_ccw
        assert not any(hole.is_ccw for hole in piece.interiors)
    for one, other in combinations(pieces, 2):
        assert not one.intersects(other)
    assert [p.area for p in pieces] == sorted((p.area for p in pieces), reverse=True)


def test_outlines_are_edges_of_pixels_in_level0() -> None:
    mask = np.zeros((40, 60), np.bool_)
    mask[10:30, 20:60] = True
    mask[15:25, 30:40] = False
    (piece,) = outline(mask, downsample=16.0)
    assert piece.bounds == (320, 160, 960, 480)
    (hole,) = piece.interiors
    assert Polygon(hole).bounds == (480, 240, 640, 400)
    assert piece.area == pytest.approx((20 * 40 - 10 * 10) * 256, rel=0.01)


def test_a_slanted_edge_is_one_line() -> None:
    y, x = np.mgrid[0:300, 0:300]
    (piece,) = outline(x + y < 300, downsample=8.0)
    assert len(piece.exterior.coords) < 12


def test_nothing_has_no_outline() -> None:
    assert outline(np.zeros((3, 4), np.bool_), downsample=2.0) == ()
    assert not fill([], shape=(3, 4), downsample=2.0).any()


@given(
    corners=st.lists(st.tuples(PLACES, PLACES), min_size=3, max_size=9),
    downsample=st.sampled_from([1.0, 7.3, 16.0]),
)
def test_a_pixel_is_filled_when_its_centre_is_inside(
    corners: list[tuple[float, float]], downsample: float
) -> None:
    polygon = repair(Polygon(corners))
    shape = (int(300 / downsample), int(400 / downsample))
    mask = fill([polygon], shape=shape, downsample=downsample)
    y, x = (np.indices(shape) + 0.5) * downsample
    centres = shapely.points(x, y)
    is_clear = shapely.distance(shapely.boundary(polygon), centres) > 1e-6
    inside = shapely.contains(polygon, centres)
    if polygon.is_empty:
        is_clear[:] = True
    np.testing.assert_array_equal(mask[is_clear], inside[is_clear])


def test_another_fill_agrees() -> None:
    rng = np.random.default_rng(3)
    angle = np.sort(rng.uniform(0, 2 * np.pi, 40))
    points = 100 + np.stack([np.cos(angle), np.sin(angle)], 1) * rng.uniform(30, 90, (40, 1))
    y, x = np.indices((200, 200)) + 0.5
    inside = Outline(points).contains_points(np.stack([x.ravel(), y.ravel()], 1))
    mask = fill([Polygon(points)], shape=(200, 200), downsample=1.0)
    assert (mask.ravel() != inside).mean() < 1e-3


def test_overlapping_polygons_add_up_and_holes_stay_out() -> None:
    ring = Polygon([(0, 0), (8, 0), (8, 8), (0, 8)], [[(2, 2), (2, 6), (6, 6), (6, 2)]])
    island = Polygon([(3, 3), (5, 3), (5, 5), (3, 5)])
    corner = Polygon([(6, 6), (10, 6), (10, 10), (6, 10)])
    mask = fill([ring, MultiPolygon([island, corner])], shape=(10, 10), downsample=1.0)
    wanted = np.zeros((10, 10), np.bool_)
    wanted[:8, :8] = True
    wanted[2:6, 2:6] = False
    wanted[3:5, 3:5] = wanted[6:, 6:] = True
    np.testing.assert_array_equal(mask, wanted)


def test_a_line_that_crosses_itself_keeps_both_loops() -> None:
    bowtie = Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])
    repaired = repair(bowtie)
    assert repaired.is_valid
    assert repaired.area == pytest.approx(50)
    assert repair(Polygon([(0, 0), (5, 5), (10, 10)])).is_empty
