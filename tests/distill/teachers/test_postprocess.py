"""Nuclei from maps: they come apart where they touch, wherever in the picture they lie."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from distill.metrics import score
from distill.targets import nuclei_maps, number_parts
from distill.teachers.postprocess import Thresholds, border_strength, separate
from wsi.testing import nuclei_crops


def ellipses(*shapes: tuple[int, int, int, int], size: int = 96) -> NDArray[np.int32]:
    """Number ellipses (row, column, half height, half width); the last lies on top."""
    y, x = np.mgrid[:size, :size]
    instances = np.zeros((size, size), np.int32)
    for number, (row, column, high, wide) in enumerate(shapes, start=1):
        instances[((y - row) / high) ** 2 + ((x - column) / wide) ** 2 <= 1] = number
    return instances


TOUCHING = [
    ellipses((40, 30, 12, 10), (40, 50, 12, 10)),
    ellipses((30, 40, 10, 14), (50, 42, 10, 12)),
    ellipses((30, 30, 12, 12), (47, 47, 12, 12)),
    ellipses((30, 30, 10, 10), (30, 49, 10, 10), (47, 39, 10, 10)),
    ellipses((40, 40, 22, 6), (40, 52, 22, 6)),
]


@pytest.mark.parametrize("instances", TOUCHING)
def test_touching_nuclei_come_apart(instances: NDArray[np.int32]) -> None:
    scores = score(instances, separate(nuclei_maps(instances), Thresholds()))
    assert scores.dq == 1
    assert scores.aji > 0.93


def test_the_maps_of_tissue_give_its_nuclei_back() -> None:
    _, instances = nuclei_crops(count=4, size_px=256, seed=3, mpp=0.25)
    for of_crop in instances:
        whole = np.where(np.bincount(of_crop.ravel())[of_crop] >= 60, of_crop, 0)
        assert score(whole, separate(nuclei_maps(whole), Thresholds())).pq > 0.9


@pytest.mark.parametrize("damping", [0.3, 0.5])
def test_distances_predicted_with_doubt_still_tell_nuclei_apart(damping: float) -> None:
    maps = nuclei_maps(TOUCHING[0])
    maps[1:] *= damping
    assert separate(maps, Thresholds(depth=0.1)).max() == 2


def test_a_greater_depth_splits_less() -> None:
    halves = np.zeros((60, 60), np.int32)
    halves[20:40, 10:30], halves[20:40, 30:50] = 1, 2
    maps = nuclei_maps(halves)
    maps[1:] *= 0.2
    assert separate(maps, Thresholds(depth=0.1)).max() == 2
    assert separate(maps, Thresholds(depth=0.9)).max() == 1


def test_nothing_is_found_in_nothing() -> None:
    assert not separate(np.zeros((3, 40, 50), np.float32), Thresholds()).any()


def test_one_nucleus_stays_one_whatever_its_shape() -> None:
    for instances in (
        ellipses((48, 48, 30, 6)),
        ellipses((48, 48, 5, 5)),
        ellipses((48, 48, 9, 40)),
    ):
        assert separate(nuclei_maps(instances), Thresholds()).max() == 1


def test_what_is_improbable_or_small_is_no_nucleus() -> None:
    instances = ellipses((20, 20, 8, 8), (70, 70, 2, 2))
    maps = nuclei_maps(instances)
    assert separate(maps, Thresholds(least_px=30)).max() == 1
    assert separate(maps, Thresholds(least_px=5)).max() == 2
    maps[0] *= 0.4
    assert separate(maps, Thresholds(nuclei=0.5)).max() == 0
    assert separate(maps, Thresholds(nuclei=0.3)).max() == 1


def test_every_nucleus_is_connected_over_the_sides_of_its_pixels() -> None:
    rng = np.random.default_rng(1)
    for _ in range(40):
        noise = rng.normal(size=(3, 160, 160))
        smooth = [gaussian_filter(n, sigma) for n, sigma in zip(noise, (1, 2, 2), strict=True)]
        maps = np.stack(
            [1 / (1 + np.exp(-3 * smooth[0] / smooth[0].std())), *np.multiply(8, smooth[1:])]
        )
        found = separate(
            maps.astype(np.float32), Thresholds(depth=0.05, smooth_px=0.5, least_px=10)
        )
        assert number_parts(found).max() == len(np.unique(found)) - 1


@given(top=st.integers(0, 50), left=st.integers(0, 50), seed=st.integers(0, 3))
def test_a_nucleus_comes_out_the_same_whatever_else_is_in_the_picture(
    top: int, left: int, seed: int
) -> None:
    """Nothing is scaled by the picture's own least and greatest values."""
    rng = np.random.default_rng(seed)
    maps = nuclei_maps(TOUCHING[seed])
    maps[1:] = maps[1:] * 0.7 + rng.normal(0, 0.02, maps[1:].shape)
    alone = separate(maps, Thresholds())
    larger = np.zeros((3, 96 + 50, 96 + 170), np.float32)
    larger[:, top : top + 96, left : left + 96] = maps
    strong = nuclei_maps(ellipses((60, 60, 25, 25), size=120))
    larger[:, :120, 146:] = 1.3 * strong
    among = separate(larger, Thresholds())[top : top + 96, left : left + 96]
    assert alone.max() == len(np.unique(among)) - 1
    for number in np.unique(alone[alone > 0]):
        inside = alone == number
        assert len(np.unique(among[inside])) == 1
        np.testing.assert_array_equal(among == among[inside][0], inside)


def test_a_full_jump_is_a_border_of_strength_one_and_a_ramp_is_none() -> None:
    jump = np.ones((2, 40, 40), np.float32)
    jump[0, :, 20:] = -1
    jump[1] = 0
    strength = border_strength(jump)
    assert strength[20, 19:21].max() == pytest.approx(1, abs=0.1)
    assert strength[20, 10] < 1e-3
    rising = np.stack([np.tile(np.linspace(-1, 1, 40), (40, 1)), np.zeros((40, 40))])
    assert border_strength(rising.astype(np.float32))[:, 9:-9].max() == 0
