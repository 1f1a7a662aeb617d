"""A tile shows its place, at the resolution that was asked for, to the bit where it can."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi.errors import UnreadableRegionError
from wsi.grid import TileGrid, make_grid
from wsi.open import open_slide
from wsi.plan import ReadPlan, TileSpec, plan_read
from wsi.readers.openslide_reader import OpenSlideReader
from wsi.slide import Pixels, Slide
from wsi.tiles import AHEAD, read_batches, read_tile
from wsi.tissue import Tissue

MPP = 0.5


def planned(slide: Slide, *, size_px: int, mpp: float) -> tuple[TileSpec, ReadPlan]:
    spec = TileSpec(size_px=size_px, mpp=mpp)
    return spec, plan_read(spec, level0_mpp=MPP, downsamples=slide.level_downsamples)


def oracle(path: Path, location: tuple[int, int], level: int, edge: int) -> Pixels:
    with openslide.OpenSlide(path) as slide:
        return np.asarray(slide.read_region(location, level, (edge, edge)).convert("RGB"))


@pytest.mark.parametrize(("mpp", "level"), [(0.5, 0), (2.0, 1)])
@pytest.mark.parametrize("corner", [(0, 0), (504, 804), (1024, 256)])
def test_at_a_levels_own_resolution_a_tile_is_openslides(
    locating_slide: Path, mpp: float, level: int, corner: tuple[int, int]
) -> None:
    with open_slide(locating_slide) as slide:
        spec, plan = planned(slide, size_px=100, mpp=mpp)
        assert plan.level == level
        tile = read_tile(slide, spec=spec, plan=plan, x=corner[0], y=corner[1])
    np.testing.assert_array_equal(tile, oracle(locating_slide, corner, level, 100))


def test_compressed_tissue_too_is_openslides(synthetic: Any) -> None:
    with open_slide(synthetic.path) as slide:
        spec, plan = planned(slide, size_px=300, mpp=MPP)
        tile = read_tile(slide, spec=spec, plan=plan, x=601, y=333)
    np.testing.assert_array_equal(tile, oracle(synthetic.path, (601, 333), 0, 300))


@given(
    mpp=st.floats(0.49, 3.9),
    size_px=st.integers(32, 160),
    at=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_a_resampled_tile_is_where_and_as_large_as_it_was_asked_for(
    locating_slide: Path, mpp: float, size_px: int, at: tuple[float, float]
) -> None:
    with open_slide(locating_slide) as slide:
        spec, plan = planned(slide, size_px=size_px, mpp=mpp)
        # The filter sees up to 28 pixels beyond the tile, and there is white beyond the slide.
        room = [n - plan.level0_px - 64 for n in (2304, 1536)]
        x, y = (round(32 + share * length) for share, length in zip(at, room, strict=True))
        tile = read_tile(slide, spec=spec, plan=plan, x=x, y=y).astype(float)
        downsample = slide.level_downsamples[plan.level]
    assert tile.shape == (size_px, size_px, 3)
    edge = size_px * mpp / MPP
    for corner, length, profile in (
        (x, 2304, tile[..., 0].mean(axis=0)),
        (y, 1536, tile[..., 1].mean(axis=1)),
    ):
        step = length / 256  # level-0 pixels a shade
        centre = (profile.mean() + 0.5) * step
        assert abs(centre - corner - edge / 2) < step + downsample
        first, last = ((profile[k] + 0.5) * step for k in (0, -1))
        assert abs(last - first - edge * (1 - 1 / size_px)) < 2 * step + 2 * downsample
    assert (tile[..., 2] == 128).all()


@given(size_px=st.integers(8, 60), ratio=st.floats(1.03, 8), seed=st.integers(0, 99))
def test_tiles_join_without_a_seam(
    array_slide: Callable[[Pixels], Slide], size_px: int, ratio: float, seed: int
) -> None:
    """The corner of a tile is that of a tile of twice the size: the filter saw beyond its edge."""
    rng = np.random.default_rng(seed)
    side = int(2 * size_px * ratio) + 40
    slide = array_slide(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
    small, large = (planned(slide, size_px=n, mpp=ratio * MPP) for n in (size_px, 2 * size_px))
    corner = read_tile(slide, spec=small[0], plan=small[1], x=20, y=11)
    whole = read_tile(slide, spec=large[0], plan=large[1], x=20, y=11)
    difference = np.abs(whole[:size_px, :size_px].astype(int) - corner)
    assert difference.max() <= 1  # of rounding in Pillow's fixed point


def test_over_the_edge_a_tile_is_white(locating_slide: Path) -> None:
    with open_slide(locating_slide) as slide:
        for mpp in (0.5, 0.8):
            spec, plan = planned(slide, size_px=100, mpp=mpp)
            half = round(plan.level0_px / 2)
            tile = read_tile(slide, spec=spec, plan=plan, x=2304 - half, y=1536 - half)
            assert (tile[55:] == 255).all()
            assert (tile[:, 55:] == 255).all()
            assert tile[:45, :45, 2].max() <= 129


def grid_over(slide: Slide, *, size_px: int, mpp: float) -> TileGrid:
    spec, plan = planned(slide, size_px=size_px, mpp=mpp)
    tissue = Tissue(mask=np.ones(slide.dimensions[::-1], np.bool_), downsample=1.0)
    return make_grid(dimensions=slide.dimensions, spec=spec, plan=plan, tissue=tissue)


@pytest.mark.parametrize("batch_size", [1, 5, 1000])
def test_batches_hold_every_tile_in_order(synthetic: Any, batch_size: int) -> None:
    with open_slide(synthetic.path) as slide:
        grid = grid_over(slide, size_px=200, mpp=0.7)
        batches = list(read_batches(slide, grid, batch_size=batch_size))
        assert [len(batch.coords) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
        coords = np.concatenate([batch.coords for batch in batches])
        pixels = np.concatenate([batch.pixels for batch in batches])
        assert all(batch.invalid.shape == (0, 2) for batch in batches)
        np.testing.assert_array_equal(coords, grid.coords)
        assert (coords.dtype, pixels.dtype) == (np.int64, np.uint8)
        for (x, y), tile in zip(coords.tolist(), pixels, strict=True):
            alone = read_tile(slide, spec=grid.spec, plan=grid.plan, x=x, y=y)
            np.testing.assert_array_equal(tile, alone)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("mpp", [0.5, 1.0, 0.7])
def test_any_number_of_threads_reads_the_same(synthetic: Any, threads: int, mpp: float) -> None:
    with open_slide(synthetic.path) as slide:
        grid = grid_over(slide, size_px=100, mpp=mpp)
        batches = list(read_batches(slide, grid, batch_size=30, threads=threads))
        pixels = np.concatenate([batch.pixels for batch in batches])
        for (x, y), tile in zip(grid.coords.tolist(), pixels, strict=True):
            alone = read_tile(slide, spec=grid.spec, plan=grid.plan, x=x, y=y)
            np.testing.assert_array_equal(tile, alone)


def test_a_batch_keeps_its_pixels_while_later_ones_are_read(synthetic: Any) -> None:
    with open_slide(synthetic.path) as slide:
        grid = grid_over(slide, size_px=64, mpp=MPP)
        reading = read_batches(slide, grid, batch_size=8)
        held = next(reading).pixels[3]
        before = held.copy()
        for _ in reading:
            pass
        np.testing.assert_array_equal(held, before)


def test_reading_stops_when_nobody_wants_more(
    array_slide: Callable[[Pixels], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    slide = array_slide(np.zeros((2000, 2000, 3), np.uint8))
    grid = grid_over(slide, size_px=20, mpp=MPP)
    reading = read_batches(slide, grid, batch_size=10, threads=2)
    next(reading)
    reading.close()
    asked = len(slide.asked)
    assert asked <= 10 * (AHEAD + 1)
    assert not [t for t in threading.enumerate() if t.name.startswith("tiles")]


def test_only_a_slide_that_allows_it_is_read_by_several_threads(
    array_slide: Callable[[Pixels], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    slide = array_slide(np.zeros((400, 400, 3), np.uint8))
    readers = set()
    read_region = slide.read_region

    def noting(*asked: Any) -> Pixels:
        readers.add(threading.get_ident())
        return np.asarray(read_region(*asked))

    monkeypatch.setattr(slide, "read_region", noting)
    grid = grid_over(slide, size_px=20, mpp=MPP)
    assert len(list(read_batches(slide, grid, batch_size=50, threads=4))) == 8
    assert len(readers) == 1


def test_an_error_that_is_not_the_slides_is_raised(
    array_slide: Callable[[Pixels], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    slide = array_slide(np.zeros((400, 400, 3), np.uint8))

    def fail(*asked: Any) -> Pixels:
        raise MemoryError("none left")

    monkeypatch.setattr(slide, "read_region", fail)
    with pytest.raises(MemoryError, match="none left"):
        list(read_batches(slide, grid_over(slide, size_px=20, mpp=MPP), batch_size=50))


@given(at=st.tuples(st.integers(0, 900), st.integers(0, 700)), mpp=st.sampled_from([1.0, 1.3]))
def test_a_tile_reduced_while_decoding_is_close_to_the_exact_one(
    synthetic: Any, at: tuple[int, int], mpp: float
) -> None:
    with open_slide(synthetic.path) as fast, OpenSlideReader(synthetic.path) as exact:
        assert fast.reader == "jpeg"
        spec, plan = planned(fast, size_px=200, mpp=mpp)
        near = read_tile(fast, spec=spec, plan=plan, x=at[0], y=at[1]).astype(float)
        true = read_tile(exact, spec=spec, plan=plan, x=at[0], y=at[1]).astype(float)
    assert np.abs(near - true).mean() < 0.6
    moved = np.abs(near[:, 1:] - true[:, :-1]).mean()
    assert moved > np.abs(near - true).mean() or true.std() < 5


def test_no_tiles_are_no_batches(locating_slide: Path) -> None:
    with open_slide(locating_slide) as slide:
        spec, plan = planned(slide, size_px=100, mpp=MPP)
        blank = Tissue(mask=np.zeros((9, 9), np.bool_), downsample=300.0)
        grid = make_grid(dimensions=slide.dimensions, spec=spec, plan=plan, tissue=blank)
        assert list(read_batches(slide, grid, batch_size=4)) == []


def test_unreadable_tiles_are_set_apart(
    synthetic: Any, damage_tile: Callable[[Path, int], Path]
) -> None:
    """The damaged bytes are those of the 256-pixel square at (512, 256)."""
    with open_slide(damage_tile(synthetic.path, 8)) as slide, open_slide(synthetic.path) as intact:
        grid = grid_over(slide, size_px=128, mpp=MPP)
        batches = list(read_batches(slide, grid, batch_size=7))
        read = np.concatenate([batch.coords for batch in batches])
        invalid = np.concatenate([batch.invalid for batch in batches])
        expected = [[512, 256], [640, 256], [512, 384], [640, 384]]
        assert invalid.tolist() == expected
        assert invalid.dtype == np.int64
        kept = [corner for corner in grid.coords.tolist() if corner not in expected]
        assert read.tolist() == kept
        for batch in batches:
            assert batch.pixels.shape == (len(batch.coords), 128, 128, 3)
            for (x, y), tile in zip(batch.coords.tolist(), batch.pixels, strict=True):
                np.testing.assert_array_equal(tile, intact.read_region((x, y), 0, (128, 128)))
        with pytest.raises(UnreadableRegionError):
            read_tile(slide, spec=grid.spec, plan=grid.plan, x=512, y=256)
