"""What every probe is given and gives back."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """Labelled embeddings to learn from.

    Attributes
    ----------
    embeddings
        (N, D) float32.
    targets
        (N,) int64, 0 to `n_classes` − 1, all of which occur.
    owners
        (N,) the patient each belongs to.
    """

    embeddings: NDArray[np.float32]
    targets: NDArray[np.int64]
    owners: NDArray[np.str_]
    n_classes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Class probabilities (M, C) float32 of what was asked, and the setting that was chosen."""

    probs: NDArray[np.float32]
    setting: str


def standardise(
    train: NDArray[np.float32], *others: NDArray[np.float32]
) -> list[NDArray[np.float32]]:
    """Shift and scale every dimension to mean 0 and spread 1 over `train`; constant ones to 0."""
    mean, spread = train.mean(0), train.std(0)
    scale = np.where(spread > 1e-6 * np.abs(mean) + 1e-12, spread, np.inf)
    return [np.asarray((rows - mean) / scale, np.float32) for rows in (train, *others)]


def unit_length(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale every row to length 1; rows of zeros stay."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(length, 1e-12), np.float32)
