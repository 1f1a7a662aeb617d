"""Numbers about predictions, against scikit-learn and against the papers' formulas."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from distill.downstream.statistics import Interval
from pipelines.mil.statistics import auroc, youden_threshold

Case = tuple[NDArray[np.bool_], NDArray[np.float64]]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Truths of both classes, and scores with ties."""
    truth = np.array([True, False, *draw(st.lists(st.booleans(), max_size=20))])
    scores = draw(
        st.lists(st.integers(0, 20).map(lambda n: n / 20), min_size=len(truth), max_size=len(truth))
    )
    return truth, np.array(scores)


def names(count: int) -> list[str]:
    return [f"p{n}" for n in range(count)]


def separated(positives: int, negatives: int) -> Case:
    truth = np.arange(positives + negatives) < positives
    return truth, truth.astype(float)


def hanley_mcneil_se(theta: float, m: int, n: int) -> float:
    """Hanley and McNeil's (1982) standard error with Newcombe's (m + n) / 2 - 1 for both sizes.

    Written with Q1 and Q2 as in the paper, not as the code has it.
    """
    q1, q2 = theta / (2 - theta), 2 * theta**2 / (1 + theta)
    even = (m + n) / 2 - 1
    spread = theta * (1 - theta) + even * (q1 - theta**2) + even * (q2 - theta**2)
    return float(np.sqrt(spread / (m * n)))


@given(case=cases())
def test_the_value_is_scikit_learns_and_lies_in_its_interval(case: Case) -> None:
    truth, scores = case
    interval = auroc(truth, scores, names(len(truth)))
    assert interval.value == pytest.approx(roc_auc_score(truth, scores))
    assert 0 <= interval.low <= interval.value <= interval.high <= 1
    assert interval.high - interval.low > 0.1  # at most 22 patients say little


@given(case=cases())
def test_the_bounds_are_where_the_value_is_just_not_surprising(case: Case) -> None:
    truth, scores = case
    interval = auroc(truth, scores, names(len(truth)))
    m, n = int(truth.sum()), int((~truth).sum())
    z = norm.ppf(0.975)
    for bound in (interval.low, interval.high):
        if 1e-6 < bound < 1 - 1e-6:
            distance = abs(interval.value - bound)
            assert distance == pytest.approx(z * hanley_mcneil_se(bound, m, n), rel=1e-4)


@given(case=cases())
def test_turning_the_scores_turns_the_interval(case: Case) -> None:
    truth, scores = case
    straight = auroc(truth, scores, names(len(truth)))
    turned = auroc(truth, 1 - scores, names(len(truth)))
    assert turned.value == pytest.approx(1 - straight.value)
    assert turned.low == pytest.approx(1 - straight.high, abs=1e-6)
    assert turned.high == pytest.approx(1 - straight.low, abs=1e-6)


@pytest.mark.parametrize(("positives", "negatives"), [(1, 1), (3, 3), (12, 8), (100, 200)])
def test_perfect_separation_is_not_certainty(positives: int, negatives: int) -> None:
    truth, scores = separated(positives, negatives)
    right = auroc(truth, scores, names(len(truth)))
    wrong = auroc(truth, -scores, names(len(truth)))
    assert (right.value, right.high) == (1, 1)
    assert (wrong.value, wrong.low) == (0, 0)
    assert 0 < right.low < 1
    assert 0 < wrong.high < 1
    m, n = positives, negatives
    assert 1 - right.low == pytest.approx(norm.ppf(0.975) * hanley_mcneil_se(right.low, m, n))


def test_more_patients_narrow_the_interval() -> None:
    widths = []
    for times in (1, 2, 5, 20):
        truth, scores = separated(6 * times, 6 * times)
        scores[:times] = -1  # one patient in twelve is wrong
        interval = auroc(truth, scores, names(len(truth)))
        widths.append(interval.high - interval.low)
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < widths[0] / 3


def test_slides_of_the_same_patients_do_not_narrow_it() -> None:
    truth, scores = separated(6, 6)
    scores[0] = -1
    few = auroc(truth, scores, names(12))
    many = auroc(np.tile(truth, 10), np.tile(scores, 10), names(12) * 10)
    independent = auroc(np.tile(truth, 10), np.tile(scores, 10), names(120))
    assert many == few
    assert independent.high - independent.low < (few.high - few.low) / 2


def test_an_interval_reads_as_in_a_paper() -> None:
    interval = Interval(value=0.91234, low=0.8, high=0.95555)
    assert str(interval) == "0.912 (95 % CI 0.800-0.956)"


@given(case=cases())
def test_the_threshold_is_the_best_and_lies_between_scores(case: Case) -> None:
    truth, scores = case

    def youden(threshold: float) -> float:
        called = scores >= threshold
        return float(called[truth].mean() - called[~truth].mean())

    threshold = youden_threshold(truth, scores)
    best = max(youden(t) for t in (*scores, 2.0))
    assert youden(threshold) == pytest.approx(best)
    assert 0 <= threshold <= 1
    assume(best > 0 and (scores < threshold).any())
    above, below = scores[scores >= threshold].min(), scores[scores < threshold].max()
    assert threshold == pytest.approx((above + below) / 2)


def test_the_threshold_by_hand() -> None:
    truth = np.array([False, False, True, False, True, True])
    scores = np.array([0.1, 0.2, 0.4, 0.5, 0.7, 0.9])
    assert youden_threshold(truth[[0, 1, 2, 4, 5]], scores[[0, 1, 2, 4, 5]]) == pytest.approx(0.3)
    assert youden_threshold(truth, scores) in (pytest.approx(0.3), pytest.approx(0.6))


@pytest.mark.parametrize("scores", [[0.9, 0.8, 0.2, 0.1], [0.5, 0.5, 0.5, 0.5], [1, 1, 0, 0]])
def test_scores_that_are_useless_give_a_finite_threshold(scores: list[float]) -> None:
    threshold = youden_threshold(np.array([False, False, True, True]), np.array(scores))
    assert np.isfinite(threshold)
    assert 0 <= threshold <= 1
