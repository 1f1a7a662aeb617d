"""Musk1, Elephant, Fox and Tiger with their given folds, and patients as bags of nuclei.

The data's folder holds ``mil_classic/*.npz`` (``X``, ``bag_of_instance``, ``y`` and the given
folds, ``train_mask``) and ``crchisto/patches27.npz``. A bag of nuclei is a patient, positive if any
nucleus is epithelial; a nucleus is its pixels, averaged over 3 x 3.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distill.downstream.splits import Indices, divide
from distill.errors import LabelledDataError

CLASSIC = ("Musk1", "Elephant", "Fox", "Tiger")
COLON = "colon nuclei"
SETS = (*CLASSIC, COLON)
FOLDS = 10
REPEATS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Bags:
    """Bags of instances (n, D), their targets (N,), and for every repeat the folds' test bags."""

    name: str
    instances: tuple[NDArray[np.float32], ...]
    targets: NDArray[np.int64]
    tests: tuple[tuple[Indices, ...], ...]


def load_classic(data: Path, name: str) -> Bags:
    """One of the classic sets with its given folds."""
    with np.load(data / "mil_classic" / f"{name}.npz") as arrays:
        bag, instances = arrays["bag_of_instance"], arrays["X"].astype(np.float32)
        targets = arrays["y"].astype(np.int64)
        tests = tuple(
            tuple(np.flatnonzero(~fold) for fold in repeat) for repeat in arrays["train_mask"]
        )
    of_bag = tuple(instances[bag == number] for number in range(len(targets)))
    return Bags(name=name, instances=of_bag, targets=targets, tests=tests)


def load_colon(data: Path, *, repeats: int = REPEATS) -> Bags:
    """Patients as bags of nuclei, divided anew for each repeat."""
    with np.load(data / "crchisto" / "patches27.npz") as arrays:
        patient, kind, pixels = (arrays[k] for k in ("patient_id", "cell_type", "image"))
    small = pixels.reshape(len(pixels), 9, 3, 9, 3, 3).mean(axis=(2, 4)).reshape(len(pixels), -1)
    patients = np.unique(patient)
    targets = np.array([(kind[patient == p] == 2).any() for p in patients], np.int64)
    owners = np.array([str(p) for p in patients])
    return Bags(
        name=COLON,
        instances=tuple(small[patient == p].astype(np.float32) for p in patients),
        targets=targets,
        tests=tuple(
            tuple(test for _, test in divide(targets, owners, FOLDS, seed, COLON))
            for seed in range(repeats)
        ),
    )


def load(data: Path, name: str) -> Bags:
    """Any of the sets.

    Raises
    ------
    LabelledDataError
        If its file is not there.
    """
    try:
        return load_colon(data) if name == COLON else load_classic(data, name)
    except FileNotFoundError as error:
        raise LabelledDataError(f"{name}: {error.filename} is missing, see --data") from error
