"""Temperature, calibration error and reliability, by hand and against scipy and scikit-learn."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from sklearn.metrics import brier_score_loss, log_loss

from distill.downstream.statistics import patient_weights
from pipelines.mil.evaluation.calibration import (
    brier,
    centred,
    ece_by_chance,
    equal_mass_bins,
    expected_calibration_error,
    fit_temperature,
    reliability,
)


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_the_temperature_is_where_the_loss_is_least(n_classes: int) -> None:
    generator = np.random.default_rng(n_classes)
    targets = generator.integers(n_classes, size=4000)
    exact = 2 * (2 * np.eye(n_classes)[targets] + generator.normal(size=(4000, n_classes)))
    logits = 3 * exact  # exact log-likelihood ratios of a shift by 2, three times too sharp
    fitted = fit_temperature(logits, targets)

    def loss(temperature: float) -> float:
        return float(log_loss(targets, softmax(logits / temperature, axis=1)))

    least = minimize_scalar(loss, bounds=(0.1, 20), method="bounded", options={"xatol": 1e-8})
    assert fitted.note == ""
    assert fitted.value == pytest.approx(least.x, rel=1e-4)
    assert fitted.value == pytest.approx(3, rel=0.1)


def test_no_temperature_is_made_up() -> None:
    targets = np.array([0, 1, 0, 1])
    right = np.array([[2.0, 0], [0, 1], [3, 0], [0, 2]])
    separated = fit_temperature(right, targets)
    assert (separated.value, separated.note) == (1, "not fitted: no tuning slide is wrong")
    useless = fit_temperature(-right, targets)
    assert useless.value == 1
    assert "do not tell" in useless.note
    # One wrong slide among them is enough for a minimum.
    assert fit_temperature(np.vstack([right, [[1.0, 0]]]), np.append(targets, 1)).note == ""


@pytest.mark.parametrize("times", [1, 19, 30, 1000])
def test_however_overconfident_logits_are_calibrated(times: float) -> None:
    generator = np.random.default_rng(0)
    odds = 1.5 * generator.normal(size=400)
    targets = (generator.random(400) < 1 / (1 + np.exp(-odds))).astype(int)
    logits = np.stack([np.zeros(400), odds], axis=1)
    fitted = fit_temperature(times * logits, targets)
    assert fitted.note == ""
    assert fitted.value == pytest.approx(times * fit_temperature(logits, targets).value)
    assert fitted.value == pytest.approx(times, rel=0.2)


def test_brier_against_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    probs = generator.dirichlet([1, 1, 1], size=50)
    targets = generator.integers(3, size=50)
    assert brier(probs, targets).mean() == pytest.approx(
        brier_score_loss(targets, probs, scale_by_half=False)
    )
    two = np.stack([1 - probs[:, 0], probs[:, 0]], axis=1)
    truth = targets == 0
    assert brier(two, truth.astype(int)).mean() == pytest.approx(
        brier_score_loss(truth, probs[:, 0])
    )


def test_bins_hold_equally_many_and_keep_ties_together() -> None:
    prob = np.random.default_rng(0).permutation(30) / 30
    bins = equal_mass_bins(prob, 15)
    assert np.bincount(bins).tolist() == [2] * 15
    assert np.array_equal(bins[np.argsort(prob)], np.repeat(np.arange(15), 2))
    assert equal_mass_bins(np.array([0.5, 0.5, 0.5, 0.9]), 4).tolist() == [0, 0, 0, 1]
    assert np.bincount(equal_mass_bins(np.arange(100) / 100, 15)).min() >= 6


def test_the_calibration_error_by_hand() -> None:
    prob = np.array([0.1, 0.3, 0.6, 0.8])
    outcome = np.array([False, True, True, True])
    patients = np.array([0, 1, 2, 2])
    weights = np.array([[1.0, 1, 1], [2, 0, 1]])
    # Two bins: {0.1, 0.3} with frequency 1/2 and mean 0.2; {0.6, 0.8} with 1 and 0.7.
    # Twice patient 0 and once patient 2: {0.1, 0.1} with frequency 0, and as before.
    errors = expected_calibration_error(prob, outcome, patients, weights, bins=2)
    assert errors.tolist() == pytest.approx([(2 * 0.3 + 2 * 0.3) / 4, (2 * 0.1 + 2 * 0.3) / 4])
    # Fifteen bins of four slides: each is its own bin.
    each = expected_calibration_error(prob, outcome, patients, weights)
    assert each[0] == pytest.approx((0.1 + 0.7 + 0.4 + 0.2) / 4)


def test_exact_probabilities_err_by_chance_only() -> None:
    generator = np.random.default_rng(0)
    prob = generator.random(300)
    chance = ece_by_chance(prob)
    owners, once = np.arange(300), np.ones((1, 300))
    drawn = [
        expected_calibration_error(prob, generator.random(300) < prob, owners, once)[0]
        for _ in range(300)
    ]
    assert chance == pytest.approx(np.mean(drawn), rel=0.03)
    assert ece_by_chance(np.array([0.0, 1.0, 1.0])) == 0
    # One slide of 0.5 is off by 0.5 either way.
    assert ece_by_chance(np.array([0.5])) == 0.5


def test_resamples_are_moved_around_the_value() -> None:
    values = np.array([0.2, 0.3, 0.4, 0.5])
    assert centred(values).tolist() == pytest.approx([0.2, 0.1, 0.2, 0.3])
    assert centred(np.array([0.1, 0.1, 0.7, 0.1])).min() == 0


def test_the_reliability_curve_by_hand() -> None:
    prob = np.array([0.2, 0.2, 0.4, 0.8, 0.8, 0.9])
    outcome = np.array([False, True, False, True, True, True])
    curve = reliability(prob, outcome, np.arange(6), patient_weights(6, resamples=200), bins=2)
    assert curve.prob.tolist() == pytest.approx([0.8 / 3, 2.5 / 3])
    assert curve.frequency.tolist() == pytest.approx([1 / 3, 1])
    assert (curve.low[0], curve.high[0]) == (0, 1)  # of three slides
    assert (curve.low[1], curve.high[1]) == (1, 1)
