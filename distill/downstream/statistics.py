"""Measures of predictions with intervals over patients, and differences between two methods.

Everything is computed for many weightings of the patients at once: row 0 counts every patient
once and gives the value, each further row is one bootstrap sample of patients and gives the
interval. Two methods measured with the same rows are paired.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
RESAMPLES = 2000
CHUNK = 1 << 24  # weights in memory at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate with its 95 % confidence interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if not (np.isfinite(self.low) and np.isfinite(self.high)):
            return f"{self.value:.3f} (no interval)"
        return f"{self.value:.3f} (95 % CI {self.low:.3f}-{self.high:.3f})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Method A minus method B on the same samples, with the two-sided p of no difference."""

    interval: Interval
    p: float


def patient_weights(patients: int, *, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """How often each patient counts: (1 + `resamples`, `patients`), the first row all ones.

    The cluster bootstrap: patients are drawn with replacement, each with all samples
    (Field and Welsh, Journal of the Royal Statistical Society B 69:369, 2007).
    """
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(patients, np.full(patients, 1 / patients), size=resamples)
    return np.concatenate([np.ones((1, patients)), drawn])


def confusions(
    targets: NDArray[np.integer],
    predicted: NDArray[np.integer],
    patients: NDArray[np.integer],
    weights: Floats,
    *,
    n_classes: int,
) -> Floats:
    """Weighted confusion matrices, (R, C, C): rows are the truth, columns the prediction.

    Parameters
    ----------
    targets, predicted
        (N,) classes.
    patients
        (N,) column of `weights` each sample belongs to.
    weights
        (R, P) from `patient_weights`.
    """
    by_patient = np.zeros((weights.shape[1], n_classes, n_classes))
    np.add.at(by_patient, (patients, targets, predicted), 1)
    return np.asarray(np.einsum("rp,pij->rij", weights, by_patient, optimize=True))


def accuracy(matrices: Floats) -> Floats:
    """Share that is right, (R,)."""
    return share(np.trace(matrices, axis1=1, axis2=2), matrices.sum((1, 2)))


def balanced_accuracy(matrices: Floats) -> Floats:
    """Mean recall, (R,), over the classes that occur: see `mean_of_classes`."""
    right = np.diagonal(matrices, axis1=1, axis2=2)
    return mean_of_classes(share(right, matrices.sum(2)))


def macro_f1(matrices: Floats) -> Floats:
    """Mean F1, (R,), over the classes in truth or prediction: see `mean_of_classes`."""
    right = np.diagonal(matrices, axis1=1, axis2=2)
    return mean_of_classes(share(2 * right, matrices.sum(1) + matrices.sum(2)))


def mean_iou(matrices: Floats) -> Floats:
    """Mean intersection over union, (R,), over the classes as in `macro_f1`."""
    both = np.diagonal(matrices, axis1=1, axis2=2)
    return mean_of_classes(share(both, matrices.sum(1) + matrices.sum(2) - both))


def auroc(
    positive: NDArray[np.bool_],
    scores: NDArray[np.floating],
    patients: NDArray[np.integer],
    weights: Floats,
) -> Floats:
    """Area under the ROC curve, (R,), ties counted half; NaN where a class is missing.

    The weighted Mann-Whitney statistic: the share of pairs of a positive and a negative sample
    in which the positive one scores higher. Where there are fewer patients than weightings the
    pairs are counted once for each two patients, otherwise once for each weighting.
    """
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))  # of runs of equal scores
    truth, owner, size = positive[order], patients[order], weights.shape[1]
    by_patients = size < len(weights)
    counted = np.eye(size) if by_patients else weights
    rows = max(1, CHUNK // len(scores))
    parts = []
    for begin in range(0, len(counted), rows):
        below = _negatives_below(counted[begin : begin + rows, owner], truth, starts)
        if by_patients:  # pairs won by each patient's positives against one patient's negatives
            parts.append(below @ np.eye(size)[owner[truth]])
        else:
            parts.append((below * weights[begin : begin + rows, owner[truth]]).sum(1))
    won = np.concatenate(parts)
    if by_patients:
        won = ((weights @ won) * weights).sum(1)
    above, below = (weights @ np.bincount(owner[side], minlength=size) for side in (truth, ~truth))
    return share(won, above * below)


def _negatives_below(
    weight: Floats, truth: NDArray[np.bool_], starts: NDArray[np.integer]
) -> Floats:
    """How many negatives lie below each positive, (R, positives); of equal ones half.

    Samples are sorted by score; `weight` is (R, N), `starts` where each run of equals begins.
    """
    run = np.add.reduceat(weight * ~truth, starts, axis=1)
    lower = np.cumsum(run, axis=1) - run / 2
    lengths = np.diff(starts, append=len(truth))
    return np.asarray(np.repeat(lower, lengths, axis=1)[:, truth])


def macro_auroc(
    targets: NDArray[np.integer],
    probs: NDArray[np.floating],
    patients: NDArray[np.integer],
    weights: Floats,
) -> Floats:
    """AUROC of two classes, or the mean of each class against the rest, (R,)."""
    n_classes = probs.shape[1]
    classes = [1] if n_classes == 2 else range(n_classes)
    each = [auroc(targets == c, probs[:, c], patients, weights) for c in classes]
    return mean_of_classes(np.stack(each, axis=1))


def weighted_mean(
    values: NDArray[np.floating], patients: NDArray[np.integer], weights: Floats
) -> Floats:
    """Mean of a number a sample has, (R,)."""
    size = weights.shape[1]
    total = np.bincount(patients, values, minlength=size)
    return share(weights @ total, weights @ np.bincount(patients, minlength=size))


def interval(values: Floats) -> Interval:
    """The value of row 0 with the percentile interval of the other rows that are not NaN.

    It is too narrow where few patients say anything, such as fewer than five of a class. The
    bounds are NaN where every row is.
    """
    drawn = values[1:][np.isfinite(values[1:])]
    low, high = np.percentile(drawn, [2.5, 97.5]) if len(drawn) else (np.nan, np.nan)
    return Interval(value=float(values[0]), low=float(low), high=float(high))


def difference(a: Floats, b: Floats) -> Difference:
    """Method A minus method B, measured with the same weights.

    The p inverts the percentile interval: twice the share of resamples on the far side of 0,
    each counted with one more so that p is never 0 (Davison and Hinkley, 1997).
    """
    gap = a - b
    drawn = gap[1:][np.isfinite(gap[1:])]
    far = min((drawn <= 0).sum(), (drawn >= 0).sum())
    return Difference(interval=interval(gap), p=min(1.0, 2 * (float(far) + 1) / (len(drawn) + 1)))


def holm(ps: Sequence[float]) -> list[float]:
    """P-values corrected for their number (Holm, Scandinavian Journal of Statistics 6:65, 1979).

    Examples
    --------
    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(ps, kind="stable")
    stepped = np.asarray(ps, float)[order] * np.arange(len(ps), 0, -1)
    corrected = np.empty(len(ps))
    corrected[order] = np.minimum(1, np.maximum.accumulate(stepped))
    return [float(p) for p in corrected]


def share(part: Floats, whole: Floats) -> Floats:
    """`part` / `whole`, NaN where the whole is 0."""
    return np.asarray(np.divide(part, whole, out=np.full_like(whole, np.nan), where=whole > 0))


def mean_of_classes(values: Floats) -> Floats:
    """Mean over axis 1 of (R, C), over the classes that row 0, the sample itself, has.

    NaN in a row that lacks one of them: the mean of the others is another measure.
    """
    has = np.isfinite(values[0])
    return share(values[:, has].sum(1), np.full(len(values), float(has.sum())))


def mean_present(values: Floats) -> Floats:
    """Mean over axis 1, of trainings or folds, of what is not NaN; NaN where nothing is."""
    present = np.isfinite(values)
    return share(np.where(present, values, 0).sum(1), present.sum(1).astype(float))
