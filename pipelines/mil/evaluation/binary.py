"""Measures of one class against the rest, at the frozen operating point and over all of them."""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from distill.downstream import statistics
from distill.downstream.statistics import Floats, Interval, share
from pipelines.mil.evaluation import delong
from pipelines.mil.evaluation.estimates import (
    BOOTSTRAP,
    Among,
    Estimate,
    bootstrapped,
    proportion,
    share_among,
)
from pipelines.mil.evaluation.scored import Scored

SIDES: tuple[Among, Among] = (lambda s: s.truth, lambda s: ~s.truth)


def ranking(scored: Scored, weights: Floats) -> list[Estimate]:
    """AUROC and AUPRC: how well the scores sort, whatever the operating point."""

    def area(part: Scored) -> Floats:
        return statistics.auroc(part.truth, part.score, part.patients, weights)

    def precision(part: Scored) -> Floats:
        return average_precision(part.truth, part.score, part.patients, weights)

    resampled = bootstrapped("auroc_bootstrap", scored, area, sides=SIDES)
    estimates = [
        auroc_estimate(scored),
        resampled,
        bootstrapped("auprc", scored, precision, sides=SIDES),
    ]
    if len(np.unique(scored.test.folds)) > 1:

        def within(part: Scored) -> Floats:
            folds = [part.at(part.test.folds == fold) for fold in np.unique(part.test.folds)]
            whole = [p for p in folds if 0 < p.truth.sum() < len(p.truth)]
            if not whole:
                return np.full(len(weights), np.nan)
            return statistics.mean_present(np.stack([area(p) for p in whole], axis=1))

        estimates.insert(2, bootstrapped("auroc_within_folds", scored, within, sides=SIDES))
    return estimates


def auroc_estimate(scored: Scored) -> Estimate:
    """AUROC with DeLong's interval."""
    bounds, method, by_seed = delong.auroc(
        scored.truth, scored.score, scored.patients, scored.test.seeds
    )
    return Estimate(name="auroc", interval=bounds, method=method, by_seed=tuple(by_seed))


def sensitivity(scored: Scored, weights: Floats) -> Estimate:
    """Share of the positive slides that are called positive."""
    return proportion("sensitivity", scored, lambda s: s.truth, lambda s: s.called, weights)


def specificity(scored: Scored, weights: Floats) -> Estimate:
    """Share of the negative slides that are called negative."""
    return proportion("specificity", scored, lambda s: ~s.truth, lambda s: ~s.called, weights)


def at_the_operating_point(
    scored: Scored, weights: Floats, *, prevalence: float | None
) -> list[Estimate]:
    """Everything that depends on the frozen threshold."""

    def matrices(part: Scored) -> Floats:
        sides = part.truth.astype(np.int64), part.called.astype(np.int64)
        return statistics.confusions(*sides, part.patients, weights, n_classes=2)

    measured = partial(bootstrapped, scored=scored, sides=SIDES)
    found, spared = sensitivity(scored, weights), specificity(scored, weights)
    return [
        found,
        spared,
        proportion("ppv", scored, lambda s: s.called, lambda s: s.truth, weights),
        proportion("npv", scored, lambda s: ~s.called, lambda s: ~s.truth, weights),
        *(at_prevalence(scored, weights, found, spared, prevalence) if prevalence else ()),
        measured("balanced_accuracy", measure=lambda s: statistics.balanced_accuracy(matrices(s))),
        measured("f1", measure=lambda s: f1(matrices(s))),
        measured("kappa", measure=lambda s: kappa(matrices(s))),
    ]


