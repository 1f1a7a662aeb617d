"""Measures against scikit-learn with sample weights; differences and corrections by hand."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics

from distill.downstream.statistics import (
    accuracy,
    auroc,
    balanced_accuracy,
    confusions,
    difference,
    holm,
    interval,
    macro_auroc,
    macro_f1,
    mean_iou,
    patient_weights,
    weighted_mean,
)

N, PATIENTS, CLASSES = 120, 15, 3


@pytest.fixture(scope="module")
def case() -> dict[str, NDArray[np.generic]]:
    generator = np.random.default_rng(4)
    targets = generator.integers(0, CLASSES, N)
    probs = generator.dirichlet(np.ones(CLASSES), N) + 0.4 * np.eye(CLASSES)[targets]
    probs = np.round(probs / probs.sum(1, keepdims=True), 2)  # so that there are ties
    return {
        "targets": targets,
        "probs": probs,
        "predicted": probs.argmax(1),
        "patients": generator.permutation(np.arange(N) % PATIENTS),
        "weights": patient_weights(PATIENTS, resamples=40, seed=2),
    }


def sklearn_f1(truth: NDArray[np.int64], guess: NDArray[np.int64], w: NDArray[np.float64]) -> float:
    return float(metrics.f1_score(truth, guess, average="macro", sample_weight=w))


def sklearn_jaccard(
    truth: NDArray[np.int64], guess: NDArray[np.int64], w: NDArray[np.float64]
) -> float:
    return float(metrics.jaccard_score(truth, guess, average="macro", sample_weight=w))


def sklearn_recall(
    truth: NDArray[np.int64], guess: NDArray[np.int64], w: NDArray[np.float64]
) -> float:
    return float(metrics.balanced_accuracy_score(truth, guess, sample_weight=w))


def sklearn_accuracy(
    truth: NDArray[np.int64], guess: NDArray[np.int64], w: NDArray[np.float64]
) -> float:
    return float(metrics.accuracy_score(truth, guess, sample_weight=w))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (accuracy, sklearn_accuracy),
        (balanced_accuracy, sklearn_recall),
        (macro_f1, sklearn_f1),
        (mean_iou, sklearn_jaccard),
    ],
)
def test_counts_are_scikit_learns_for_every_resample(
    case: dict[str, NDArray[np.generic]],
    ours: Callable[..., NDArray[np.float64]],
    theirs: Callable[..., float],
) -> None:
    arguments = (case["targets"], case["predicted"], case["patients"], case["weights"])
    found = ours(confusions(*arguments, n_classes=CLASSES))
    expected = [
        theirs(case["targets"], case["predicted"], row[case["patients"]]) for row in case["weights"]
    ]
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("chunk", [1 << 24, 1000])
@pytest.mark.parametrize("resamples", [41, 9])  # more than patients, or fewer
def test_auroc_is_scikit_learns_for_every_resample(
    case: dict[str, NDArray[np.generic]],
    resamples: int,
    chunk: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("distill.downstream.statistics.CHUNK", chunk)
    positive, scores = case["targets"] == 1, case["probs"][:, 1]
    weights = case["weights"][:resamples]
    found = auroc(positive, scores, case["patients"], weights)
    expected = [
        metrics.roc_auc_score(positive, scores, sample_weight=row[case["patients"]])
        for row in weights
    ]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_macro_auroc_is_scikit_learns(case: dict[str, NDArray[np.generic]]) -> None:
    found = macro_auroc(case["targets"], case["probs"], case["patients"], case["weights"])
    one_hot = np.eye(CLASSES)[case["targets"]]
    assert found[0] == pytest.approx(metrics.roc_auc_score(one_hot, case["probs"], average="macro"))


def test_a_resample_that_lacks_a_class_of_the_sample_is_no_number() -> None:
    targets, patients = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 2])
    weights = np.array([[1.0, 1, 1], [3, 0, 0], [0, 0, 3]])
    matrices = confusions(targets, np.array([0, 1, 1, 0]), patients, weights, n_classes=2)
    np.testing.assert_allclose(balanced_accuracy(matrices), [0.5, np.nan, np.nan])
    np.testing.assert_allclose(macro_f1(matrices), [0.5, np.nan, 0.0])  # 0: both are seen, not told
    np.testing.assert_allclose(mean_iou(matrices[[0, 1]]), [1 / 3, np.nan])
    # A class that the sample itself lacks is left out of every row.
    of_two = confusions(targets, np.array([0, 1, 1, 0]), patients, weights, n_classes=3)
    np.testing.assert_allclose(balanced_accuracy(of_two), [0.5, np.nan, np.nan])
    areas = auroc(targets == 1, np.array([0.1, 0.9, 0.8, 0.2]), patients, weights)
    assert areas[0] == pytest.approx(0.5)
    assert np.isnan(areas[1:]).all()


def test_an_interval_holds_nothing_that_is_not_possible() -> None:
    """A class that is never found leaves at most half of a balanced accuracy of two."""
    targets = np.arange(20) < 2
    arguments = (targets.astype(int), np.zeros(20, int), np.arange(20), patient_weights(20))
    found = interval(balanced_accuracy(confusions(*arguments, n_classes=2)))
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def test_where_every_resample_lacks_something_there_is_no_interval() -> None:
    found = interval(np.array([0.5, np.nan, np.nan]))
    assert str(found) == "0.500 (no interval)"


def test_every_patient_counts_once_and_then_as_often_as_drawn() -> None:
    weights = patient_weights(7, resamples=300, seed=1)
    assert weights.shape == (301, 7)
    np.testing.assert_array_equal(weights[0], 1)
    np.testing.assert_array_equal(weights.sum(1), 7)
    np.testing.assert_allclose(weights[1:].mean(0), 1, atol=0.25)
    np.testing.assert_array_equal(weights, patient_weights(7, resamples=300, seed=1))


def test_a_patients_copies_do_not_narrow_the_interval() -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(size=20)
    weights = patient_weights(20)
    once = interval(weighted_mean(values, np.arange(20), weights))
    often = interval(weighted_mean(np.tile(values, 9), np.tile(np.arange(20), 9), weights))
    assert often.value == pytest.approx(once.value)
    assert (often.low, often.high) == pytest.approx((once.low, once.high))
    # The normal interval of a mean is an oracle good to a tenth for twenty normal values.
    half = 1.96 * values.std() / np.sqrt(20)
    assert once.high - once.low == pytest.approx(2 * half, rel=0.1)


def test_pairing_removes_what_both_methods_share() -> None:
    generator = np.random.default_rng(1)
    hardness = generator.normal(0, 1, 30)
    better = hardness + 0.2 + generator.normal(0, 0.05, 30)
    weights = patient_weights(30)
    a, b = (weighted_mean(values, np.arange(30), weights) for values in (better, hardness))
    paired = difference(a, b)
    assert paired.interval.low > 0
    assert paired.p == pytest.approx(2 / 2001)
    assert interval(a).low < interval(b).high  # unpaired, nothing could be said
    assert difference(a, a).p == 1.0
    reverse = difference(b, a)
    assert reverse.p == paired.p
    assert reverse.interval.value == pytest.approx(-paired.interval.value)


def test_without_a_difference_p_is_uniform() -> None:
    generator = np.random.default_rng(3)
    weights = patient_weights(40, resamples=400)
    ps = []
    for _ in range(300):
        a, b = (weighted_mean(generator.normal(size=40), np.arange(40), weights) for _ in "ab")
        ps.append(difference(a, b).p)
    assert np.mean(np.array(ps) < 0.05) == pytest.approx(0.05, abs=0.035)
    assert np.mean(np.array(ps) < 0.5) == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # 4×.005, 3×.01, 2×.03, then no less
        ([0.5, 0.9], [1.0, 1.0]),
        ([0.02], [0.02]),
        ([], []),
    ],
)
def test_holm_by_hand(given: list[float], expected: list[float]) -> None:
    assert holm(given) == pytest.approx(expected)
