"""Folds are those of scikit-learn, image by image."""

import time

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from distill.downstream.grouped import grouped_folds


def by_sklearn(
    targets: NDArray[np.int64], groups: NDArray[np.str_], count: int, seed: int
) -> NDArray[np.int64]:
    folds = np.full(len(targets), -1)
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    for number, (_, test) in enumerate(splitter.split(targets, targets, groups)):
        folds[test] = number
    return folds


@pytest.mark.parametrize("owners", ["each its own", "few", "some alone"])
@pytest.mark.parametrize("classes", [2, 3, 9, 17])
@pytest.mark.parametrize("count", [2, 4, 5, 10])
def test_the_folds_are_those_of_scikit_learn(count: int, classes: int, owners: str) -> None:
    generator = np.random.default_rng(count * classes)
    images = 400
    targets = np.minimum(generator.geometric(0.3, images) - 1, classes - 1)
    targets[: 12 * classes] = np.tile(np.arange(classes), 12)
    alone = np.array([f"i{number}" for number in range(images)])
    shared = np.array([f"p{number}" for number in generator.integers(0, 40, images)])
    groups = {
        "each its own": alone,
        "few": shared,
        "some alone": np.where(generator.random(images) < 0.5, alone, shared),
    }[owners]
    np.testing.assert_array_equal(
        grouped_folds(targets, groups, count, seed=classes),
        by_sklearn(targets, groups, count, seed=classes),
    )


def test_many_images_without_patients_are_divided_at_once() -> None:
    """Scikit-learn's way, in which each fold is looked at by itself, takes ten times as long."""
    targets = np.random.default_rng(0).integers(0, 9, 3000)
    owners = np.arange(3000).astype(str)
    started = time.process_time()
    ours = grouped_folds(targets, owners, 4, 0)
    middle = time.process_time()
    np.testing.assert_array_equal(ours, by_sklearn(targets, owners, 4, 0))
    assert middle - started < (time.process_time() - middle) / 3
