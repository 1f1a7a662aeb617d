"""How well nuclei are segmented: Dice, AJI, AJI+, and detection, segmentation, panoptic quality.

Dice is of the foreground. AJI: Kumar et al., IEEE Trans Med Imaging 36:1550-1560, 2017. AJI+,
which matches one to one, and panoptic quality for nuclei: Graham et al., Medical Image Analysis
58:101563, 2019; panoptic quality itself: Kirillov et al., CVPR 2019.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from distill.downstream.statistics import interval, patient_weights, weighted_mean

MATCH_IOU = 0.5  # above it, a match is unique


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """The measures of one image, each 0-1; NaN where truth and prediction are both empty."""

    dice: float
    aji: float
    aji_plus: float
    dq: float
    sq: float
    pq: float


SCORE_NAMES = tuple(field.name for field in fields(Scores))


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over images with its 95 % bootstrap interval; NaN ends with fewer than two cases."""

    mean: float
    low: float
    high: float


def score(truth: NDArray[np.integer], predicted: NDArray[np.integer]) -> Scores:
    """Compare two instance maps.

    Parameters
    ----------
    truth, predicted
        (H, W), 0 for background and one positive number a nucleus.

    Raises
    ------
    ValueError
        If the two differ in shape.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"truth is {truth.shape}, the prediction {predicted.shape}")
    overlap = count_overlap(truth, predicted)
    if overlap.size == 1:
        return Scores(**dict.fromkeys(SCORE_NAMES, float("nan")))
    of_truth, of_predicted = overlap[1:].sum(1), overlap[:, 1:].sum(0)
    shared = overlap[1:, 1:]
    union = of_truth[:, None] + of_predicted[None] - shared
    iou = shared / union

    found = np.flatnonzero(shared.any(axis=1))
    best = iou[found].argmax(axis=1) if len(found) else found
    matched = iou[iou > MATCH_IOU]
    dq = 2 * len(matched) / (len(of_truth) + len(of_predicted))
    sq = float(matched.mean()) if len(matched) else 0.0
    return Scores(
        dice=float(2 * shared.sum() / (of_truth.sum() + of_predicted.sum())),
        aji=_aji(shared, union, of_truth, of_predicted, found, best),
        aji_plus=_aji(shared, union, of_truth, of_predicted, *match_one_to_one(iou)),
        dq=dq,
        sq=sq,
        pq=dq * sq,
    )


def match_one_to_one(
    iou: NDArray[np.float64],
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the matching with the greatest sum of IoU, each above 0."""
    rows, columns = linear_sum_assignment(-iou)
    found = iou[rows, columns] > 0
    return rows[found], columns[found]


def summarise(
    scores: Sequence[Scores], *, cases: Sequence[str] | None = None, seed: int = 0
) -> dict[str, Estimate]:
    """Mean of each measure over images, with the interval from resampling cases.

    Images where a measure is NaN do not count for it. Without `cases` each image is its own.
    """
    table = np.array([astuple(of_image) for of_image in scores]).reshape(-1, len(SCORE_NAMES))
    names = np.arange(len(table)) if cases is None else np.asarray(cases)
    return {
        name: _estimate(column[~np.isnan(column)], names[~np.isnan(column)], seed)
        for name, column in zip(SCORE_NAMES, table.T, strict=True)
    }


def _estimate(values: NDArray[np.float64], cases: NDArray[np.generic], seed: int) -> Estimate:
    _, patients = np.unique(cases, return_inverse=True)
    count = int(patients.max(initial=-1)) + 1
    if count < 2:
        nan = float("nan")
        return Estimate(mean=float(values.mean()) if count else nan, low=nan, high=nan)
    means = weighted_mean(values, patients, patient_weights(count, seed=seed))
    found = interval(means)
    return Estimate(mean=found.value, low=found.low, high=found.high)


def count_overlap(truth: NDArray[np.integer], predicted: NDArray[np.integer]) -> NDArray[np.int64]:
    """Pixels shared by each pair of (truth, predicted) regions; row and column 0 are background."""
    rows, row_of = np.unique(np.append(truth.ravel(), 0), return_inverse=True)
    columns, column_of = np.unique(np.append(predicted.ravel(), 0), return_inverse=True)
    if rows[0] < 0 or columns[0] < 0:
        raise ValueError(f"instances are numbered from 1, got {min(rows[0], columns[0])}")
    pairs = (row_of * len(columns) + column_of)[:-1]
    counts = np.bincount(pairs, minlength=len(rows) * len(columns))
    return counts.reshape(len(rows), len(columns))


def _aji(
    shared: NDArray[np.int64],
    union: NDArray[np.int64],
    of_truth: NDArray[np.int64],
    of_predicted: NDArray[np.int64],
    rows: NDArray[np.integer],
    columns: NDArray[np.integer],
) -> float:
    """Intersection over union summed over matches; what has no match is added to the union."""
    missed = of_truth.sum() - of_truth[rows].sum()
    invented = np.delete(of_predicted, columns).sum()
    total = union[rows, columns].sum() + missed + invented
    return float(shared[rows, columns].sum() / total)
