"""How well pixels are classified: intersection over union and Dice from pooled confusions.

Pixels of all images are counted together, so that a class counts by its area and not by the
images it happens to be in. Intervals are from resampling cases (patients) with all their images.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distill.downstream.statistics import (
    RESAMPLES,
    Floats,
    Interval,
    interval,
    mean_of_classes,
    patient_weights,
    share,
    weighted_mean,
)
from distill.segmentation.images import UNKNOWN, ClassImage
from distill.segmentation.objects import ObjectScores, objects_of, score_objects

LEAST_UM2 = 23.0  # smaller predicted objects are specks
LEAST_PX = 60  # the same in GlaS, of 0.62 µm per pixel; for images that do not say theirs


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageScores:
    """One image: its pixels (K, K), rows the truth, and its objects by class."""

    name: str
    case: str
    mpp: float | None
    confusion: NDArray[np.int64]
    objects: dict[str, ObjectScores]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a segmenter comes to on several images, with 95 % intervals over cases.

    Attributes
    ----------
    miou, miou_foreground
        Mean over all classes that occur, and without the background.
    iou, dice
        By class; NaN where a class is neither in truth nor in prediction.
    object_f1
        By class but the background: counts of all images together.
    object_dice, object_hausdorff_px
        By class but the background: mean over the images that have one.
    object_hausdorff_um
        The same in µm, where every image says its resolution.
    object_images
        By class but the background: images with an object in truth or prediction.
    object_hausdorff_images
        Those of them with an object in both. Only they have a distance: one in which nothing was
        predicted makes the mean no worse.
    n_images, n_cases
        How many there are.
    """

    miou: Interval
    miou_foreground: Interval
    iou: dict[str, Interval]
    dice: dict[str, Interval]
    object_f1: dict[str, Interval]
    object_dice: dict[str, Interval]
    object_hausdorff_px: dict[str, Interval]
    object_hausdorff_um: dict[str, Interval] | None
    object_images: dict[str, int]
    object_hausdorff_images: dict[str, int]
    n_images: int
    n_cases: int


def score_image(
    image: ClassImage, predicted: NDArray[np.int32], classes: Sequence[str], *, objects: bool = True
) -> ImageScores:
    """Compare the predicted class of each pixel (H, W) with an image's truth.

    Where nobody labelled counts for nothing. Objects are compared of every class but the first:
    those of the truth are told apart by the image's numbers or by lying apart, those predicted by
    lying apart, those below `LEAST_UM2` dropped.
    """
    known = image.classes != UNKNOWN
    pairs = image.classes[known].astype(np.int64) * len(classes) + predicted[known]
    counts = np.bincount(pairs, minlength=len(classes) ** 2)
    return ImageScores(
        name=image.name,
        case=image.case,
        mpp=image.mpp,
        confusion=counts.reshape(len(classes), len(classes)),
        objects={
            name: _score_objects_of(image, predicted, index)
            for index, name in enumerate(classes)
            if index and objects
        },
    )


def iou(confusion: Floats) -> Floats:
    """IoU of each class of (R, K, K) confusions, (R, K); NaN where a class does not occur."""
    shared, truth, predicted = _counts(confusion)
    return share(shared, truth + predicted - shared)


def dice(confusion: Floats) -> Floats:
    """Dice of each class of (R, K, K) confusions, (R, K); NaN where a class does not occur."""
    shared, truth, predicted = _counts(confusion)
    return share(2 * shared, truth + predicted)


def summarise_images(
    scores: Sequence[ImageScores],
    classes: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Summary:
    """Pool the images, and resample their cases for the intervals.

    Ends are NaN where fewer than two cases have a value, or a class that a mean is over: one tells
    nothing of the others. They are too close together where fewer than five have.
    """
    names, owners = np.unique([of.case for of in scores], return_inverse=True)
    weights = patient_weights(len(names), resamples=resamples, seed=seed)
    by_case = np.zeros((len(names), len(classes), len(classes)))
    np.add.at(by_case, owners, [of.confusion for of in scores])
    pooled = np.einsum("rp,pij->rij", weights, by_case, optimize=True)
    by_class, dices = iou(pooled), dice(pooled)
    with_class = (by_case.any(1) | by_case.any(2)).sum(0)
    foreground = [name for index, name in enumerate(classes) if index and scores[0].objects]

    def mean_of(values: Sequence[float]) -> Interval:
        at = np.asarray(values)
        has = np.isfinite(at)
        if not has.any():
            return _estimate(np.full(len(weights), np.nan), 0)
        cases = len(np.unique(owners[has]))
        return _estimate(weighted_mean(at[has], owners[has], weights), cases)

    def f1_of(name: str) -> Interval:
        counts = np.array(
            [(s.found, s.invented, s.missed) for s in (of.objects[name] for of in scores)]
        )
        by_owner = np.zeros((len(names), 3))
        np.add.at(by_owner, owners, counts)
        found, invented, missed = (weights @ by_owner).T
        f1 = share(2 * found, 2 * found + invented + missed)
        return _estimate(f1, int(by_owner.any(1).sum()))

    hausdorff = {
        name: np.array([of.objects[name].hausdorff_px for of in scores]) for name in foreground
    }
    mpps = [of.mpp for of in scores]
    scale = np.array([mpp for mpp in mpps if mpp is not None])
    return Summary(
        miou=_estimate(mean_of_classes(by_class), _fewest(with_class)),
        miou_foreground=_estimate(mean_of_classes(by_class[:, 1:]), _fewest(with_class[1:])),
        iou={n: _estimate(by_class[:, i], with_class[i]) for i, n in enumerate(classes)},
        dice={n: _estimate(dices[:, i], with_class[i]) for i, n in enumerate(classes)},
        object_f1={name: f1_of(name) for name in foreground},
        object_dice={
            name: mean_of([of.objects[name].dice for of in scores]) for name in foreground
        },
        object_hausdorff_px={name: mean_of(values.tolist()) for name, values in hausdorff.items()},
        object_hausdorff_um={
            name: mean_of((values * scale).tolist()) for name, values in hausdorff.items()
        }
        if len(scale) == len(scores)
        else None,
        object_images={
            name: sum(math.isfinite(of.objects[name].dice) for of in scores) for name in foreground
        },
        object_hausdorff_images={
            name: int(np.isfinite(values).sum()) for name, values in hausdorff.items()
        },
        n_images=len(scores),
        n_cases=len(names),
    )


def _score_objects_of(image: ClassImage, predicted: NDArray[np.int32], index: int) -> ObjectScores:
    known = image.classes != UNKNOWN
    mask = image.classes == index
    truth = objects_of(mask) if image.objects is None else np.where(mask, image.objects, 0)
    least_px = round(LEAST_UM2 / image.mpp**2) if image.mpp else LEAST_PX
    return score_objects(truth, objects_of((predicted == index) & known, least_px=least_px))


def _estimate(values: Floats, cases: int) -> Interval:
    """The value and its interval, if it is of two cases or more."""
    if cases < 2:
        return Interval(value=float(values[0]), low=float("nan"), high=float("nan"))
    return interval(values)


def _fewest(cases: NDArray[np.integer]) -> int:
    """Of the classes that occur, in the one with the fewest cases."""
    return int(min(cases[cases > 0], default=0))


def _counts(confusion: Floats) -> tuple[Floats, Floats, Floats]:
    shared = np.diagonal(confusion, axis1=1, axis2=2)
    return shared, confusion.sum(2), confusion.sum(1)
