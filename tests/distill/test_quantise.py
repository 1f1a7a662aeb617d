"""A byte a value: how much is lost, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from distill.quantise import DISTANCE_ERROR, PROBABILITY_ERROR, dequantise, quantise

unit = arrays(np.float32, (2, 3, 4, 5), elements=st.floats(0, 1, width=32))
signs = arrays(np.int8, (2, 2, 4, 5), elements=st.sampled_from([-1, 1]))


@given(unit, signs)
def test_a_value_is_off_by_half_a_step_at_most(maps: np.ndarray, sign: np.ndarray) -> None:
    maps[:, 1:] *= sign
    back = dequantise(*quantise(maps))
    assert back.dtype == np.float32
    assert np.abs(back[:, 0] - maps[:, 0]).max() <= PROBABILITY_ERROR + 1e-6
    assert np.abs(back[:, 1:] - maps[:, 1:]).max() <= DISTANCE_ERROR + 1e-6


def test_ends_and_middle_are_exact() -> None:
    maps = np.zeros((1, 3, 1, 3), np.float32)
    maps[0, 0, 0], maps[0, 1, 0], maps[0, 2, 0] = (0, 1, 0.2), (-1, 0, 1), (1, -1, 0)
    np.testing.assert_allclose(dequantise(*quantise(maps)), maps, atol=1e-7)
    assert PROBABILITY_ERROR < 0.002
    assert DISTANCE_ERROR < 0.004


@pytest.mark.parametrize(("plane", "value"), [(0, 1.1), (0, -0.1), (1, -1.5), (2, np.nan)])
def test_maps_out_of_range_are_refused(plane: int, value: float) -> None:
    maps = np.zeros((1, 3, 2, 2), np.float32)
    maps[0, plane, 1, 1] = value
    wanted = "probability in 0-1" if plane == 0 else "distances in −1 to 1"
    with pytest.raises(ValueError, match=wanted):
        quantise(maps)
