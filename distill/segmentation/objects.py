"""How well objects are segmented: F1, object Dice and object Hausdorff distance.

Sirinukunwattana et al., "Gland segmentation in colon histology images: the GlaS challenge
contest", Medical Image Analysis 35:489-502, 2017. An object's counterpart is the one on the other
side that it shares most pixels with. Both distances are means over the objects of the truth and
of the prediction, each weighted by its area, and then of the two sides.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from distill.metrics import count_overlap
from distill.teachers.postprocess import EIGHT

Objects = NDArray[np.integer]
FOUND = 0.5  # a true object is found when more than this share of it is covered


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectScores:
    """The objects of one image.

    Attributes
    ----------
    found, invented, missed
        Predicted objects that cover more than half of their counterpart; those that do not; and
        true objects that none so covers.
    dice
        0-1; NaN where there is no object on either side.
    hausdorff_px
        NaN where there is no object on one side or both: a distance to nothing.
    """

    found: int
    invented: int
    missed: int
    dice: float
    hausdorff_px: float


def score_objects(truth: Objects, predicted: Objects) -> ObjectScores:
    """Compare two maps (H, W), 0 for background and one positive number an object.

    Raises
    ------
    ValueError
        If the two differ in shape.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"truth is {truth.shape}, the prediction {predicted.shape}")
    truth, predicted = _renumbered(truth), _renumbered(predicted)
    overlap = count_overlap(truth, predicted)
    of_truth, of_predicted = overlap[1:].sum(1), overlap[:, 1:].sum(0)
    shared = overlap[1:, 1:]
    found = _count_found(shared, of_truth)
    return ObjectScores(
        found=found,
        invented=len(of_predicted) - found,
        missed=len(of_truth) - found,
        dice=_object_dice(shared, of_truth, of_predicted),
        hausdorff_px=_object_hausdorff(shared, truth, predicted),
    )


def objects_of(mask: NDArray[np.bool_], *, least_px: int = 0) -> NDArray[np.int32]:
    """Number what is connected, corners included, and has at least `least_px` pixels."""
    parts, _ = ndimage.label(mask, structure=EIGHT)
    large = np.bincount(parts.ravel()) >= least_px
    large[0] = False
    numbers = np.cumsum(large) * large
    return np.asarray(numbers[parts], np.int32)


def hausdorff(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """The greatest distance of a pixel of one mask from the other mask, whichever way it is more.

    Both masks must have a pixel.
    """
    rows, columns = (np.flatnonzero((a | b).any(axis)) for axis in (1, 0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    a, b = a[box], b[box]
    from_b, from_a = ndimage.distance_transform_edt(~b), ndimage.distance_transform_edt(~a)
    return float(max(from_b[a].max(), from_a[b].max()))


def _count_found(shared: NDArray[np.int64], of_truth: NDArray[np.int64]) -> int:
    if not shared.size:
        return 0
    counterpart = shared.argmax(0)
    covered = shared[counterpart, np.arange(shared.shape[1])] / of_truth[counterpart]
    return int((covered > FOUND).sum())


def _object_dice(
    shared: NDArray[np.int64], of_truth: NDArray[np.int64], of_predicted: NDArray[np.int64]
) -> float:
    if not len(of_truth) and not len(of_predicted):
        return float("nan")
    if not shared.size:
        return 0.0
    dice = 2 * shared / (of_truth[:, None] + of_predicted[None])
    by_truth = dice[np.arange(len(of_truth)), shared.argmax(1)] @ of_truth / of_truth.sum()
    by_predicted = dice[shared.argmax(0), np.arange(len(of_predicted))] @ of_predicted
    return float(by_truth + by_predicted / of_predicted.sum()) / 2


def _object_hausdorff(
    shared: NDArray[np.int64], truth: NDArray[np.int64], predicted: NDArray[np.int64]
) -> float:
    """The counterpart of an object that meets none is the nearest by this distance."""
    if not shared.size:
        return float("nan")
    known: dict[tuple[int, int], float] = {}

    def distance(i: int, j: int) -> float:
        if (i, j) not in known:
            known[i, j] = hausdorff(truth == i + 1, predicted == j + 1)
        return known[i, j]

    count_truth, count_predicted = shared.shape
    by_truth = {
        i: distance(i, int(shared[i].argmax()))
        if shared[i].any()
        else min(distance(i, j) for j in range(count_predicted))
        for i in range(count_truth)
    }
    by_predicted = {
        j: distance(int(shared[:, j].argmax()), j)
        if shared[:, j].any()
        else min(distance(i, j) for i in range(count_truth))
        for j in range(count_predicted)
    }
    return (_weighted(by_truth, truth) + _weighted(by_predicted, predicted)) / 2


def _weighted(distances: Mapping[int, float], objects: NDArray[np.int64]) -> float:
    areas = np.bincount(objects.ravel())[1:]
    return float(np.array([distances[n] for n in range(len(areas))]) @ areas / areas.sum())


def _renumbered(objects: Objects) -> NDArray[np.int64]:
    """The same objects numbered 1, 2, 3 … without gaps."""
    present = np.unique(np.append(objects.ravel(), 0))
    if present[0] < 0:
        raise ValueError(f"objects are numbered from 1, got {present[0]}")
    return np.searchsorted(present, objects)
