"""Stains that are known are found again, and what is made of them looks as it was asked to."""

import importlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from wsi.slide import Pixels
from wsi.stain import (
    DENSITY,
    HED,
    LEAST_PIXELS,
    TARGET_COLOURS,
    TARGET_STAINS,
    NotEstimable,
    Stains,
    estimate_colours,
    estimate_stains,
    jitter_hed,
    normalise_colours,
    normalise_stains,
)

LABS = [
    [[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]],  # Ruifrok & Johnston
    [[0.52, 0.73, 0.42], [0.12, 0.88, 0.45]],
    [[0.69, 0.63, 0.35], [0.05, 0.85, 0.52]],
]


def unit(vectors: list[list[float]]) -> NDArray[np.float64]:
    rows = np.array(vectors)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def mixture(
    vectors: NDArray[np.float64], *, seed: int = 0, strength: float = 1.0, count: int = 4
) -> Pixels:
    """Tiles (count, 64, 64, 3) of random amounts of two stains; an eighth of each is glass."""
    rng = np.random.default_rng(seed)
    amounts = rng.gamma(1.0, 0.45, (count, 64, 64, 2)) * [1.2, 0.8] * strength
    amounts[:, :8] = 0
    return np.rint(256 * np.exp(-amounts @ vectors) - 1).clip(0, 255).astype(np.uint8)


