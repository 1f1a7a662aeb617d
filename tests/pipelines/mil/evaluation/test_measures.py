"""Measures against scikit-learn, and intervals against hand cases."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn import metrics

from distill.downstream.statistics import Floats, patient_weights
from pipelines.mil.evaluation import binary
from pipelines.mil.evaluation.criterion import Criterion
from pipelines.mil.evaluation.estimates import (
    BOOTSTRAP,
    FEWEST,
    NONE,
    UNDEFINED,
    Estimate,
    bootstrapped,
    proportion,
    wilson,
)
from pipelines.mil.evaluation.multiclass import over_classes
from pipelines.mil.evaluation.operating_point import freeze
from pipelines.mil.evaluation.predictions import Predictions
from pipelines.mil.evaluation.scored import Scored, score_test

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def scored(
    simulated: Callable[..., Rows], read_rows: Callable[[Rows], Predictions]
) -> Callable[..., tuple[Scored, Floats]]:
    """Score a simulation's test slides; with the weights of 300 resamples."""

    def score(positive: int | None = 1, **simulation: Any) -> tuple[Scored, Floats]:
        predictions = read_rows(simulated(**simulation))
        criterion = Criterion(kind="youden")
        frozen = freeze(predictions, positive=positive, criterion=criterion, error=0.1)
        found = score_test(predictions, frozen)
        return found, patient_weights(int(found.patients.max()) + 1, resamples=300)

    return score


def by_name(estimates: list[Estimate]) -> dict[str, Estimate]:
    return {estimate.name: estimate for estimate in estimates}


@pytest.mark.parametrize("seeds", [1, 3])
def test_values_are_scikit_learns_averaged_over_seeds(
    scored: Callable[..., tuple[Scored, Floats]], seeds: int
) -> None:
    found, weights = scored(patients=80, slides=2, seeds=seeds, signal=1.2)
    estimates = by_name(
        [
            *binary.ranking(found, weights),
            *binary.at_the_operating_point(found, weights, prevalence=0.1),
        ]
    )
    oracles = {
        "auroc": lambda t, s, c: metrics.roc_auc_score(t, s),
        "auroc_bootstrap": lambda t, s, c: metrics.roc_auc_score(t, s),
        "auprc": lambda t, s, c: metrics.average_precision_score(t, s),
        "sensitivity": lambda t, s, c: metrics.recall_score(t, c),
        "specificity": lambda t, s, c: metrics.recall_score(~t, ~c),
        "ppv": lambda t, s, c: metrics.precision_score(t, c),
        "npv": lambda t, s, c: metrics.precision_score(~t, ~c),
        "balanced_accuracy": lambda t, s, c: metrics.balanced_accuracy_score(t, c),
        "f1": lambda t, s, c: metrics.f1_score(t, c),
        "kappa": lambda t, s, c: metrics.cohen_kappa_score(t, c),
    }
    rest = {"auroc_within_folds", "ppv_at_prevalence", "npv_at_prevalence"}
    assert set(estimates) == set(oracles) | rest
    for name, oracle in oracles.items():
        each = [oracle(part.truth, part.score, part.called) for part in found.seeds()]
        assert estimates[name].by_seed == pytest.approx(each), name
        assert estimates[name].interval.value == pytest.approx(np.mean(each)), name
        if seeds > 1:
            assert estimates[name].seed_sd == pytest.approx(np.std(each, ddof=1)), name
        else:
            assert np.isnan(estimates[name].seed_sd)
    for estimate in estimates.values():
        assert estimate.interval.low < estimate.interval.value < estimate.interval.high
    within = [
        [
            metrics.roc_auc_score(p.truth[at], p.score[at])
            for at in (p.test.folds == f for f in range(3))
        ]
        for p in found.seeds()
    ]
    assert estimates["auroc_within_folds"].by_seed == pytest.approx(np.mean(within, axis=1))


def test_several_classes_against_scikit_learn(
    scored: Callable[..., tuple[Scored, Floats]],
) -> None:
    found, weights = scored(None, patients=90, classes=("low", "middle", "high"), signal=1.2)
    targets, predicted = found.test.targets, found.predicted
    values = {
        name: estimate.interval.value
        for name, estimate in by_name(over_classes(found, weights, ordered=(0, 1, 2))).items()
    }
    assert values == pytest.approx(
        {
            "macro_auroc": metrics.roc_auc_score(targets, found.probs, multi_class="ovr"),
            "accuracy_balanced_over_classes": metrics.balanced_accuracy_score(targets, predicted),
            "macro_f1": metrics.f1_score(targets, predicted, average="macro"),
            "kappa_over_classes": metrics.cohen_kappa_score(targets, predicted),
            "quadratic_kappa": metrics.cohen_kappa_score(targets, predicted, weights="quadratic"),
        }
    )


@given(
    scores=st.lists(st.integers(0, 6), min_size=4, max_size=20),
    counts=st.lists(st.integers(0, 3), min_size=20, max_size=20),
)
def test_average_precision_with_weights_and_ties(scores: list[int], counts: list[int]) -> None:
    size = len(scores)
    truth, values = np.arange(size) % 3 == 0, np.array(scores, float)
    weights = np.stack([np.ones(size), np.array(counts[:size], float)])
    areas = binary.average_precision(truth, values, np.arange(size), weights)
    for area, row in zip(areas, weights, strict=True):
        if row[truth].sum() == 0:
            assert np.isnan(area)
        else:
            expected = metrics.average_precision_score(truth, values, sample_weight=row)
            assert area == pytest.approx(expected)


