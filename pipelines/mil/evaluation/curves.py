"""Curves over all thresholds with a bootstrap band: ROC, precision-recall, net benefit, coverage.

Each is averaged over seeds at fixed places of its x axis, row 0 of the weights giving the line
and the others the band.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distill.downstream.statistics import Floats, share
from pipelines.mil.evaluation.scored import Scored, over_seeds
from pipelines.mil.statistics import ROUNDING

GRID = np.linspace(0, 1, 201)
RISKS = np.linspace(0.01, 0.99, 99)  # threshold probabilities of the decision curve
COVERAGES = np.linspace(0.05, 1, 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A line (K,) over `x` (K,) with a 95 % band; NaN where it is not defined."""

    x: Floats
    y: Floats
    low: Floats
    high: Floats


def _curve(x: Floats, scored: Scored, measure: Callable[[Scored], Floats]) -> Curve:
    values = over_seeds(scored, measure)[0]
    defined = np.isfinite(values[1:]).any(0)
    low, high = (np.full(len(x), np.nan) for _ in range(2))
    if defined.any():  # nowhere, for a class without a test slide
        low[defined], high[defined] = np.nanpercentile(values[1:, defined], [2.5, 97.5], axis=0)
    return Curve(x=x, y=values[0], low=low, high=high)


def _cumulated(
    order: NDArray[np.intp], values: Floats, flags: NDArray[np.bool_], part: Scored, row: Floats
) -> tuple[Floats, Floats]:
    """How many slides with and without `flags` come up to each end of a run of equal `values`."""
    ends = np.flatnonzero(np.diff(values[order], append=-np.inf))
    counted, flagged = row[part.patients[order]], flags[order]
    return np.cumsum(counted * flagged)[ends], np.cumsum(counted * ~flagged)[ends]


def roc(scored: Scored, weights: Floats, truth_of: int) -> Curve:
    """Sensitivity at each false positive rate, for the class `truth_of` against the rest."""

    def measure(part: Scored) -> Floats:
        truth, scores = part.test.targets == truth_of, _score(part, truth_of)
        order = np.argsort(-scores, kind="stable")
        rows = np.full((len(weights), len(GRID)), np.nan)
        for number, row in enumerate(weights):
            hits, alarms = _cumulated(order, scores, truth, part, row)
            if hits[-1] > 0 and alarms[-1] > 0:
                false_rate = np.concatenate([[0.0], alarms / alarms[-1]])
                rows[number] = np.interp(GRID, false_rate, np.concatenate([[0.0], hits / hits[-1]]))
        return rows

    return _curve(GRID, scored, measure)


def precision_recall(scored: Scored, weights: Floats) -> Curve:
    """Precision at the highest threshold that reaches each recall."""

    def measure(part: Scored) -> Floats:
        scores = part.score
        order = np.argsort(-scores, kind="stable")
        rows = np.full((len(weights), len(GRID)), np.nan)
        for number, row in enumerate(weights):
            hits, alarms = _cumulated(order, scores, part.truth, part, row)
            if hits[-1] > 0:
                wanted = np.maximum(GRID - ROUNDING, ROUNDING)
                at = np.searchsorted(hits / hits[-1], wanted, side="left")
                rows[number] = share(hits, hits + alarms)[np.minimum(at, len(hits) - 1)]
        return rows

    return _curve(GRID, scored, measure)


def net_benefit(scored: Scored, weights: Floats) -> tuple[Curve, Curve]:
    """Net benefit of the model and of calling every slide positive (Vickers and Elkin, 2006).

    At a threshold probability t the net benefit is TP / n - FP / n * t / (1 - t): true positives
    a slide, less false ones at the price that t stands for. Calling none positive has 0.
    """
    price = RISKS / (1 - RISKS)

    def counts(part: Scored, called: NDArray[np.bool_]) -> Floats:
        gained = np.zeros((weights.shape[1], len(RISKS)))
        worth = np.where(part.truth[:, None], 1.0, -price)
        np.add.at(gained, part.patients, worth * called)
        whole = weights @ np.bincount(part.patients, minlength=weights.shape[1])
        return share(weights @ gained, np.repeat(whole[:, None], len(RISKS), axis=1))

    def of_model(part: Scored) -> Floats:
        return counts(part, part.probs[:, part.index][:, None] >= RISKS)

    def of_all(part: Scored) -> Floats:
        return counts(part, np.ones((len(part.truth), len(RISKS)), bool))

    return _curve(RISKS, scored, of_model), _curve(RISKS, scored, of_all)


def error_by_coverage(scored: Scored, weights: Floats) -> Curve:
    """Share of wrong verdicts among the surest slides, at each share of slides kept."""

    def measure(part: Scored) -> Floats:
        order = np.argsort(-part.margin, kind="stable")
        rows = np.full((len(weights), len(COVERAGES)), np.nan)
        for number, row in enumerate(weights):
            right, wrong = _cumulated(order, part.margin, part.right, part, row)
            kept = right + wrong
            # The fewest slides that make up the share, whole runs of equal margins.
            at = np.searchsorted(kept, (COVERAGES - ROUNDING) * kept[-1], side="left")
            rows[number] = share(wrong, kept)[at]
        return rows

    return _curve(COVERAGES, scored, measure)


def _score(part: Scored, index: int) -> Floats:
    return part.probs[:, index] if part.positive != index else part.score
