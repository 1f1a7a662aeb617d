"""DeLong's variance against its definition, written out over all pairs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import logit
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from distill.downstream import statistics
from pipelines.mil.evaluation.delong import auroc, auroc_variance, placements

Case = tuple[NDArray[np.bool_], NDArray[np.float64]]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """At least two slides of each class, and scores with ties."""
    truth = np.array([True, True, False, False, *draw(st.lists(st.booleans(), max_size=20))])
    scores = draw(st.lists(st.integers(0, 9), min_size=len(truth), max_size=len(truth)))
    return truth, np.array(scores, float)


def pairs(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Who wins each pair of a positive (row) and a negative slide (column)."""
    gap = scores[truth][:, None] - scores[~truth]
    return (gap > 0) + 0.5 * (gap == 0)


@given(case=cases())
def test_components_and_variance_are_those_of_the_paper(case: Case) -> None:
    truth, scores = case
    won = pairs(truth, scores)
    above, below = placements(truth, scores)
    assert above == pytest.approx(won.mean(1))
    assert below == pytest.approx(won.mean(0))
    m, n = won.shape
    by_hand = won.mean(1).var(ddof=1) / m + won.mean(0).var(ddof=1) / n
    every = np.arange(len(truth))
    values, variance = auroc_variance(truth, scores, every, np.zeros_like(every))
    assert values == pytest.approx([roc_auc_score(truth, scores)])
    assert variance == pytest.approx(by_hand, abs=1e-12)


def test_the_interval_is_symmetric_on_the_logit_scale() -> None:
    generator = np.random.default_rng(0)
    truth = np.arange(60) % 2 == 0
    scores = truth + generator.normal(size=60)
    every, one = np.arange(60), np.zeros(60, int)
    bounds, method, by_seed = auroc(truth, scores, every, one)
    won = pairs(truth, scores)
    deviation = np.sqrt(won.mean(1).var(ddof=1) / 30 + won.mean(0).var(ddof=1) / 30)
    step = norm.ppf(0.975) * deviation / (bounds.value * (1 - bounds.value))
    assert logit(bounds.high) - logit(bounds.value) == pytest.approx(step)
    assert logit(bounds.value) - logit(bounds.low) == pytest.approx(step)
    assert method == "DeLong"
    assert by_seed == [bounds.value]


def clustered(seed: int) -> tuple[Case, NDArray[np.int64]]:
    """Forty patients with three slides each, mostly of one class and alike."""
    generator = np.random.default_rng(seed)
    owners = np.repeat(np.arange(40), 3)
    truth = generator.random(120) < np.where(owners % 2, 0.95, 0.05)
    scores = 1.2 * truth + generator.normal(size=40)[owners] + 0.5 * generator.normal(size=120)
    return (truth, scores), owners


def test_slides_of_a_patient_are_not_independent() -> None:
    (truth, scores), owners = clustered(0)
    one = np.zeros(120, int)
    _, grouped = auroc_variance(truth, scores, owners, one)
    _, apart = auroc_variance(truth, scores, np.arange(120), one)
    weights = statistics.patient_weights(40, resamples=2000)
    resampled = statistics.auroc(truth, scores, owners, weights)[1:]
    assert np.sqrt(grouped) == pytest.approx(np.std(resampled), rel=0.08)
    assert np.sqrt(apart) < 0.8 * np.std(resampled)
    assert auroc(truth, scores, owners, one)[1] == "DeLong, slides grouped by patient"


def test_a_second_slide_that_says_the_same_adds_nothing() -> None:
    generator = np.random.default_rng(1)
    truth = np.arange(40) % 2 == 0
    scores = truth + generator.normal(size=40)
    once = auroc_variance(truth, scores, np.arange(40), np.zeros(40, int))
    twice = auroc_variance(
        np.tile(truth, 2), np.tile(scores, 2), np.tile(np.arange(40), 2), np.zeros(80, int)
    )
    assert twice[0] == pytest.approx(once[0])
    assert twice[1] == pytest.approx(once[1])


def test_seeds_are_averaged_and_do_not_count_as_patients() -> None:
    generator = np.random.default_rng(2)
    truth = np.arange(40) % 2 == 0
    scores = truth + generator.normal(size=40)
    owners, seeds = np.tile(np.arange(40), 3), np.repeat(np.arange(3), 40)
    once = auroc(truth, scores, np.arange(40), np.zeros(40, int))
    same = auroc(np.tile(truth, 3), np.tile(scores, 3), owners, seeds)
    assert same[0].value == pytest.approx(once[0].value)
    assert (same[0].low, same[0].high) == pytest.approx((once[0].low, once[0].high))
    assert same[1] == "DeLong"
    others = np.concatenate([scores, truth + generator.normal(size=80).reshape(2, 40)], axis=None)
    bounds, _, by_seed = auroc(np.tile(truth, 3), others, owners, seeds)
    each = [roc_auc_score(truth, others[seeds == seed]) for seed in range(3)]
    assert by_seed == pytest.approx(each)
    assert bounds.value == pytest.approx(np.mean(each))
    # Noise that differs between seeds averages out; what is left still has an interval.
    assert 0 < bounds.high - bounds.low < once[0].high - once[0].low


@pytest.mark.parametrize("turned", [1, -1])
def test_perfect_separation_is_not_certainty(turned: int) -> None:
    truth = np.arange(20) < 10
    bounds, method, _ = auroc(truth, turned * truth.astype(float), np.arange(20), np.zeros(20, int))
    assert method == "Newcombe, patients counted"
    assert bounds.value == (turned == 1)
    assert 0.1 < bounds.high - bounds.low < 0.4


def test_one_patient_of_a_class_has_no_variance() -> None:
    truth = np.array([True, True, False, False, False])
    scores = np.array([2.0, 1, 1.5, 0, 0.5])
    bounds, method, _ = auroc(truth, scores, np.array([0, 0, 1, 2, 3]), np.zeros(5, int))
    assert method == "Newcombe, patients counted"
    assert bounds.value == pytest.approx(5 / 6)
    assert bounds.low < bounds.value < bounds.high
