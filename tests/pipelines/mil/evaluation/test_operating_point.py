"""What is chosen on tuning slides: by hand, by property, and without a look at the test slides."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from pipelines.errors import PredictionsError, UsageError
from pipelines.mil.evaluation.criterion import Criterion, choose_threshold, parse_criterion
from pipelines.mil.evaluation.operating_point import Frozen, freeze, judge, log_odds
from pipelines.mil.evaluation.predictions import Predictions
from pipelines.mil.statistics import youden_threshold

Rows = list[dict[str, Any]]
TRUTH = np.array([False, False, True, False, True, True])
SCORES = np.array([-3.0, -1, 0, 1, 2, 4])
YOUDEN = Criterion(kind="youden")


@pytest.mark.parametrize("text", ["youden", "sensitivity=0.95", "specificity=1"])
def test_criteria_are_read(text: str) -> None:
    criterion = parse_criterion(text)
    assert criterion.kind == text.partition("=")[0]
    assert criterion.least == float(text.partition("=")[2] or 0)


@pytest.mark.parametrize(
    "text", ["", "sensitivity", "sensitivity=", "sensitivity=95", "specificity=0", "f1", "youden=1"]
)
def test_other_criteria_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="it is youden, sensitivity=X or specificity=X"):
        parse_criterion(text)


@pytest.mark.parametrize(
    ("kind", "least", "threshold"),
    [
        ("sensitivity", 1.0, -0.5),  # all three at or above 0
        ("sensitivity", 0.6, 1.5),  # two of three
        ("specificity", 1.0, 1.5),
        ("specificity", 0.6, -0.5),  # two of three negatives below 0
    ],
)
def test_least_sensitivity_and_specificity_by_hand(
    kind: Any, least: float, threshold: float
) -> None:
    assert choose_threshold(TRUTH, SCORES, Criterion(kind=kind, least=least)) == threshold


@pytest.mark.parametrize("wrong", range(1, 100))
def test_what_is_reached_exactly_is_reached(wrong: int) -> None:
    """1 - 0.07 is below 0.93 in floating point, and 0.29 * 100 below 29."""
    truth = np.arange(110) >= 100
    scores = np.where(truth, 200.0, np.arange(110))
    least = Criterion(kind="specificity", least=float(f"{1 - wrong / 100:.2f}"))
    assert (scores[~truth] >= choose_threshold(truth, scores, least)).sum() == wrong


def test_youden_is_the_one_training_uses() -> None:
    assert choose_threshold(TRUTH, SCORES, YOUDEN) == youden_threshold(TRUTH, SCORES)


@given(
    scores=st.lists(st.integers(0, 12), min_size=4, max_size=25),
    kind=st.sampled_from(["sensitivity", "specificity"]),
    least=st.sampled_from([0.3, 0.5, 0.8, 0.95]),
)
def test_the_threshold_reaches_what_was_asked_and_no_better_one_does(
    scores: list[int], kind: Any, least: float
) -> None:
    values, truth = np.array(scores, float), np.arange(len(scores)) % 2 == 0

    def rates(threshold: float) -> dict[str, float]:
        called = values >= threshold
        return {"sensitivity": called[truth].mean(), "specificity": (~called[~truth]).mean()}

    try:
        threshold = choose_threshold(truth, values, Criterion(kind=kind, least=least))
    except PredictionsError:
        assert kind == "specificity"
        assert rates(values.max())["specificity"] < least
        return
    other = {"sensitivity": "specificity", "specificity": "sensitivity"}[kind]
    assert rates(threshold)[kind] >= least
    assert rates(threshold)[other] == max(
        rates(t)[other] for t in values if rates(t)[kind] >= least
    )


def test_a_specificity_out_of_reach_is_told() -> None:
    highest_is_negative = np.where(SCORES == 4, False, TRUTH)
    with pytest.raises(
        PredictionsError, match=r"specificity at least 0.9 on 6 tuning slides, 4 of"
    ):
        choose_threshold(highest_is_negative, SCORES, Criterion(kind="specificity", least=0.9))


def test_log_odds_are_those_of_the_softmax() -> None:
    logits = np.random.default_rng(0).normal(size=(20, 4)) * 5
    prob = softmax(logits, axis=1)[:, 2]
    assert log_odds(logits, 2) == pytest.approx(np.log(prob / (1 - prob)))


def test_verdicts_by_hand() -> None:
    logits = np.array([[0.0, 2], [0, 0.5], [1, 0]])
    targets = np.array([1, 1, 0])
    two = judge(logits, targets, 1, 1.0)
    assert two.predicted.tolist() == [1, -1, -1]
    assert two.right.tolist() == [True, False, True]
    assert two.margin.tolist() == pytest.approx([1, 0.5, 2])
    most_probable = judge(np.array([[0.0, 3, 1], [2, 1.5, 0]]), np.array([1, 1]), None, np.nan)
    assert most_probable.predicted.tolist() == [1, 0]
    assert most_probable.right.tolist() == [True, False]
    assert most_probable.margin.tolist() == [2, 0.5]


def frozen(predictions: Predictions, positive: int | None = 1) -> list[Frozen]:
    return freeze(predictions, positive=positive, criterion=YOUDEN, error=0.2)


def test_test_slides_are_not_looked_at(
    simulated: Callable[..., Rows], read_rows: Callable[[Rows], Predictions]
) -> None:
    predictions = read_rows(simulated(patients=90, seeds=2, signal=2.5))
    on_test = (predictions.splits == "test")[:, None]
    noise = np.random.default_rng(0).normal(size=predictions.logits.shape)
    other = replace(predictions, logits=np.where(on_test, noise, predictions.logits))
    assert frozen(other) == frozen(predictions)
    changed = replace(predictions, logits=np.where(on_test, predictions.logits, noise))
    assert frozen(changed) != frozen(predictions)


def test_what_is_frozen_fits_its_tuning_slides(
    simulated: Callable[..., Rows], read_rows: Callable[[Rows], Predictions]
) -> None:
    predictions = read_rows(simulated(patients=300, seeds=2, signal=1.5))
    models = frozen(predictions)
    assert [(model.fold, model.seed) for model in models] == predictions.models()
    for model in models:
        of_model = (predictions.folds == model.fold) & (predictions.seeds == model.seed)
        tune = predictions.at(of_model & (predictions.splits == "tune"))
        scores = log_odds(tune.logits, 1) / model.temperature.value
        assert model.threshold == pytest.approx(youden_threshold(tune.targets == 1, scores))
        assert 0.2 < model.tune_coverage <= 1
        assert model.tune_error <= 0.2
        low, high = model.band
        assert low <= model.threshold_prob <= high
        is_inside = np.abs(scores - model.threshold) < model.width
        assert 1 - is_inside.mean() == pytest.approx(model.tune_coverage)
        assert (model.n_tune, model.n_tune_positive) == (100, 50)


@pytest.mark.parametrize(("positive", "keep"), [(1, "normal"), (1, "tumour"), (None, "tumour")])
def test_tuning_slides_of_one_class_are_refused(
    simulated: Callable[..., Rows],
    read_rows: Callable[[Rows], Predictions],
    positive: int | None,
    keep: str,
) -> None:
    rows = [
        row
        for row in simulated(patients=30)
        if row["split"] == "test" or row["fold"] != 1 or row["target"] == keep
    ]
    with pytest.raises(PredictionsError, match=f"tune of fold 1, seed 0 holds only {keep}"):
        frozen(read_rows(rows), positive)
