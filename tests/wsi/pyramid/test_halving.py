import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from wsi.pyramid.halving import halve, halvings


@given(height=st.integers(1, 300), width=st.integers(1, 70), seed=st.integers(0, 9))
def test_it_is_pillows_average_of_two_by_two(height: int, width: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (3, height, width), dtype=np.uint8)
    expected = [np.asarray(Image.fromarray(channel).reduce(2)) for channel in pixels]
    np.testing.assert_array_equal(halve(pixels), expected)


@pytest.mark.parametrize("value", [0, 1, 127, 128, 254, 255])
def test_even_areas_stay_as_they_are(value: int) -> None:
    pixels = np.full((3, 258, 130), value, np.uint8)
    assert (halve(pixels) == value).all()


@given(width=st.integers(1, 10**6), height=st.integers(1, 10**6), coarsest=st.integers(1, 2000))
def test_sizes_halve_until_one_fits(width: int, height: int, coarsest: int) -> None:
    sizes = halvings((width, height), coarsest_px=coarsest)
    assert sizes[0] == (width, height)
    assert max(sizes[-1]) <= coarsest
    for finer, coarser in itertools.pairwise(sizes):
        assert max(finer) > coarsest
        assert coarser == (-(-finer[0] // 2), -(-finer[1] // 2))
