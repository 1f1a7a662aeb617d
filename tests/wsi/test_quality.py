"""Blurred, inked, dark and empty tiles are told from good ones, whatever their contrast."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from wsi.quality import (
    KEPT,
    MEASURES,
    QualityLimits,
    count_poor,
    find_poor,
    measure_quality,
)
from wsi.slide import Pixels
from wsi.testing import Specimen, render, tissue_mask

PEN, DARK, BLANK, FOCUS = range(4)
OFF = QualityLimits(max_pen=None, max_dark=None, max_blank=None, min_focus=None)


def blurred(tiles: Pixels, sigma_px: float) -> Pixels:
    """Tiles out of focus, with the noise that JPEG puts back."""
    soft = ndimage.gaussian_filter(tiles.astype(np.float32), (0, sigma_px, sigma_px, 0))
    copies = []
    for tile in soft.round().astype(np.uint8):
        buffer = io.BytesIO()
        Image.fromarray(tile).save(buffer, "JPEG", quality=80)
        copies.append(np.asarray(Image.open(buffer)))
    return np.stack(copies)


def cut(image: Pixels, edge: int = 224) -> Iterator[Pixels]:
    """All whole tiles of an (H, W, 3) image."""
    height, width = image.shape[:2]
    for y in range(0, height - edge + 1, edge):
        for x in range(0, width - edge + 1, edge):
            yield image[y : y + edge, x : x + edge]


@pytest.fixture(scope="module")
def tissue() -> Pixels:
    """Made-up tiles full of tissue, in focus: (B, 224, 224, 3) at 0.5 µm."""
    specimen = Specimen(seed=11, width=1400, height=1400)
    mask = tissue_mask(specimen, downsample=8)
    image = render(specimen, x=0, y=0, width=1400, height=1400).rgb
    shares = cut(np.repeat(mask[..., None], 3, axis=2), 28)
    tiles = [t for t, m in zip(cut(image[:1400, :1400]), shares, strict=False) if m.mean() > 0.9]
    assert len(tiles) >= 4
    return np.stack(tiles)


def squares(edge_px: int, *, low: int, high: int, size_px: int = 224) -> Pixels:
    """One tile of sharp checks in two greys."""
    y, x = np.mgrid[:size_px, :size_px] // edge_px
    grey = np.where((x + y) % 2, high, low).astype(np.uint8)
    return np.repeat(grey[None, ..., None], 3, axis=3)


def test_focus_of_a_known_picture() -> None:
    """In checks of edge e a step of h pixels changes a share of h / e of them: the ratio is 1/4."""
    focus = measure_quality(squares(16, low=100, high=150), mpp=0.5)[0, FOCUS]
    assert focus == pytest.approx((1 / 4 - 1 / 16) / (1 - 1 / 16), abs=0.02)


def test_a_gradient_is_as_smooth_as_can_be_and_noise_is_not_smooth() -> None:
    ramp = np.broadcast_to(np.arange(0, 240, 2, np.uint8)[None, :, None], (120, 120, 3))
    noise = np.random.default_rng(0).integers(0, 256, (120, 120, 3), dtype=np.uint8)
    flat = np.full((120, 120, 3), 180, np.uint8)
    focus = measure_quality(np.stack([ramp, noise, flat]), mpp=0.5)[:, FOCUS]
    assert focus[0] < 0.01
    assert focus[1] > 0.97
    assert np.isnan(focus[2])  # nothing there to be in focus


@given(contrast=st.integers(12, 100), light=st.integers(0, 150))
def test_pale_is_not_blurred(contrast: int, light: int) -> None:
    pale = measure_quality(squares(16, low=light, high=light + contrast), mpp=0.5)[0, FOCUS]
    strong = measure_quality(squares(16, low=0, high=250), mpp=0.5)[0, FOCUS]
    assert pale == pytest.approx(strong, abs=0.01)


def test_focus_is_of_micrometres_where_the_pixels_are_fine_enough() -> None:
    coarse, fine = squares(16, low=90, high=200), squares(32, low=90, high=200, size_px=448)
    at_half = measure_quality(coarse, mpp=0.5)[0, FOCUS]
    assert measure_quality(fine, mpp=0.25)[0, FOCUS] == pytest.approx(at_half, abs=0.005)
    assert measure_quality(coarse, mpp=1.0)[0, FOCUS] == at_half


@pytest.mark.parametrize("sigma_px", [2.0, 3.0])
def test_made_up_tissue_is_kept_and_its_blurred_copy_is_not(
    tissue: Pixels, sigma_px: float
) -> None:
    limits = QualityLimits()
    assert (find_poor(measure_quality(tissue, mpp=0.5), limits) == KEPT).all()
    poor = find_poor(measure_quality(blurred(tissue, sigma_px), mpp=0.5), limits)
    assert (poor == FOCUS).all()


@pytest.mark.parametrize(
    ("pattern", "mpp"),
    [("glas/images/*.jpg", 0.62), ("monuseg/images/*.webp", 0.25), ("crc_val_sample/*.jpg", 0.5)],
)
def test_real_tissue_in_focus_is_kept_and_blurred_copies_are_not(
    shared_data: Path, pattern: str, mpp: float
) -> None:
    paths = sorted(shared_data.glob(pattern))[::2]
    images = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    tiles = np.stack([tile for image in images for tile in cut(image)])
    quality = measure_quality(tiles, mpp=mpp)
    filled = quality[:, BLANK] < 0.5
    assert (find_poor(quality[filled], QualityLimits()) == KEPT).all()
    some = tiles[filled][:60]
    for sigma_um, least in ((1.0, 0.85), (1.5, 0.95)):
        measured = measure_quality(blurred(some, sigma_um / min(mpp, 0.5)), mpp=mpp)
        assert (find_poor(measured, QualityLimits()) == FOCUS).mean() > least


@pytest.mark.parametrize("edge", range(40, 48))
def test_focus_of_a_tile_does_not_hang_on_the_row_of_an_edge(tissue: Pixels, edge: int) -> None:
    """Glass ends at a straight edge: the tile and its mirror image across a diagonal are alike."""
    tile = tissue[:1, :128, :128].copy()
    tile[:, :edge] = 243
    focus = measure_quality(np.concatenate([tile, tile.swapaxes(1, 2)]), mpp=0.5)[:, FOCUS]
    assert focus[0] == pytest.approx(focus[1], rel=0.5)


def test_ink_darkness_and_glass_are_shares_of_the_tile() -> None:
    tile = np.full((4, 224, 224, 3), (200, 120, 170), np.uint8)
    tile[0, :, :56] = (30, 140, 70)  # a green felt-tip
    tile[1, :, :112] = (50, 15, 45)  # a fold
    tile[2, :, :168] = (244, 243, 244)
    quality = measure_quality(tile, mpp=0.5)
    np.testing.assert_allclose(
        quality[:, :3], [[0.25, 0, 0], [0, 0.5, 0], [0, 0, 0.75], [0, 0, 0]], atol=1e-6
    )


@given(
    size_px=st.integers(1, 70),
    mpp=st.sampled_from([0.1, 0.25, 0.5, 1.0, 4.0]),
    seed=st.integers(0, 99),
)
def test_a_tile_is_judged_alone(size_px: int, mpp: float, seed: int) -> None:
    """Its batch does not matter, and no size and resolution fails."""
    rng = np.random.default_rng(seed)
    tiles = rng.integers(0, 256, (5, size_px, size_px, 3), dtype=np.uint8)
    together = measure_quality(tiles, mpp=mpp)
    assert (together.shape, together.dtype) == ((5, 4), np.float32)
    alone = np.concatenate([measure_quality(tile[None], mpp=mpp) for tile in tiles])
    np.testing.assert_array_equal(together, alone)
    assert ((together[:, :3] >= 0) & (together[:, :3] <= 1)).all()


def test_no_tiles_have_no_measures() -> None:
    assert measure_quality(np.zeros((0, 8, 8, 3), np.uint8), mpp=0.5).shape == (0, 4)


def test_the_first_broken_limit_is_the_reason() -> None:
    quality = np.array(
        [
            [0.9, 0.9, 0.0, 0.0],
            [0.0, 0.9, 0.0, 0.0],
            [0.0, 0.0, 1.0, np.nan],
            [0.0, 0.0, 0.0, 0.0],
            [0.0, 0.0, 0.0, np.nan],  # not judged is not poor
        ],
        np.float32,
    )
    assert find_poor(quality, QualityLimits()).tolist() == [PEN, DARK, BLANK, FOCUS, KEPT]
    assert find_poor(quality, OFF).tolist() == [KEPT] * 5
    only = QualityLimits(max_pen=None, max_dark=None, max_blank=None, min_focus=0.5)
    assert find_poor(quality, only).tolist() == [FOCUS, FOCUS, KEPT, FOCUS, KEPT]


def test_counts_are_by_measure() -> None:
    counts = count_poor(np.array([KEPT, FOCUS, PEN, FOCUS, KEPT]))
    assert counts == {"pen": 1, "focus": 2}
    assert list(MEASURES) == ["pen", "dark", "blank", "focus"]
