"""Which images are learnt from and which are predicted: patients stay on one side."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distill.downstream.dataset import LabelledImages
from distill.downstream.grouped import grouped_folds
from distill.errors import LabelledDataError

Indices = NDArray[np.int64]
# To choose a probe's setting by some of the patients it learns from, there must be so many: what
# suits the two or three set aside of fewer suits no others.
TUNED_PATIENTS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """One division of a data set: indices of the images to learn from and to predict."""

    number: int
    train: Indices
    test: Indices


def folds(dataset: LabelledImages, *, seed: int, count: int = 5) -> list[Fold]:
    """The publisher's split where it keeps patients apart, otherwise `count` folds by patient.

    GlaS shares 11 of its 16 patients between its train and its test images, so it is divided
    anew. Folds are stratified by class as far as whole patients allow.

    Raises
    ------
    LabelledDataError
        If there are fewer patients than folds, or a fold would learn without a class.
    """
    if dataset.splits is not None and not dataset.astride:
        splits = np.asarray(dataset.splits)
        train, test = (np.flatnonzero(splits == side) for side in ("train", "test"))
        made = [Fold(number=0, train=train, test=test)]
    else:
        made = [
            Fold(number=number, train=train, test=test)
            for number, (train, test) in enumerate(
                divide(dataset.targets, dataset.owners, count, seed, dataset.name)
            )
        ]
    for fold in made:
        missing = set(range(len(dataset.classes))) - set(dataset.targets[fold.train].tolist())
        if missing:
            names = ", ".join(dataset.classes[number] for number in sorted(missing))
            raise LabelledDataError(
                f"{dataset.name}: fold {fold.number} of seed {seed} would learn without {names}; "
                "ask for fewer folds"
            )
    return made


def validation(
    targets: NDArray[np.int64],
    owners: NDArray[np.str_],
    *,
    seed: int,
    count: int = 4,
    least_patients: int = 2,
) -> tuple[Indices, Indices] | None:
    """Divide what may be learnt from into (learn, validate), by patient, about 1 in `count`.

    None where it cannot be done: there are fewer than `least_patients`, a class would be missing
    on the learning side, or the validation side would not have two classes. What is chosen by
    validation then has to be fixed beforehand.
    """
    patients = len(np.unique(owners))
    count = min(count, patients, int(np.bincount(targets).min()))
    if patients < least_patients or count < 2:
        return None
    classes = set(targets.tolist())
    for learn, validate in divide(targets, owners, count, seed, "validation"):
        if set(targets[learn].tolist()) == classes and len(set(targets[validate].tolist())) > 1:
            return learn, validate
    return None


def take_fraction(
    train: Indices,
    targets: NDArray[np.int64],
    owners: NDArray[np.str_],
    fraction: float,
    *,
    seed: int,
) -> Indices:
    """A share of the images to learn from, the same share of every class, from few patients.

    Patients come in one random order; of every class, images are taken in that order until its
    share, rounded up, is there. So few labels mean few patients, as where labels are scarce, and
    with one seed the smaller share is part of the larger.

    Parameters
    ----------
    train
        Indices to take from.
    targets, owners
        Of the whole data set, (N,).
    fraction
        In (0, 1]; 1 takes everything.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must be in (0, 1], got {fraction}")
    generator = np.random.default_rng(seed)
    patients = generator.permutation(np.unique(owners[train]))
    rank = {patient: place for place, patient in enumerate(patients)}
    shuffled = generator.permutation(train)
    ordered = np.array(sorted(shuffled, key=lambda index: rank[owners[index]]), np.int64)
    taken = []
    for target in np.unique(targets[train]):
        of_class = ordered[targets[ordered] == target]
        taken.append(of_class[: int(np.ceil(round(fraction * len(of_class), 9)))])
    return np.sort(np.concatenate(taken))


def divide(
    targets: NDArray[np.int64], owners: NDArray[np.str_], count: int, seed: int, name: str
) -> Iterator[tuple[Indices, Indices]]:
    """Yield (learn, predict) for each of `count` folds by owner, stratified by target.

    Raises
    ------
    LabelledDataError
        If there are fewer owners, or fewer images of a class, than folds.
    """
    patients = len(np.unique(owners))
    if patients < count:
        raise LabelledDataError(f"{name}: {patients} patients cannot be divided into {count} folds")
    rarest = int(np.bincount(targets).min())
    if rarest < count:
        raise LabelledDataError(f"{name}: a class of {rarest} images cannot be in {count} folds")
    fold_of = grouped_folds(targets, owners, count, seed)
    for number in range(count):
        yield np.flatnonzero(fold_of != number), np.flatnonzero(fold_of == number)