def degrees(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Angles between rows."""
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return np.asarray(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


@pytest.mark.parametrize("vectors", LABS)
@pytest.mark.parametrize("seed", [0, 1])
def test_known_stains_are_found_again(vectors: list[list[float]], seed: int) -> None:
    known = unit(vectors)
    found = estimate_stains(mixture(known, seed=seed))
    assert isinstance(found, Stains)
    assert degrees(found.vectors, known).max() < 1.5
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1)


def test_strength_is_the_amount_of_stain() -> None:
    weak, strong = (mixture(unit(LABS[1]), strength=s) for s in (0.6, 1.2))
    one, other = estimate_stains(weak), estimate_stains(strong)
    assert isinstance(one, Stains)
    assert isinstance(other, Stains)
    np.testing.assert_allclose(other.strengths / one.strengths, 2, rtol=0.12)


@pytest.mark.parametrize("vectors", LABS)
def test_normalised_tiles_have_the_targets_stains(vectors: list[list[float]]) -> None:
    tiles = mixture(unit(vectors), strength=0.7)
    found = estimate_stains(tiles)
    assert isinstance(found, Stains)
    changed = normalise_stains(tiles, found)
    after = estimate_stains(changed)
    assert isinstance(after, Stains)
    assert degrees(after.vectors, TARGET_STAINS.vectors).max() < 3.0
    np.testing.assert_allclose(after.strengths, TARGET_STAINS.strengths, rtol=0.1)
    assert (changed[:, :8] >= 254).all()  # glass


def test_two_labs_look_alike_afterwards() -> None:
    """The same tissue, stained in two ways, is the same picture within a few grey levels."""
    pictures = []
    for vectors, strength in ((LABS[1], 0.6), (LABS[2], 0.9)):
        tiles = mixture(unit(vectors), strength=strength)
        found = estimate_stains(tiles)
        assert isinstance(found, Stains)
        pictures.append(normalise_stains(tiles, found).astype(float))
    before = [
        mixture(unit(v), strength=s).astype(float) for v, s in ((LABS[1], 0.6), (LABS[2], 0.9))
    ]
    apart = np.abs(before[0] - before[1]).mean()
    assert np.abs(pictures[0] - pictures[1]).mean() < apart / 4


def test_to_its_own_stains_a_mixture_does_not_change() -> None:
    known = Stains(vectors=unit(LABS[0]), strengths=np.array([2.0, 1.0]))
    tiles = mixture(known.vectors)
    changed = normalise_stains(tiles, known, target=known).astype(int)
    assert np.abs(changed - tiles).max() <= 2


def test_colours_become_the_targets() -> None:
    tiles = mixture(unit(LABS[0]), strength=0.7)
    found = estimate_colours(tiles)
    assert not isinstance(found, NotEstimable)
    after = estimate_colours(normalise_colours(tiles, found))
    assert not isinstance(after, NotEstimable)
    apart = np.abs(found.mean - TARGET_COLOURS.mean)
    assert (np.abs(after.mean - TARGET_COLOURS.mean) < np.maximum(apart / 3, 0.01)).all()


def test_to_their_own_colours_tiles_do_not_change_and_glass_never_does() -> None:
    tiles = mixture(unit(LABS[1]))
    found = estimate_colours(tiles)
    assert not isinstance(found, NotEstimable)
    same = normalise_colours(tiles, found, target=found).astype(int)
    assert np.abs(same - tiles).max() <= 2
    np.testing.assert_array_equal(normalise_colours(tiles, found)[:, :8], tiles[:, :8])


@pytest.mark.parametrize(
    "pixels",
    [
        np.full((2, 64, 64, 3), 255, np.uint8),
        np.full((2, 64, 64, 3), 243, np.uint8),
        np.full((2, 64, 64, 3), (200, 90, 160), np.uint8),
        np.zeros((2, 64, 64, 3), np.uint8),
        np.full((2, 64, 64, 3), 120, np.uint8),
        np.zeros((0, 64, 64, 3), np.uint8),
        np.full((1, 20, 20, 3), (200, 90, 160), np.uint8),
    ],
)
def test_nothing_is_estimated_from_glass_or_one_colour(pixels: Pixels) -> None:
    for estimate in (estimate_stains, estimate_colours):
        found = estimate(pixels)
        assert isinstance(found, NotEstimable)
        assert found.reason


def test_a_few_specks_are_not_a_slides_stain() -> None:
    tile = np.full((1, 64, 64, 3), 255, np.uint8)
    tissue = mixture(unit(LABS[0]))[0, 8:].reshape(-1, 3)
    tile.reshape(-1, 3)[: LEAST_PIXELS // 2] = tissue[: LEAST_PIXELS // 2]
    assert isinstance(estimate_stains(tile), NotEstimable)


@given(
    pixels=arrays(
        np.uint8,
        (1, 48, 48, 3),
        elements=st.integers(0, 255),
        fill=st.sampled_from([0, 3, 128, 240, 255]),
    )
)
def test_whatever_the_pixels_nothing_breaks(pixels: Pixels) -> None:
    stains, colours = estimate_stains(pixels), estimate_colours(pixels)
    if isinstance(stains, Stains):
        assert np.isfinite(stains.vectors).all()
        assert normalise_stains(pixels, stains).shape == pixels.shape
    if not isinstance(colours, NotEstimable):
        assert normalise_colours(pixels, colours).shape == pixels.shape


def test_the_same_pixels_give_the_same_stains() -> None:
    tiles = mixture(unit(LABS[2]))
    one, other = estimate_stains(tiles), estimate_stains(tiles.copy())
    assert isinstance(one, Stains)
    assert isinstance(other, Stains)
    assert one.vectors.tobytes() == other.vectors.tobytes()
    assert one.strengths.tobytes() == other.strengths.tobytes()


def test_against_an_independent_implementation() -> None:
    """torchstain's numpy Macenko, on tissue whose pixels all pass its test by channel."""
    pytest.importorskip("torchstain")
    macenko = importlib.import_module("torchstain.numpy.normalizers.macenko")
    tiles = mixture(unit(LABS[1]), strength=1.5)[:, 8:]
    theirs, _, _ = macenko.NumpyMacenkoNormalizer()._NumpyMacenkoNormalizer__compute_matrices(
        tiles.reshape(-1, 64, 3), 255, 1, 0.15
    )
    found = estimate_stains(tiles)
    assert isinstance(found, Stains)
    assert degrees(found.vectors, theirs.T).max() < 2.0


def test_real_slides_become_more_alike(shared_data: Path) -> None:
    """Mean colour of stained pixels; of different organs, so some difference has to stay."""
    before, after = [], []
    for path in sorted((shared_data / "monuseg" / "images").iterdir())[::3]:
        image = np.asarray(Image.open(path).convert("RGB"))[None, ::3, ::3]
        found = estimate_stains(image)
        assert isinstance(found, Stains), path.name
        is_stained = DENSITY[image].mean(axis=-1) > 0.15
        before.append(image[is_stained].mean(axis=0))
        after.append(normalise_stains(image, found)[is_stained].mean(axis=0))
    assert np.std(after, axis=0).mean() < 0.75 * np.std(before, axis=0).mean()


def test_hed_without_change_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    tiles = rng.integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    same = jitter_hed(tiles, scale=np.ones((3, 3)), shift=np.zeros((3, 3)))
    np.testing.assert_array_equal(same, tiles)


def test_hed_scales_one_stain_and_leaves_the_others() -> None:
    amounts = np.random.default_rng(0).uniform(0.1, 0.5, (2, 16, 16, 3))
    tiles = np.rint(256 * np.exp(-amounts @ HED) - 1).clip(0, 255).astype(np.uint8)
    scale = np.array([[1.5, 1.0, 1.0], [1.0, 0.5, 1.0]])
    changed = jitter_hed(tiles, scale=scale, shift=np.zeros((2, 3)))
    found = DENSITY[changed] @ np.linalg.inv(HED)
    np.testing.assert_allclose(found, amounts * scale[:, None, None], atol=0.05)
