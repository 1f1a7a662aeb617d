"""A heatmap shows, at every place, the mean of what was said about that place."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from wsi.raster import RasterFrame, first_over, rasterise

# Quarters of a pixel are exact in binary, so a centre on a tile's edge is one for both sides.
quarters = st.integers(1, 160).map(lambda n: n / 4)


def by_hand(
    values: NDArray[Any], coords: NDArray[np.int64], tile: float, frame: RasterFrame
) -> NDArray[np.float64]:
    """Cell by cell: the mean of the tiles that hold its centre, NaN if there is none."""
    out = np.full((values.shape[1], *frame.shape), np.nan)
    for row in range(frame.shape[0]):
        for column in range(frame.shape[1]):
            centre = np.array([column + 0.5, row + 0.5]) * frame.cell_level0_px
            inside = ((coords <= centre) & (centre < coords + tile)).all(axis=1)
            if inside.any():
                out[:, row, column] = values[inside].mean(axis=0)
    return out


@given(
    dimensions=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    cell=st.integers(40, 400).map(lambda n: n / 4),
    tile=quarters,
    count=st.integers(0, 30),
    channels=st.integers(1, 3),
    seed=st.integers(0, 999),
)
def test_every_cell_is_the_mean_of_the_tiles_over_its_centre(
    dimensions: tuple[int, int], cell: float, tile: float, count: int, channels: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    frame = RasterFrame.over(dimensions, cell_level0_px=cell)
    coords = rng.integers(-20, np.array(dimensions) + 20, (count, 2))
    values = rng.normal(size=(count, channels))
    seen = rasterise(values, coords, tile_level0_px=tile, frame=frame)
    assert seen.dtype == np.float32
    np.testing.assert_allclose(
        seen, by_hand(values, coords, tile, frame), rtol=0, atol=1e-6, equal_nan=True
    )


@given(dimensions=st.tuples(st.integers(1, 9999), st.integers(1, 9999)), cell=st.floats(0.5, 5000))
def test_a_frame_covers_the_slide_and_no_cell_more(
    dimensions: tuple[int, int], cell: float
) -> None:
    frame = RasterFrame.over(dimensions, cell_level0_px=cell)
    for cells, length in zip(frame.shape, dimensions[::-1], strict=True):
        assert cells * cell >= length * (1 - 1e-6)
        assert cells == 1 or (cells - 1) * cell < length


def test_one_value_a_tile_makes_one_plane_and_overlap_its_mean() -> None:
    frame = RasterFrame.over((30, 20), cell_level0_px=10)
    coords = np.array([[0, 0], [10, 0]])
    seen = rasterise(np.array([1.0, 4.0]), coords, tile_level0_px=20, frame=frame)
    np.testing.assert_array_equal(seen, [[[1, 2.5, 4], [1, 2.5, 4]]])


def test_cells_that_no_tile_covers_are_nan() -> None:
    frame = RasterFrame.over((30, 20), cell_level0_px=10)
    seen = rasterise(np.array([7.0]), np.array([[10, 0]]), tile_level0_px=10, frame=frame)
    nan = np.nan
    np.testing.assert_array_equal(seen, [[[nan, 7, nan], [nan, nan, nan]]])


def test_of_the_groups_over_a_cells_centre_the_first_counts() -> None:
    frame = RasterFrame.over((50, 20), cell_level0_px=10)
    none = np.zeros((0, 2), np.int64)
    groups = [np.array([[10, 0]]), none, np.array([[0, 0], [20, 10]])]
    seen = first_over(groups, tile_level0_px=20, frame=frame)
    assert seen.dtype == np.uint8
    assert seen.tolist() == [[3, 1, 1, 0, 0], [3, 1, 1, 3, 0]]


@pytest.mark.parametrize("shape", [(0,), (0, 3)])
def test_without_tiles_all_is_nan(shape: tuple[int, ...]) -> None:
    frame = RasterFrame.over((30, 20), cell_level0_px=10)
    seen = rasterise(np.zeros(shape), np.zeros((0, 2), np.int64), tile_level0_px=10, frame=frame)
    assert seen.shape == (shape[-1] or 1, 2, 3)
    assert np.isnan(seen).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(bad: float) -> None:
    """One would spread over the whole picture, since it is made of running sums."""
    frame = RasterFrame.over((30, 20), cell_level0_px=10)
    with pytest.raises(ValueError, match="must be finite"):
        rasterise(np.array([1, bad]), np.array([[0, 0], [10, 0]]), tile_level0_px=10, frame=frame)


@given(
    dimensions=st.tuples(st.integers(20, 900), st.integers(20, 900)),
    cell=st.floats(1, 300),
    tile=quarters,
    seed=st.integers(0, 99),
)
def test_the_cell_of_a_tile_holds_its_centre(
    dimensions: tuple[int, int], cell: float, tile: float, seed: int
) -> None:
    frame = RasterFrame.over(dimensions, cell_level0_px=cell)
    coords = np.random.default_rng(seed).integers(0, dimensions, (20, 2))
    cells = frame.cell_of(coords, tile_level0_px=tile)
    assert cells.dtype == np.int64
    centres = coords + tile / 2
    assert (cells >= 0).all()
    assert (cells < frame.shape).all()
    low = cells[:, ::-1] * cell
    within = (centres < dimensions).all(axis=1)  # others go to the last cell
    assert (low <= centres + 1e-6).all()
    assert (centres[within] < low[within] + cell + 1e-6).all()
