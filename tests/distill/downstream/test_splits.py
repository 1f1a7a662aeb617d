"""Patients stay on one side; shares of labels are nested and keep every class."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from distill.downstream.dataset import LabelledImages
from distill.downstream.splits import divide, folds, take_fraction, validation
from distill.errors import LabelledDataError

Make = Callable[..., LabelledImages]


def test_folds_predict_every_image_once_and_keep_patients_apart(coloured: Make) -> None:
    dataset = coloured(count=80)
    made = folds(dataset, seed=3)
    assert len(made) == 5
    np.testing.assert_array_equal(np.sort(np.concatenate([f.test for f in made])), np.arange(80))
    for fold in made:
        assert not set(dataset.owners[fold.train]) & set(dataset.owners[fold.test])
        assert len(fold.train) + len(fold.test) == 80
    other = folds(dataset, seed=4)
    assert any(a.test.tolist() != b.test.tolist() for a, b in zip(made, other, strict=True))
    again = folds(dataset, seed=3)
    assert all(a.test.tolist() == b.test.tolist() for a, b in zip(made, again, strict=True))


def test_the_publishers_split_is_kept_if_it_keeps_patients_apart(coloured: Make) -> None:
    whole = coloured(count=48)
    apart = replace(whole, splits=("train",) * 32 + ("test",) * 16)
    (fold,) = folds(apart, seed=0)
    np.testing.assert_array_equal(fold.test, np.arange(32, 48))
    astride = replace(whole, splits=("train", "test") * 24)
    assert astride.astride == tuple(sorted(f"p{n}" for n in range(12)))
    assert len(folds(astride, seed=0)) == 5


def test_too_few_patients_or_images_of_a_class_are_refused(coloured: Make) -> None:
    with pytest.raises(LabelledDataError, match="3 patients cannot be divided into 5"):
        folds(coloured(count=12), seed=0)
    targets = np.zeros(20, np.int64)
    targets[:2] = 1
    with pytest.raises(LabelledDataError, match="class of 2 images cannot be in 5 folds"):
        list(divide(targets, np.arange(20).astype(str), 5, 0, "x"))


def test_shares_of_the_labels_are_nested_stratified_and_from_few_patients(coloured: Make) -> None:
    dataset = coloured(count=240)
    train = folds(dataset, seed=0)[0].train
    taken = {
        share: take_fraction(train, dataset.targets, dataset.owners, share, seed=5)
        for share in (0.05, 0.25, 1.0)
    }
    assert set(taken[0.05]) < set(taken[0.25]) < set(taken[1.0]) == set(train)
    for share, indices in taken.items():
        for target in range(3):
            of_class = (dataset.targets[train] == target).sum()
            assert (dataset.targets[indices] == target).sum() == np.ceil(round(share * of_class, 9))
    whole_patients = len(taken[0.25]) / 4
    assert len(set(dataset.owners[taken[0.25]])) <= whole_patients + 3
    with pytest.raises(ValueError, match="fraction must be in"):
        take_fraction(train, dataset.targets, dataset.owners, 0.0, seed=0)


def test_validation_keeps_patients_apart_and_every_class_on_the_learning_side(
    coloured: Make,
) -> None:
    dataset = coloured(count=48)
    parts = validation(dataset.targets, dataset.owners, seed=1)
    assert parts is not None
    learn, validate = parts
    assert not set(dataset.owners[learn]) & set(dataset.owners[validate])
    assert set(dataset.targets[learn].tolist()) == {0, 1, 2}


def test_where_patients_cannot_be_set_aside_there_is_no_validation(coloured: Make) -> None:
    dataset = coloured(count=48)
    assert validation(dataset.targets[:4], dataset.owners[:4], seed=0) is None  # one patient
    pure = np.array([0, 0, 1, 1]), np.array(["a", "a", "b", "b"])
    assert validation(*pure, seed=0) is None  # a class would be lost
