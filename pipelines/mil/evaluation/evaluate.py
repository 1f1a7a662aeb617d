"""The whole evaluation: choose on the tuning slides, freeze, and measure the test slides once."""

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from distill.downstream.statistics import RESAMPLES, Floats, patient_weights, weighted_mean
from pipelines.errors import UsageError
from pipelines.mil.evaluation import binary, curves
from pipelines.mil.evaluation.calibration import (
    BINS,
    Reliability,
    brier,
    centred,
    ece_by_chance,
    expected_calibration_error,
    reliability,
)
from pipelines.mil.evaluation.classes import grades, positive_class
from pipelines.mil.evaluation.criterion import Criterion
from pipelines.mil.evaluation.curves import Curve
from pipelines.mil.evaluation.estimates import Estimate, bootstrapped, proportion
from pipelines.mil.evaluation.multiclass import confusion_matrices, over_classes
from pipelines.mil.evaluation.operating_point import Frozen, freeze
from pipelines.mil.evaluation.predictions import Predictions
from pipelines.mil.evaluation.scored import Scored, over_seeds, score_test
from pipelines.mil.evaluation.subgroups import Subgroup, by_subgroup, check_columns

SLIDES_A_BIN = 20  # of the reliability curve, so that a point of it means something


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is asked of an evaluation.

    Attributes
    ----------
    positive
        The class that a positive verdict means; None takes the last of two classes, and with
        more classes measures none against the rest.
    prevalence
        Share of positive slides to restate PPV and NPV for, 0-1.
    certain_error
        Share of patients with a verdict outside the uncertain band who may have a wrong one: see
        `pipelines.mil.evaluation.band`.
    by
        Columns to make subgroups of.
    ordered
        The classes from the lowest grade on, where they are grades.
    """

    positive: str | None = None
    prevalence: float | None = None
    criterion: Criterion
    certain_error: float = 0.05
    by: tuple[str, ...] = ()
    ordered: tuple[str, ...] = ()
    resamples: int = RESAMPLES
    seed: int = 0

    def __post_init__(self) -> None:
        if self.prevalence is not None and not 0 < self.prevalence < 1:
            raise UsageError(f"--prevalence {self.prevalence:g}: a share between 0 and 1")
        if not 0 <= self.certain_error < 1:
            raise UsageError(f"--certain-error {self.certain_error:g}: a share from 0 to below 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How far probabilities are from frequencies, before and after the temperature.

    Attributes
    ----------
    by_chance
        The expected calibration error that exact probabilities would show on these slides.
    """

    before: list[Estimate]
    after: list[Estimate]
    by_chance: float
    curve_before: Reliability
    curve_after: Reliability


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Everything measured; pictures, page and JSON are made of it.

    Attributes
    ----------
    measures
        Of the positive class against the rest; empty without one.
    class_measures
        Of all classes at once; empty with two.
    confusion
        (C, C) slides, averaged over seeds, rows the truth; with two classes the columns are the
        verdicts at the operating point, with more the most probable class.
    certain
        What the uncertain band does on the test slides.
    """

    settings: Settings
    positive: str | None
    scored: Scored
    frozen: list[Frozen]
    measures: list[Estimate]
    class_measures: list[Estimate]
    confusion: Floats
    calibration: Calibration
    certain: list[Estimate]
    coverage: Curve
    roc: dict[str, Curve]
    precision_recall: Curve | None
    net_benefit: tuple[Curve, Curve] | None
    subgroups: list[Subgroup]


def evaluate(predictions: Predictions, settings: Settings) -> Evaluation:
    """Measure predictions as `settings` ask.

    Raises
    ------
    UsageError
        If a class or a column is unknown.
    PredictionsError
        If the tuning or the test slides lack a class.
    """
    positive = positive_class(predictions.classes, settings.positive)
    ordered = grades(predictions.classes, settings.ordered)
    check_columns(predictions, settings.by)
    frozen = freeze(
        predictions,
        positive=positive,
        criterion=settings.criterion,
        error=settings.certain_error,
    )
    scored = score_test(predictions, frozen)
    weights = patient_weights(
        int(scored.patients.max()) + 1, resamples=settings.resamples, seed=settings.seed
    )
    of_classes = [positive] if positive is not None else range(len(predictions.classes))
    two = len(predictions.classes) == 2
    return Evaluation(
        settings=settings,
        positive=None if positive is None else predictions.classes[positive],
        scored=scored,
        frozen=frozen,
        measures=[] if positive is None else _measures(scored, weights, settings.prevalence),
        class_measures=[] if two else over_classes(scored, weights, ordered=ordered),
        confusion=_confusion(scored, two=two),
        calibration=_calibration(scored, weights),
        certain=_certain(scored, weights),
        coverage=curves.error_by_coverage(scored, weights),
        roc={predictions.classes[c]: curves.roc(scored, weights, c) for c in of_classes},
        precision_recall=None if positive is None else curves.precision_recall(scored, weights),
        net_benefit=None if positive is None else curves.net_benefit(scored, weights),
        subgroups=by_subgroup(scored, weights, settings.by),
    )


def _measures(scored: Scored, weights: Floats, prevalence: float | None) -> list[Estimate]:
    return [
        *binary.ranking(scored, weights),
        *binary.at_the_operating_point(scored, weights, prevalence=prevalence),
    ]


def _confusion(scored: Scored, *, two: bool) -> Floats:
    def matrix(part: Scored) -> Floats:
        once = np.ones((1, int(scored.patients.max()) + 1))
        if not two:
            return confusion_matrices(part, once)
        verdicts = np.where(part.called, part.index, 1 - part.index)
        counts = np.zeros((1, 2, 2))
        np.add.at(counts[0], (part.test.targets, verdicts), 1)
        return counts

    return np.asarray(over_seeds(scored, matrix)[0][0])


def _judged(part: Scored, *, raw: bool) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Probabilities (N, C), and the `prob` and `outcome` that calibration compares."""
    probs = np.asarray(softmax(part.test.logits, axis=1)) if raw else part.probs
    if part.positive is not None:
        return probs, probs[:, part.index], part.truth
    return probs, probs.max(1), np.asarray(probs.argmax(1) == part.test.targets)


