"""Numbers about predictions, with intervals that stay honest on few patients."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import norm
from sklearn.metrics import roc_auc_score, roc_curve

from distill.downstream.statistics import Interval

ROUNDING = 1e-9  # 3 of 30 is a tenth
EDGE = 1e-9  # distance kept from the ends of 0-1 and from the estimate when solving for bounds


def auroc(
    positive: NDArray[np.bool_], scores: NDArray[np.floating], patients: Sequence[str]
) -> Interval:
    """Area under the ROC curve with a score-type interval.

    The interval is Newcombe's method 5 (Statistics in Medicine 25:559, 2006), the AUROC's
    counterpart of Wilson's: it does not collapse to a point when the classes separate
    perfectly, as a bootstrap's does. Its sample sizes are numbers of *patients*, since the
    slides of a patient are not independent.

    Parameters
    ----------
    positive, scores
        (N,) truth and score of each slide; both classes must occur.
    patients
        Owner of each slide.
    """
    value = float(roc_auc_score(positive, scores))
    owners = np.asarray(patients)
    m, n = len(set(owners[positive])), len(set(owners[~positive]))
    z = float(norm.ppf(0.975))
    even = (m + n) / 2 - 1

    def excess(theta: float) -> float:
        spread = 1 + even * (1 - theta) / (2 - theta) + even * theta / (1 + theta)
        return (value - theta) ** 2 - z**2 * theta * (1 - theta) * spread / (m * n)

    # 0 and 1 are roots themselves when the value is 0 or 1, so the search stops short of them.
    low = 0.0 if value <= 2 * EDGE else float(brentq(excess, EDGE, value - EDGE))
    high = 1.0 if value >= 1 - 2 * EDGE else float(brentq(excess, value + EDGE, 1 - EDGE))
    return Interval(value=value, low=low, high=high)


def youden_threshold(positive: NDArray[np.bool_], scores: NDArray[np.floating]) -> float:
    """The threshold with the largest sensitivity + specificity − 1, between two scores.

    Lying halfway between the scores it separates, it does not depend on which side ties fall.
    """
    false_rate, true_rate, thresholds = roc_curve(positive, scores)
    # The first threshold is infinite and calls nothing positive. The last one calls everything
    # positive and has the same index, 0, so it stands in when the scores are of no use.
    best = float(thresholds[1 + int(np.argmax((true_rate - false_rate)[1:]))])
    return halfway_below(scores, best)


def halfway_below(scores: NDArray[np.floating], threshold: float) -> float:
    """Halfway from `threshold`, one of the `scores`, to the next lower one, if there is one."""
    below = scores[scores < threshold]
    return (threshold + float(below.max())) / 2 if len(below) else threshold
