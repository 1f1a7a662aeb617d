"""DeLong's interval of the AUROC, for slides of the same patient and for several seeds too."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import norm, rankdata

from distill.downstream.statistics import Floats, Interval
from pipelines.mil import statistics

Z = float(norm.ppf(0.975))


def placements(positive: NDArray[np.bool_], scores: Floats) -> tuple[Floats, Floats]:
    """The structural components of DeLong, DeLong and Clarke-Pearson (Biometrics 44:837, 1988).

    Returns
    -------
    For each positive slide the share of negatives below it, and for each negative the share of
    positives above it; ties count half. Both have the AUROC as their mean. Computed from ranks
    (Sun and Xu, IEEE Signal Processing Letters 21:1389, 2014).
    """
    ranks = rankdata(scores)
    of_positives = ranks[positive] - rankdata(scores[positive])
    of_negatives = ranks[~positive] - rankdata(scores[~positive])
    return of_positives / (~positive).sum(), 1 - of_negatives / positive.sum()


def auroc_variance(
    positive: NDArray[np.bool_],
    scores: Floats,
    patients: NDArray[np.integer],
    seeds: NDArray[np.integer],
) -> tuple[list[float], float]:
    """AUROC of each seed, and the variance of their mean.

    The components are summed a patient before they are squared (Obuchowski, Biometrics 53:567,
    1997), which is DeLong's variance where each patient has one slide; over seeds they are
    averaged first, since the seeds share their slides.

    Parameters
    ----------
    positive, scores, patients, seeds
        (N,) truth, score, owner's number and seed of each slide; each seed has both classes.

    Returns
    -------
    The variance is NaN with fewer than two patients of a class.
    """
    values, moves = [], []
    size = int(patients.max()) + 1
    for rows in _by_seed(seeds):
        truth, owner = positive[rows], patients[rows]
        above, below = placements(truth, scores[rows])
        value = float(above.mean())
        values.append(value)
        moves.append(
            [
                np.bincount(owner[truth], above - value, size) / len(above),
                np.bincount(owner[~truth], below - value, size) / len(below),
            ]
        )
    of_positives, of_negatives = np.mean(moves, axis=0)
    several = [
        len(np.unique(patients[side])) for side in (positive, ~positive, np.ones_like(positive))
    ]
    if min(several) < 2:
        return values, float("nan")
    corrections = [count / (count - 1) for count in several]
    terms = [of_positives**2, of_negatives**2, 2 * of_positives * of_negatives]
    variance = sum(c * float(t.sum()) for c, t in zip(corrections, terms, strict=True))
    return values, variance


def auroc(
    positive: NDArray[np.bool_],
    scores: Floats,
    patients: NDArray[np.integer],
    seeds: NDArray[np.integer],
) -> tuple[Interval, str, list[float]]:
    """AUROC averaged over seeds with its 95 % interval, how that was made, and that of each seed.

    The interval is symmetric on the logit scale, which keeps it within 0-1 (Pepe, 2003). Where
    the variance is 0, as when the classes separate perfectly, it would be a point; there it is
    Newcombe's (`pipelines.mil.statistics.auroc`).
    """
    values, variance = auroc_variance(positive, scores, patients, seeds)
    value = float(np.mean(values))
    if variance > 0 and 0 < value < 1:
        step = Z * np.sqrt(variance) / (value * (1 - value))
        low, high = expit(logit(value) - step), expit(logit(value) + step)
        clustered = len(np.unique(patients)) < len(positive) / len(np.unique(seeds))
        method = "DeLong, slides grouped by patient" if clustered else "DeLong"
        return Interval(value=value, low=float(low), high=float(high)), method, values
    each = [
        statistics.auroc(positive[rows], scores[rows], patients[rows].astype(str).tolist())
        for rows in _by_seed(seeds)
    ]
    low, high = (float(np.mean([getattr(i, end) for i in each])) for end in ("low", "high"))
    return Interval(value=value, low=low, high=high), "Newcombe, patients counted", values


def _by_seed(seeds: NDArray[np.integer]) -> Iterator[NDArray[np.bool_]]:
    return (seeds == seed for seed in np.unique(seeds))