def test_predictive_values_by_hand() -> None:
    # Of 1000 slides 50 are positive: 45 called; of 950 others 95 called.
    ppv, npv = binary.predictive_values(0.9, 0.9, 0.05)
    assert float(ppv) == pytest.approx(45 / 140)
    assert float(npv) == pytest.approx(855 / 860)
    assert np.isnan(binary.predictive_values(0.0, 1.0, 0.05)[0])


def test_at_the_prevalence_of_the_test_nothing_changes(
    scored: Callable[..., tuple[Scored, Floats]],
) -> None:
    found, weights = scored(patients=80, signal=1.2)
    share = float(found.truth.mean())
    estimates = by_name(binary.at_the_operating_point(found, weights, prevalence=share))
    for name in ("ppv", "npv"):
        at_prevalence = estimates[f"{name}_at_prevalence"]
        assert at_prevalence.interval.value == pytest.approx(estimates[name].interval.value)


def test_wilson_by_its_formula() -> None:
    z2 = norm.ppf(0.975) ** 2
    for hits, total in ((8, 10), (0, 7), (7, 7)):
        share = hits / total
        middle = (share + z2 / (2 * total)) / (1 + z2 / total)
        reach = np.sqrt(z2 * (share * (1 - share) / total + z2 / (4 * total**2))) / (1 + z2 / total)
        assert wilson(hits, total) == pytest.approx((middle - reach, middle + reach), abs=1e-12)


def test_one_slide_a_patient_has_wilsons_interval(
    scored: Callable[..., tuple[Scored, Floats]],
) -> None:
    found, weights = scored(patients=60, signal=1.2)
    estimate = binary.sensitivity(found, weights)
    hits, total = int((found.truth & found.called).sum()), int(found.truth.sum())
    assert estimate.method == "Wilson"
    assert (estimate.interval.low, estimate.interval.high) == wilson(hits, total)


def test_slides_of_a_patient_widen_the_interval(
    scored: Callable[..., tuple[Scored, Floats]],
) -> None:
    found, weights = scored(patients=60, slides=6, signal=1.2)
    estimate = binary.sensitivity(found, weights)
    assert estimate.method == BOOTSTRAP
    low, high = wilson(int((found.truth & found.called).sum()), int(found.truth.sum()))
    assert estimate.interval.high - estimate.interval.low > 1.2 * (high - low)


def test_nothing_wrong_is_not_certainty(scored: Callable[..., tuple[Scored, Floats]]) -> None:
    found, weights = scored(patients=40, slides=3, seeds=2, signal=8.0)
    assert found.right.all()
    estimates = by_name(
        [
            *binary.ranking(found, weights),
            *binary.at_the_operating_point(found, weights, prevalence=0.05),
        ]
    )
    for name in ("sensitivity", "specificity", "ppv", "npv"):
        assert estimates[name].method == "Wilson, patients counted"
        bounds = estimates[name].interval
        assert (bounds.value, bounds.low, bounds.high) == (1.0, *wilson(20, 20))
    low, _ = wilson(20, 20)
    ppv = estimates["ppv_at_prevalence"].interval
    assert ppv.low == pytest.approx(low * 0.05 / (low * 0.05 + (1 - low) * 0.95))
    assert (ppv.value, ppv.high) == (1, 1)
    for name in ("auprc", "f1", "kappa"):
        assert estimates[name].method == NONE
        assert np.isnan(estimates[name].interval.low)
        assert estimates[name].interval.value == 1


def test_few_patients_of_a_class_have_no_bootstrap_interval(
    scored: Callable[..., tuple[Scored, Floats]],
) -> None:
    found, weights = scored(patients=60, slides=2, signal=1.2)
    positives = np.unique(found.patients[found.truth])
    few, enough = (
        found.at(~found.truth | np.isin(found.patients, positives[:n]))
        for n in (FEWEST - 1, FEWEST)
    )
    for part, method in ((few, "none: too few: 4 patients of a class"), (enough, BOOTSTRAP)):
        estimates = by_name(
            [
                *binary.ranking(part, weights),
                *binary.at_the_operating_point(part, weights, prevalence=None),
                *over_classes(part, weights),
            ]
        )
        for name in ("auroc_bootstrap", "auprc", "balanced_accuracy", "f1", "macro_auroc"):
            assert estimates[name].method == method
            assert np.isfinite(estimates[name].interval.value)
            assert np.isnan(estimates[name].interval.low) == (part is few)
        wilsons = "Wilson, patients counted" if part is few else BOOTSTRAP
        assert estimates["sensitivity"].method == wilsons
        assert estimates["specificity"].method == BOOTSTRAP


def test_more_seeds_do_not_narrow_an_interval(
    scored: Callable[..., tuple[Scored, Floats]],
) -> None:
    found, weights = scored(patients=60, seeds=1, signal=1.2)
    once = binary.sensitivity(found, weights)
    rows = np.tile(np.arange(len(found.truth)), 4)
    seeds = np.repeat(np.arange(4), len(found.truth))
    same = found.at(rows)
    object.__setattr__(same.test, "seeds", seeds)
    again = bootstrapped("f1", same, lambda part: np.full(301, float(part.truth.mean())))
    assert again.by_seed == (0.5,) * 4
    four = binary.sensitivity(same, weights)
    assert four.by_seed == once.by_seed * 4
    assert four.method == BOOTSTRAP
    width = once.interval.high - once.interval.low
    assert four.interval.high - four.interval.low == pytest.approx(width, rel=0.2)


def test_a_proportion_of_nothing_is_no_number(
    scored: Callable[..., tuple[Scored, Floats]],
) -> None:
    found, weights = scored(patients=30)
    none = proportion("error", found, lambda s: np.zeros_like(s.right), lambda s: ~s.right, weights)
    assert np.isnan(none.interval.value)
    assert none.method == UNDEFINED
