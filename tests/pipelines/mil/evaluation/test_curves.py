"""Curves by hand and against scikit-learn."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import precision_recall_curve, roc_curve

from distill.downstream.statistics import patient_weights
from pipelines.mil.evaluation import curves
from pipelines.mil.evaluation.criterion import Criterion
from pipelines.mil.evaluation.operating_point import freeze
from pipelines.mil.evaluation.predictions import Predictions
from pipelines.mil.evaluation.scored import Scored, score_test

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def score(read_rows: Callable[[Rows], Predictions]) -> Callable[[Rows], Scored]:
    def make(rows: Rows) -> Scored:
        predictions = read_rows(rows)
        frozen = freeze(predictions, positive=1, criterion=Criterion(kind="youden"), error=0.1)
        return score_test(predictions, frozen)

    return make


@pytest.fixture(scope="module")
def by_hand(score: Callable[[Rows], Scored]) -> Scored:
    """Five test slides, the first and fourth negative.

    Their log-odds are -2, -1, 0.5, 1 and 2, so their probabilities 0.12, 0.27, 0.62, 0.73, 0.88.
    The tuning slides leave the temperature at 1 and put the threshold at 0.5.
    """

    def row(name: str, split: str, target: str, odds: float) -> dict[str, Any]:
        return {
            "slide_id": name, "patient_id": name, "fold": 0, "seed": 0, "split": split,
            "target": target, "classes": ["normal", "tumour"],
            "logits": [0.0, odds],
        }  # fmt: skip

    test = zip((-2.0, -1.0, 0.5, 1.0, 2.0), "nttnt", strict=True)
    names = {"n": "normal", "t": "tumour"}
    rows = [row(f"s{i}", "test", names[c], p) for i, (p, c) in enumerate(test)]
    rows += [row("tn", "tune", "normal", -1.5), row("tt", "tune", "tumour", 1.5)]
    scored = score(rows)
    assert scored.probs[:, 1].tolist() == pytest.approx(expit([-2, -1, 0.5, 1, 2]))
    assert scored.right.tolist() == [True, False, True, False, True]
    return scored


def test_net_benefit_by_hand(by_hand: Scored) -> None:
    model, everyone = curves.net_benefit(by_hand, patient_weights(5, resamples=200))
    at = {risk: int(np.argmin(np.abs(model.x - risk))) for risk in (0.2, 0.5, 0.8)}
    # Of five slides at 0.2: three true and one false positive at the price 1/4.
    assert model.y[at[0.2]] == pytest.approx(3 / 5 - 1 / 5 * 0.25)
    assert model.y[at[0.5]] == pytest.approx(2 / 5 - 1 / 5)
    assert model.y[at[0.8]] == pytest.approx(1 / 5)
    for risk, index in at.items():
        assert everyone.y[index] == pytest.approx(3 / 5 - 2 / 5 * risk / (1 - risk))
    assert (model.low <= model.y).all()
    assert (model.y <= model.high).all()


def test_error_by_coverage_by_hand(by_hand: Scored) -> None:
    # Farthest from 0 first: -2 and 2 are right, -1 and 1 are wrong, 0.5 is right.
    curve = curves.error_by_coverage(by_hand, patient_weights(5, resamples=200))
    errors = dict(zip(curve.x.round(2).tolist(), curve.y.tolist(), strict=True))
    assert errors[0.2] == errors[0.4] == 0
    assert errors[0.6] == errors[0.8] == pytest.approx(2 / 4)
    assert errors[1.0] == pytest.approx(2 / 5)


def test_roc_and_precision_are_scikit_learns(
    simulated: Callable[..., Rows], score: Callable[[Rows], Scored]
) -> None:
    scored = score(simulated(patients=60, signal=1.0))
    weights = patient_weights(60, resamples=200)
    false_rate, true_rate, _ = roc_curve(scored.truth, scored.score, drop_intermediate=False)
    roc = curves.roc(scored, weights, 1)
    assert roc.y == pytest.approx(np.interp(roc.x, false_rate, true_rate))
    precision, recall, _ = precision_recall_curve(scored.truth, scored.score)
    curve = curves.precision_recall(scored, weights)
    for x, y in zip(curve.x[1:], curve.y[1:], strict=True):
        reaching = recall >= x - 1e-12
        # Of the thresholds that reach the recall, the highest has the least recall.
        least = recall[reaching].min()
        assert y == pytest.approx(precision[recall == least].max())
    for band in (roc, curve):
        assert (band.low <= band.high + 1e-12).all()
        inside = (band.low - 0.02 <= band.y) & (band.y <= band.high + 0.02)
        assert inside.all()


def test_curves_are_averaged_over_seeds(
    simulated: Callable[..., Rows], score: Callable[[Rows], Scored]
) -> None:
    scored = score(simulated(patients=30, seeds=2, signal=1.0))
    weights = patient_weights(30, resamples=20)
    both = curves.roc(scored, weights, 1).y
    each = [curves.roc(part, weights, 1).y for part in scored.seeds()]
    assert both == pytest.approx(np.mean(each, axis=0))
    assert not np.allclose(each[0], each[1])
