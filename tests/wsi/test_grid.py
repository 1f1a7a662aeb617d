"""Tiles lie where they should along the whole slide, and know how much tissue they hold."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from wsi.grid import TileGrid, make_grid
from wsi.plan import ReadPlan, TileSpec
from wsi.tissue import Tissue


def plan_of(spec: TileSpec, level0_mpp: float) -> ReadPlan:
    edge = spec.size_px * spec.mpp / level0_mpp
    return ReadPlan(level=0, level_px=edge, level0_px=edge)


def all_tissue(dimensions: tuple[int, int]) -> Tissue:
    return Tissue(mask=np.ones(dimensions[::-1], np.bool_), downsample=1.0)


def grid_over(
    dimensions: tuple[int, int],
    *,
    size_px: int = 64,
    ratio: float = 1.0,
    tissue: Tissue | None = None,
    **options: Any,
) -> TileGrid:
    spec = TileSpec(size_px=size_px, mpp=ratio * 0.25)
    return make_grid(
        dimensions=dimensions,
        spec=spec,
        plan=plan_of(spec, 0.25),
        tissue=tissue or all_tissue(dimensions),
        **options,
    )


sizes = st.fixed_dictionaries(
    {
        "size_px": st.integers(8, 300),
        "ratio": st.floats(0.98, 9),
        "overlap": st.floats(0, 0.75),
        "tiles": st.tuples(st.floats(0.05, 12), st.floats(0.05, 12)),
    }
)


def lay(drawn: dict[str, Any], **options: Any) -> tuple[TileGrid, tuple[int, int]]:
    """A grid over a slide of so many strides, and the slide's dimensions."""
    stride_px = max(1, round(drawn["size_px"] * (1 - drawn["overlap"])))
    stride = stride_px * drawn["ratio"]
    width, height = (max(1, round(n * stride)) for n in drawn["tiles"])
    options.setdefault("tissue", Tissue(mask=np.ones((1, 1), np.bool_), downsample=1e6))
    grid = grid_over(
        (width, height),
        size_px=drawn["size_px"],
        ratio=drawn["ratio"],
        stride_px=stride_px,
        **options,
    )
    return grid, (width, height)


@given(drawn=sizes)
def test_tiles_never_drift_and_cover_the_slide(drawn: dict[str, Any]) -> None:
    grid, dimensions = lay(drawn, min_tissue_fraction=0.0)
    stride, tile = grid.stride_level0_px, grid.plan.level0_px
    assert stride == pytest.approx(grid.stride_px * grid.spec.mpp / 0.25, rel=1e-12)
    assert grid.coords.dtype == np.int64
    xs, ys = (np.unique(grid.coords[:, axis]) for axis in (0, 1))
    expected = [(x, y) for y in ys.tolist() for x in xs.tolist()]
    assert grid.coords.tolist() == [list(corner) for corner in expected]
    for starts, length in zip((xs, ys), dimensions, strict=True):
        drift = np.abs(starts - np.arange(len(starts)) * stride)
        assert drift.max() <= 0.5 + 1e-9
        assert (len(starts) - 1) * stride + tile >= length - 1e-6
        if len(starts) > 1:
            assert (len(starts) - 2) * stride + tile < length


def covered(starts: NDArray[np.int64], tile: float, cells: int, cell: float) -> NDArray[np.float64]:
    """How much of each cell each tile covers along one axis, (tiles, cells)."""
    edges = np.arange(cells + 1) * cell
    upper = np.minimum(starts[:, None] + tile, edges[1:])
    return np.maximum(upper - np.maximum(starts[:, None], edges[:-1]), 0)


