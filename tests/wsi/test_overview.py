"""The small picture is the mean of the large one, whatever the strips it is read in."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi import overview
from wsi.errors import ImplausibleSizeError
from wsi.open import open_slide
from wsi.overview import overview_grid, read_overview
from wsi.slide import Pixels
from wsi.synthetic.aperio import write_svs


def block_means(pixels: np.ndarray[Any, Any], factor: int) -> np.ndarray[Any, Any]:
    """Means of blocks of (H, W, 3); the last ones hold what is left."""
    starts = [np.arange(0, n, factor) for n in pixels.shape[:2]]
    sums = np.add.reduceat(pixels.astype(float), starts[0], axis=0)
    sums = np.add.reduceat(sums, starts[1], axis=1)
    rows, columns = (
        np.diff(np.append(s, n)) for s, n in zip(starts, pixels.shape[:2], strict=True)
    )
    return sums / (rows[:, None] * columns)[..., None]


@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    downsample=st.floats(0.2, 12),
    strip_pixels=st.integers(1, 3000),
)
def test_it_is_the_area_mean_read_in_bounded_strips(
    array_slide: Callable[..., Any], width: int, height: int, downsample: float, strip_pixels: int
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    slide = array_slide(pixels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overview, "STRIP_PIXELS", strip_pixels)
        seen = read_overview(slide, downsample=downsample)
    assert seen.downsample == max(1, int(downsample * 1.02))
    means = block_means(pixels, int(seen.downsample))
    assert seen.pixels.shape == means.shape
    assert np.abs(seen.pixels - means).max() < 0.67  # Pillow rounds thirds down
    assert seen.unreadable is None
    assert overview_grid(slide, downsample=downsample) == (seen.pixels.shape[:2], seen.downsample)
    least = width * int(seen.downsample)  # a strip holds one row of the result at least
    assert max(w * h for w, h in slide.asked) <= max(strip_pixels, least)


def test_strips_change_nothing_on_a_pyramid(
    synthetic: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_slide(synthetic.path) as slide:
        whole = {d: read_overview(slide, downsample=d) for d in (1.0, 3.3, 4.1, 9.0)}
        monkeypatch.setattr(overview, "STRIP_PIXELS", 20_000)
        for downsample, once in whole.items():
            again = read_overview(slide, downsample=downsample)
            assert again.downsample == once.downsample <= 1.02 * downsample
            assert again.pixels.shape == once.pixels.shape
            # OpenSlide interpolates where a strip starts between two pixels of a level.
            assert np.abs(again.pixels.astype(int) - once.pixels).mean() < 1


def test_it_starts_from_the_coarsest_level_that_serves(locating_slide: Path) -> None:
    with open_slide(locating_slide) as slide:
        coarse = slide.read_region((0, 0), 1, (576, 384))
        seen = read_overview(slide, downsample=4)
        half = read_overview(slide, downsample=9.5)
    assert seen.downsample == 4.0
    np.testing.assert_array_equal(seen.pixels, coarse)
    assert half.downsample == 8.0
    assert np.abs(half.pixels - block_means(coarse, 2)).max() <= 0.5


def test_a_level_that_is_not_quite_four_times_smaller_serves_as_one(tmp_path: Path) -> None:
    """Sizes are rounded, so scanners' levels are 4.002 or 16.004 times smaller."""
    path = write_svs(
        tmp_path / "slide.svs",
        width=4098,
        height=1026,
        mpp=0.25,
        magnification=40,
        read_block=lambda x, y, w, h: np.full((h, w, 3), 200, np.uint8),
    )
    with open_slide(path) as slide:
        downsample = slide.level_downsamples[1]
        assert downsample > 4
        seen = read_overview(slide, downsample=8)
    assert seen.downsample == 2 * downsample
    assert seen.pixels.shape[:2] == (128, 512)


def test_what_does_not_decode_is_marked_and_the_rest_is_there(
    synthetic: Any, damage_tile: Callable[[Path, int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The damaged tile has its corner at (512, 256)."""
    monkeypatch.setattr(overview, "STRIP_PIXELS", 1500 * 256)
    damaged = damage_tile(synthetic.path, 8)
    with open_slide(damaged) as slide, open_slide(synthetic.path) as intact:
        seen, whole = read_overview(slide, downsample=2), read_overview(intact, downsample=2)
    expected = np.zeros(whole.pixels.shape[:2], np.bool_)
    expected[128:256, 256:384] = True
    assert seen.unreadable is not None
    np.testing.assert_array_equal(seen.unreadable, expected)
    np.testing.assert_array_equal(seen.pixels[~expected], whole.pixels[~expected])


def test_a_size_that_no_glass_has_is_refused(array_slide: Callable[[Pixels], Any]) -> None:
    slide = array_slide(np.zeros((4, 4, 3), np.uint8))
    slide.level_dimensions = ((4_294_967_295, 3000),)
    with pytest.raises(ImplausibleSizeError, match="4,294,967,295 x 3,000 pixels"):
        read_overview(slide, downsample=16.0)
