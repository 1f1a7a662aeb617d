"""Steps keep the shape, do what they say, in the order they are given, fitted once."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from skimage.color import rgb2lab

from wsi.preprocess import (
    FITTED,
    NOT_ESTIMATED,
    STEPS,
    apply_steps,
    check_names,
    equalise,
    fit_steps,
    median_of_nine,
    needs_sample,
    sharpen,
)
from wsi.slide import Pixels
from wsi.stain import Stains, estimate_stains, normalise_stains
from wsi.testing import Specimen, render, tissue_mask


@pytest.fixture(scope="module")
def tissue() -> Pixels:
    """(4, 64, 64, 3) tiles from the middle of a made-up specimen's tissue."""
    specimen = Specimen(seed=11, width=1200, height=1200)
    y, x = np.argwhere(ndimage.binary_erosion(tissue_mask(specimen, downsample=16), iterations=5))[
        0
    ]
    image = render(specimen, x=16 * int(x), y=16 * int(y), width=128, height=128).rgb
    return np.stack([image[a : a + 64, b : b + 64] for a in (0, 64) for b in (0, 64)])


@pytest.mark.parametrize("name", STEPS)
def test_a_step_gives_tiles_of_the_same_kind_and_keeps_what_it_was_given(
    tissue: Pixels, name: str
) -> None:
    given_tiles = tissue.copy()
    (step,) = fit_steps([name], tissue)
    changed = step.apply(tissue)
    assert (changed.shape, changed.dtype) == (tissue.shape, np.uint8)
    assert (changed != tissue).any()
    np.testing.assert_array_equal(tissue, given_tiles)
    assert (step.name, step.flags) == (name, ())
    json.dumps(step.parameters)
    assert step.apply(tissue[:0]).shape == (0, 64, 64, 3)
    np.testing.assert_array_equal(changed[2:3], step.apply(tissue[2:3]))  # each tile alone


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("colour", [0, 128, 255, (200, 100, 150)])
def test_a_tile_of_one_colour_stays(tissue: Pixels, name: str, colour: int) -> None:
    flat = np.full((1, 64, 64, 3), colour, np.uint8)
    (step,) = fit_steps([name], flat)
    np.testing.assert_array_equal(step.apply(flat), flat)
    assert step.flags == ((NOT_ESTIMATED,) if name in FITTED else ())
    assert ("not_estimated" in step.parameters) == (name in FITTED)


def test_order_is_kept_and_a_later_step_is_fitted_to_what_it_gets(tissue: Pixels) -> None:
    steps = fit_steps(["denoise", "macenko"], tissue)
    smooth = median_of_nine(tissue)
    stains = estimate_stains(smooth[:, ::2, ::2])
    assert isinstance(stains, Stains)
    np.testing.assert_array_equal(apply_steps(steps, tissue), normalise_stains(smooth, stains))
    other = apply_steps(fit_steps(["macenko", "denoise"], tissue), tissue)
    assert (other != apply_steps(steps, tissue)).any()


def test_no_steps_change_nothing(tissue: Pixels) -> None:
    assert apply_steps(fit_steps([], tissue), tissue) is tissue


def test_only_stain_steps_need_to_see_the_slide() -> None:
    assert needs_sample(["clahe", "reinhard"])
    assert needs_sample(["macenko"])
    assert not needs_sample(["clahe", "sharpen", "denoise"])


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'vahadane'.*macenko, reinhard, clahe, sharpen, denoise"):
        check_names(["macenko", "vahadane"])


@given(size_px=st.integers(1, 24), seed=st.integers(0, 99))
def test_the_median_is_scipys(size_px: int, seed: int) -> None:
    tiles = np.random.default_rng(seed).integers(0, 256, (2, size_px, size_px, 3), dtype=np.uint8)
    expected = ndimage.median_filter(tiles, (1, 3, 3, 1), mode="nearest")
    np.testing.assert_array_equal(median_of_nine(tiles), expected)


def test_equalising_widens_lightness_and_keeps_the_hue(tissue: Pixels) -> None:
    pale = (200 + tissue * (40 / 255)).astype(np.uint8)
    before, after = rgb2lab(pale / 255), rgb2lab(equalise(pale) / 255)
    assert after[..., 0].std() > 1.5 * before[..., 0].std()
    assert np.abs(np.median(after[..., 1:] - before[..., 1:], axis=(0, 1, 2))).max() < 2


def test_sharpening_steepens_edges_and_keeps_the_mean(tissue: Pixels) -> None:
    def steepness(pixels: Pixels) -> float:
        return float(np.abs(np.diff(pixels.astype(float), axis=2)).mean())

    sharper = sharpen(tissue)
    assert steepness(sharper) > 1.3 * steepness(tissue)
    assert sharper.mean() == pytest.approx(tissue.mean(), abs=2)