@given(
    drawn=sizes,
    mask_shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    seed=st.integers(0, 99),
    share=st.floats(0, 1),
    least=st.floats(0, 1),
)
def test_tissue_fraction_is_the_area_of_tissue(
    drawn: dict[str, Any], mask_shape: tuple[int, int], seed: int, share: float, least: float
) -> None:
    """The mask is laid over the slide from its corner, and may end before it or after it."""
    mask = np.random.default_rng(seed).random(mask_shape) < share
    stride = drawn["size_px"] * (1 - drawn["overlap"]) * drawn["ratio"]
    cell = max(drawn["tiles"]) * stride / max(mask_shape)
    assume(cell > 0.01)
    tissue = Tissue(mask=mask, downsample=cell)
    every, _ = lay(drawn, tissue=tissue, min_tissue_fraction=0.0)
    tile = every.plan.level0_px
    across = covered(every.coords[:, 0], tile, mask.shape[1], cell)
    down = covered(every.coords[:, 1], tile, mask.shape[0], cell)
    area = np.einsum("ny,yx,nx->n", down, mask.astype(float), across)
    np.testing.assert_allclose(every.tissue_fraction, area / tile**2, atol=1e-5)
    assert every.tissue_fraction.dtype == np.float32
    kept, _ = lay(drawn, tissue=tissue, min_tissue_fraction=least)
    chosen = every.tissue_fraction >= least
    np.testing.assert_array_equal(kept.coords, every.coords[chosen])
    np.testing.assert_array_equal(kept.tissue_fraction, every.tissue_fraction[chosen])


def test_tiles_over_the_edge_count_what_is_outside_as_no_tissue() -> None:
    grid = grid_over((160, 100), min_tissue_fraction=0.0)
    assert grid.coords.tolist() == [[0, 0], [64, 0], [128, 0], [0, 64], [64, 64], [128, 64]]
    down = (100 - 64) / 64
    np.testing.assert_allclose(grid.tissue_fraction, [1, 1, 0.5, down, down, 0.5 * down])
    assert grid_over((160, 100)).coords.tolist() == grid.coords.tolist()
    assert grid_over((160, 100), min_tissue_fraction=0.51).coords.tolist() == [
        *([0, 0], [64, 0]),
        *([0, 64], [64, 64]),
    ]


def test_a_slide_smaller_than_a_tile_has_one() -> None:
    grid = grid_over((40, 30), min_tissue_fraction=0.0)
    assert grid.coords.tolist() == [[0, 0]]
    assert grid.tissue_fraction[0] == pytest.approx(40 * 30 / 64**2)


def test_a_slide_of_whole_tiles_has_no_tile_more() -> None:
    for ratio in (3 - 4e-15, 3, 3 + 4e-15):  # as 0.3 / 0.1 is in binary
        grid = grid_over((64 * 3 * 5, 64 * 3 * 4), ratio=ratio, min_tissue_fraction=0.0)
        assert len(grid.coords) == 20


def test_no_tissue_is_no_tiles() -> None:
    blank = Tissue(mask=np.zeros((10, 10), np.bool_), downsample=30.0)
    grid = grid_over((300, 300), tissue=blank)
    assert grid.coords.shape == (0, 2)
    assert grid.tissue_fraction.shape == (0,)


@pytest.mark.parametrize("stride_px", [0, -3, 65])
def test_a_stride_leaves_no_gaps_and_moves_on(stride_px: int) -> None:
    with pytest.raises(ValueError, match=rf"1-64 \(the tile's size\), got {stride_px}"):
        grid_over((300, 300), stride_px=stride_px)


@pytest.mark.parametrize(("stride_px", "count"), [(64, 9), (32, 25), (1, 129**2)])
def test_strides_within_their_bounds(stride_px: int, count: int) -> None:
    assert len(grid_over((192, 192), stride_px=stride_px).coords) == count


def test_a_large_mask_takes_few_bytes_a_pixel() -> None:
    mask = np.random.default_rng(0).random((2000, 3000)) < 0.5
    tracemalloc.start()
    try:
        grid = grid_over((6000, 4000), size_px=256, tissue=Tissue(mask=mask, downsample=2.0))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6 * mask.size
    x, y = grid.coords[17] // 2
    assert grid.tissue_fraction[17] == np.float32(mask[y : y + 128, x : x + 128].mean())
