"""Measures of several classes at once, each slide getting the most probable one."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from distill.downstream import statistics
from distill.downstream.statistics import Floats
from pipelines.mil.evaluation.binary import kappa
from pipelines.mil.evaluation.estimates import Among, Estimate, bootstrapped
from pipelines.mil.evaluation.scored import Scored


def over_classes(scored: Scored, weights: Floats, *, ordered: Sequence[int] = ()) -> list[Estimate]:
    """Macro AUROC one against the rest, balanced accuracy, macro F1 and kappa.

    `ordered`, the numbers of classes that are grades from the lowest on, adds the kappa weighted
    by squared distance.
    """

    def area(part: Scored) -> Floats:
        return statistics.macro_auroc(part.test.targets, part.probs, part.patients, weights)

    def matrices(part: Scored) -> Floats:
        return confusion_matrices(part, weights)

    measured = partial(
        bootstrapped, scored=scored, sides=[is_class(c) for c in np.unique(scored.test.targets)]
    )
    estimates = [
        measured("macro_auroc", measure=area),
        measured(
            "accuracy_balanced_over_classes",
            measure=lambda s: statistics.balanced_accuracy(matrices(s)),
        ),
        measured("macro_f1", measure=lambda s: statistics.macro_f1(matrices(s))),
        measured("kappa_over_classes", measure=lambda s: kappa(matrices(s))),
    ]
    if ordered:
        grades = np.ix_(range(len(weights)), ordered, ordered)
        weighted = measured(
            "quadratic_kappa", measure=lambda s: kappa(matrices(s)[grades], quadratic=True)
        )
        estimates.append(weighted)
    return estimates


def is_class(index: int) -> Among:
    """Which slides are truly of a class."""
    return lambda part: np.asarray(part.test.targets == index)


def confusion_matrices(part: Scored, weights: Floats) -> Floats:
    """(R, C, C) of the most probable class; rows are the truth."""
    return statistics.confusions(
        part.test.targets,
        np.asarray(part.logits.argmax(1)),
        part.patients,
        weights,
        n_classes=len(part.test.classes),
    )