def predictive_values(
    found: Floats | float, spared: Floats | float, prevalence: float
) -> tuple[Floats, Floats]:
    """PPV and NPV by Bayes' rule from sensitivity, specificity and a prevalence, all 0-1.

    Examples
    --------
    >>> ppv, npv = predictive_values(0.9, 0.8, 0.1)  # of 1000: 90 of 270 and 720 of 730
    >>> round(float(ppv), 3), round(float(npv), 3)
    (0.333, 0.986)
    """
    sick, well = np.asarray(found, float), np.asarray(spared, float)
    true_positive, false_positive = sick * prevalence, (1 - well) * (1 - prevalence)
    true_negative, false_negative = well * (1 - prevalence), (1 - sick) * prevalence
    return (
        share(true_positive, true_positive + false_positive),
        share(true_negative, true_negative + false_negative),
    )


def at_prevalence(
    scored: Scored, weights: Floats, found: Estimate, spared: Estimate, prevalence: float
) -> list[Estimate]:
    """PPV and NPV where the share of positive slides is `prevalence`.

    Where sensitivity or specificity is 0 or 1 a resample cannot differ, so the bounds are those
    that both Wilson intervals give together, which is wider than needed rather than a point; and
    so they are where a side has fewer than `estimates.FEWEST` patients.
    """

    def of_part(part: Scored, which: int) -> Floats:
        both = (
            share_among(part, part.truth, part.called, weights),
            share_among(part, ~part.truth, ~part.called, weights),
        )
        return predictive_values(*both, prevalence)[which]

    is_at_an_end = bool({found.interval.value, spared.interval.value} & {0.0, 1.0})
    estimates = []
    for which, name in enumerate(("ppv_at_prevalence", "npv_at_prevalence")):
        estimate = bootstrapped(name, scored, partial(of_part, which=which), sides=SIDES)
        if estimate.method != BOOTSTRAP or is_at_an_end:
            low, high = (
                float(predictive_values(*ends, prevalence)[which])
                for ends in (
                    (found.interval.low, spared.interval.low),
                    (found.interval.high, spared.interval.high),
                )
            )
            estimate = Estimate(
                name=name,
                interval=Interval(value=estimate.interval.value, low=low, high=high),
                method="from the bounds of sensitivity and specificity",
                by_seed=estimate.by_seed,
            )
        estimates.append(estimate)
    return estimates


def f1(matrices: Floats) -> Floats:
    """F1 of the positive class, (R,), from (R, 2, 2)."""
    right = matrices[:, 1, 1]
    return share(2 * right, matrices[:, 1].sum(1) + matrices[:, :, 1].sum(1))


def kappa(matrices: Floats, *, quadratic: bool = False) -> Floats:
    """Cohen's kappa, (R,), from (R, C, C); weighted by squared distance for ordered classes.

    Cohen, Educational and Psychological Measurement 20:37, 1960; Psychological Bulletin 70:213,
    1968. NaN where truth and verdicts are all of one class.
    """
    steps = np.arange(matrices.shape[1])
    distance = (steps[:, None] - steps).astype(float)
    penalty = distance**2 if quadratic else (distance != 0).astype(float)
    expected = matrices.sum(2)[:, :, None] * matrices.sum(1)[:, None, :]
    total = matrices.sum((1, 2))
    by_chance = (penalty * expected).sum((1, 2))
    return 1 - share((penalty * matrices).sum((1, 2)) * total, by_chance)


def average_precision(
    positive: NDArray[np.bool_],
    scores: Floats,
    patients: NDArray[np.integer],
    weights: Floats,
) -> Floats:
    """Area under the precision-recall curve by steps, (R,), as scikit-learn defines it."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.diff(scores[order], append=-np.inf))  # of runs of equal scores
    truth, owner = positive[order], patients[order]
    areas = np.empty(len(weights))
    for number, row in enumerate(weights):
        counted = row[owner]
        hits, called = np.cumsum(counted * truth)[ends], np.cumsum(counted)[ends]
        gained = np.diff(hits, prepend=0.0)
        areas[number] = (gained * share(hits, called))[gained > 0].sum()
    return share(areas, weights @ np.bincount(owner[truth], minlength=weights.shape[1]))
