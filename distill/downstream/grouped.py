"""Folds of whole groups that are alike in their classes: scikit-learn's, for many groups."""

import numpy as np
from numpy.typing import NDArray


def grouped_folds(
    targets: NDArray[np.int64], groups: NDArray[np.str_], count: int, seed: int
) -> NDArray[np.int64]:
    """The fold that predicts each image, (N,): 0 to `count` - 1.

    Of every group, from the most uneven in its classes on, the fold is the one with which the
    share of each class varies least between folds; where several do, the one of fewest images.
    This is `sklearn.model_selection.StratifiedGroupKFold` with shuffling, to the last bit of its
    sums, which decide between folds that are equal but for rounding. It looks at one fold at a
    time, which takes it a minute for 100,000 groups.

    Parameters
    ----------
    targets, groups
        Class and group of each image.
    """
    _, classes, of_class = np.unique(targets, return_inverse=True, return_counts=True)
    _, owners = np.unique(groups, return_inverse=True)
    n_groups, n_classes = int(owners.max()) + 1, len(of_class)
    counts = np.zeros((n_groups, n_classes))
    np.add.at(counts, (owners, classes), 1)

    order = np.arange(n_groups)
    np.random.RandomState(seed).shuffle(order)  # as scikit-learn draws
    order = order[np.argsort(-np.std(counts[order], axis=1), kind="stable")]

    fold_of_group = np.empty(n_groups, np.int64)
    in_fold = np.zeros((count, n_classes))
    sizes = [0.0] * count
    proposed = np.empty((count, count, n_classes))  # the folds, were the group in the first, ...
    diagonal = np.arange(count)
    for group, of_group, size in zip(
        order.tolist(), counts[order], counts[order].sum(1).tolist(), strict=True
    ):
        proposed[:] = in_fold
        proposed[diagonal, diagonal] += of_group
        best = _least(_unevenness(proposed / of_class), sizes)
        fold_of_group[group] = best
        in_fold[best] += of_group
        sizes[best] += size
    return fold_of_group[owners]


def _unevenness(shares: NDArray[np.float64]) -> list[float]:
    """The mean over classes of the standard deviation over folds, of (proposals, folds, classes).

    Step by step as `numpy.std` does it, whose checks take most of its time.
    """
    folds, classes = shares.shape[1:]
    apart = shares - np.add.reduce(shares, axis=1, keepdims=True) / folds
    apart *= apart
    spread = np.sqrt(np.add.reduce(apart, axis=1) / folds)
    means: list[float] = (np.add.reduce(spread, axis=1) / classes).tolist()
    return means


def _least(values: list[float], sizes: list[float]) -> int:
    """The number of the least value; of those as good as equal, that of the least size."""
    best = 0
    for number in range(1, len(values)):
        value, least = values[number], values[best]
        is_close = abs(value - least) <= 1e-8 + 1e-5 * abs(least)  # as numpy.isclose
        if value < least or (is_close and sizes[number] < sizes[best]):
            best = number
    return best
