"""Object measures of GlaS by hand, and the distance against scikit-image and scipy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import directed_hausdorff
from skimage.metrics import hausdorff_distance

from distill.segmentation.objects import hausdorff, objects_of, score_objects


def boxes(*corners: tuple[int, int, int, int], size: int = 40) -> np.ndarray:
    """Objects numbered from 1: rows and columns from … to."""
    objects = np.zeros((size, size), np.int32)
    for number, (top, bottom, left, right) in enumerate(corners, start=1):
        objects[top:bottom, left:right] = number
    return objects


def distance(a: np.ndarray, b: np.ndarray) -> float:
    places = np.argwhere(a), np.argwhere(b)
    return max(directed_hausdorff(*places)[0], directed_hausdorff(*places[::-1])[0])


def test_the_same_objects_under_other_numbers_are_perfect() -> None:
    truth = boxes((2, 12, 2, 12), (20, 30, 20, 35))
    scores = score_objects(truth, np.where(truth == 1, 9, truth * 2))
    assert (scores.found, scores.invented, scores.missed) == (2, 0, 0)
    assert (scores.dice, scores.hausdorff_px) == (1.0, 0.0)


def test_two_objects_by_hand() -> None:
    """One shifted by 4 of 10 columns, one missed, one invented far away."""
    truth = boxes((0, 10, 0, 10), (30, 35, 0, 10))
    predicted = boxes((0, 10, 4, 14), (30, 35, 30, 34))
    scores = score_objects(truth, predicted)
    # 60 of 100 pixels of the first are covered: found. The other prediction covers none.
    assert (scores.found, scores.invented, scores.missed) == (1, 1, 1)
    by_truth = (100 * (2 * 60 / 200) + 50 * 0) / 150
    by_predicted = (100 * (2 * 60 / 200) + 20 * 0) / 120
    assert scores.dice == pytest.approx((by_truth + by_predicted) / 2)
    # What meets nothing is compared with the nearest of the other side, by the distance itself:
    # here each with the other, whose columns are 30 apart; the rest is further away.
    apart = distance(truth == 2, predicted == 2)
    assert apart == 30
    assert distance(truth == 2, predicted == 1) > 30 < distance(truth == 1, predicted == 2)
    expected = ((100 * 4 + 50 * apart) / 150 + (100 * 4 + 20 * apart) / 120) / 2
    assert scores.hausdorff_px == pytest.approx(expected)


def test_half_covered_is_not_found_and_a_split_object_is_found_once() -> None:
    truth = boxes((0, 10, 0, 10))
    half = score_objects(truth, boxes((0, 10, 0, 5)))
    assert (half.found, half.invented, half.missed) == (0, 1, 1)
    split = score_objects(truth, boxes((0, 10, 0, 6), (0, 10, 7, 10)))
    assert (split.found, split.invented, split.missed) == (1, 1, 0)
    joined = score_objects(boxes((0, 10, 0, 10), (0, 10, 12, 22)), boxes((0, 10, 0, 22)))
    assert (joined.found, joined.invented, joined.missed) == (1, 0, 1)
    assert joined.dice == pytest.approx(2 * 100 / 320)


def test_where_one_side_is_empty_there_is_no_distance() -> None:
    nothing, something = boxes(), boxes((0, 5, 0, 5))
    both = score_objects(nothing, nothing)
    assert (both.found, both.invented, both.missed) == (0, 0, 0)
    assert np.isnan(both.dice)
    assert np.isnan(both.hausdorff_px)
    for truth, predicted, counts in [
        (something, nothing, (0, 0, 1)),
        (nothing, something, (0, 1, 0)),
    ]:
        scores = score_objects(truth, predicted)
        assert (scores.found, scores.invented, scores.missed) == counts
        assert scores.dice == 0
        assert np.isnan(scores.hausdorff_px)
    with pytest.raises(ValueError, match="truth is"):
        score_objects(nothing, nothing[:3])


@given(st.integers(0, 10_000))
def test_the_distance_is_that_of_others(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.random((2, 15, 20)) > 0.9
    a[3, 4] = b[10, 2] = True
    assert hausdorff(a, b) == pytest.approx(hausdorff_distance(a, b, method="standard"))


def test_objects_touch_over_corners_and_specks_are_dropped() -> None:
    mask = np.zeros((6, 6), bool)
    mask[0, 0] = mask[1, 1] = mask[5, 5] = True
    assert objects_of(mask).max() == 2
    assert objects_of(mask, least_px=2).tolist()[1][1] == 1
    assert not objects_of(mask, least_px=2)[5, 5]
