"""The maps a teacher is trained on, from instance maps drawn by hand and at random."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from distill.targets import nuclei_maps, reduce_maps

instance_maps = arrays(
    np.int32,
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    elements=st.sampled_from([0, 0, 0, 1, 5, 99]),
)


def disc(radius: int, *, number: int = 7) -> NDArray[np.int32]:
    y, x = np.mgrid[-radius - 2 : radius + 3, -radius - 2 : radius + 3]
    return np.where(np.hypot(x, y) <= radius, number, 0).astype(np.int32)


def test_a_disc_is_antisymmetric_about_its_centre() -> None:
    nuclei, horizontal, vertical = nuclei_maps(disc(6))
    np.testing.assert_array_equal(nuclei, disc(6) > 0)
    np.testing.assert_array_equal(horizontal, -horizontal[:, ::-1])
    np.testing.assert_array_equal(horizontal, horizontal[::-1])
    np.testing.assert_array_equal(vertical, horizontal.T)
    np.testing.assert_allclose(horizontal[8, 2:15], np.linspace(-1, 1, 13), atol=1e-6)


def test_distances_grow_to_the_right_and_downwards() -> None:
    instances = np.zeros((6, 8), np.int32)
    instances[1:5, 2:7] = 3
    _, horizontal, vertical = nuclei_maps(instances)
    np.testing.assert_allclose(horizontal[1, 2:7], [-1, -0.5, 0, 0.5, 1])
    np.testing.assert_allclose(vertical[1:5, 2], [-1, -1 / 3, 1 / 3, 1], atol=1e-6)


def test_each_side_is_scaled_by_itself() -> None:
    instances = np.zeros((5, 4), np.int32)
    instances[0, :], instances[1:, 0] = 1, 1  # an L, with its centre of mass near the corner
    _, horizontal, vertical = nuclei_maps(instances)
    assert horizontal.min() == vertical.min() == -1
    assert horizontal.max() == vertical.max() == 1
    assert horizontal[0, 0] == -1
    assert 0 < horizontal[0, 1] < horizontal[0, 2] < horizontal[0, 3] == 1


@pytest.mark.parametrize("at", [(0, 0), (2, 1), (4, 4)])
def test_a_nucleus_of_one_pixel_is_its_own_centre(at: tuple[int, int]) -> None:
    instances = np.zeros((5, 5), np.int32)
    instances[at] = 12
    expected = np.zeros((3, 5, 5))
    expected[(0, *at)] = 1
    np.testing.assert_array_equal(nuclei_maps(instances), expected)


def test_touching_nuclei_have_a_centre_each() -> None:
    instances = np.zeros((7, 12), np.int32)
    instances[1:6, 1:6], instances[1:6, 6:11] = 40, 2
    _, horizontal, _ = nuclei_maps(instances)
    np.testing.assert_allclose(horizontal[3, 1:11], [-1, -0.5, 0, 0.5, 1] * 2)


def test_a_tile_of_nothing_but_nuclei() -> None:
    instances = np.repeat([[3, 9]], 2, axis=0).repeat(3, axis=1).astype(np.int32)
    nuclei, horizontal, vertical = nuclei_maps(instances)
    assert (nuclei == 1).all()
    np.testing.assert_allclose(horizontal[0], [-1, 0, 1, -1, 0, 1])
    np.testing.assert_allclose(vertical[:, 0], [-1, 1])


def test_a_tile_without_nuclei() -> None:
    assert not nuclei_maps(np.zeros((4, 6), np.int32)).any()


@given(instances=instance_maps)
def test_every_map_is_in_range_and_zero_outside(instances: NDArray[np.int32]) -> None:
    maps = nuclei_maps(instances)
    assert maps.dtype == np.float32
    assert maps.shape == (3, *instances.shape)
    np.testing.assert_array_equal(maps[0], instances > 0)
    assert not maps[:, instances == 0].any()
    assert np.abs(maps).max() <= 1
    for number in np.unique(instances[instances > 0]):
        rows, columns = np.nonzero(instances == number)
        for of_axis, positions in ((maps[1], columns), (maps[2], rows)):
            values = of_axis[instances == number]
            np.testing.assert_allclose(values[positions == positions.min()].min(), values.min())
            if positions.min() < positions.max():
                assert (values.min(), values.max()) == (-1, 1)
            else:
                assert not values.any()


@given(instances=instance_maps, seed=st.integers(0, 1000))
def test_the_numbers_of_nuclei_do_not_matter(instances: NDArray[np.int32], seed: int) -> None:
    renamed = np.array([0, *np.random.default_rng(seed).permutation(10**6)[:99] + 1])
    np.testing.assert_array_equal(
        nuclei_maps(renamed[instances].astype(np.int64)), nuclei_maps(instances)
    )


def test_reducing_softens_the_nuclei_and_averages_the_distances_inside() -> None:
    maps = np.zeros((3, 4, 6), np.float32)
    maps[0, 0, 0] = maps[0, :2, 2:4] = 1
    maps[1] = np.arange(24).reshape(4, 6)
    reduced = reduce_maps(maps, 2)
    assert reduced.shape == (3, 2, 3)
    np.testing.assert_array_equal(reduced[0], [[0.25, 1, 0], [0, 0, 0]])
    np.testing.assert_array_equal(reduced[1], [[0, (2 + 3 + 8 + 9) / 4, 0], [0, 0, 0]])


def test_distances_of_a_doubtful_nucleus_are_averaged_and_not_damped() -> None:
    maps = np.zeros((3, 2, 2), np.float32)
    maps[0], maps[1], maps[2] = [[0.2, 0.1], [0, 0]], 0.9, -0.9
    np.testing.assert_allclose(reduce_maps(maps, 2).ravel(), [0.075, 0.9, -0.9], rtol=1e-6)


@given(instances=instance_maps)
def test_reducing_and_mirroring_commute(instances: NDArray[np.int32]) -> None:
    even = np.pad(instances, [(0, n % 2) for n in instances.shape])
    mirrored = reduce_maps(nuclei_maps(even)[:, :, ::-1], 2)
    np.testing.assert_allclose(mirrored, reduce_maps(nuclei_maps(even), 2)[:, :, ::-1], atol=1e-6)


@given(instances=instance_maps, stride=st.sampled_from([1, 2, 3]))
def test_reducing_leaves_no_range_and_keeps_the_area(
    instances: NDArray[np.int32], stride: int
) -> None:
    maps = nuclei_maps(instances)
    before = maps.copy()
    reduced = reduce_maps(maps, stride)
    assert reduced.shape == (3, instances.shape[0] // stride, instances.shape[1] // stride)
    assert np.abs(reduced[1:]).max(initial=0) <= 1 + 1e-6
    assert not reduced[1:, reduced[0] == 0].any()
    whole = maps[0, : reduced.shape[1] * stride, : reduced.shape[2] * stride]
    np.testing.assert_allclose(reduced[0].sum() * stride**2, whole.sum(), rtol=1e-5)
    reduced[:] = 9
    np.testing.assert_array_equal(maps, before)