def _calibration(scored: Scored, weights: Floats) -> Calibration:
    def squared_error(part: Scored, *, raw: bool) -> Floats:
        probs, prob, outcome = _judged(part, raw=raw)
        error = brier(probs, part.test.targets) if part.positive is None else (prob - outcome) ** 2
        return weighted_mean(error, part.patients, weights)

    def ece(part: Scored, *, raw: bool) -> Floats:
        _, prob, outcome = _judged(part, raw=raw)
        return centred(expected_calibration_error(prob, outcome, part.patients, weights))

    def curve(*, raw: bool) -> Reliability:
        _, prob, outcome = _judged(scored, raw=raw)
        n_slides = len(np.unique(scored.test.slide_ids))
        bins = int(np.clip(n_slides // SLIDES_A_BIN, 3, BINS))
        return reliability(prob, outcome, scored.patients, weights, bins=bins)

    sides = [
        [
            bootstrapped("ece", scored, partial(ece, raw=raw)),
            bootstrapped("brier", scored, partial(squared_error, raw=raw)),
        ]
        for raw in (True, False)
    ]
    by_chance = [ece_by_chance(_judged(part, raw=False)[1]) for part in scored.seeds()]
    return Calibration(
        before=sides[0],
        after=sides[1],
        by_chance=float(np.mean(by_chance)),
        curve_before=curve(raw=True),
        curve_after=curve(raw=False),
    )


def _certain(scored: Scored, weights: Floats) -> list[Estimate]:
    """Coverage and error outside the uncertain band, and with a positive class both kinds."""

    def everything(part: Scored) -> NDArray[np.bool_]:
        return np.ones(len(part.right), bool)

    estimates = [
        proportion("coverage", scored, everything, lambda s: s.is_certain, weights),
        proportion("error", scored, lambda s: s.is_certain, lambda s: ~s.right, weights),
    ]
    if scored.positive is None:
        return estimates
    return [
        *estimates,
        proportion(
            "sensitivity", scored, lambda s: s.is_certain & s.truth, lambda s: s.called, weights
        ),
        proportion(
            "specificity", scored, lambda s: s.is_certain & ~s.truth, lambda s: ~s.called, weights
        ),
    ]
