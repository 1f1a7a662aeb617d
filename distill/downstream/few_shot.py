"""Few-shot probes: classes learnt from a handful of images each, in many episodes.

An episode takes k images of every class from patients to learn from, and asks for some images of
other patients. By prototype (Snell, Swersky and Zemel, Prototypical networks for few-shot learning,
NeurIPS 2017): the nearest class mean, after centring and scaling embeddings to length 1 as in
SimpleShot (Wang, Chao, Weinberger and van der Maaten, 2019). Or by logistic regression.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distill.downstream.dataset import LabelledImages
from distill.downstream.probe import Answer, Embedded, unit_length
from distill.downstream.splits import Fold

SHOTS = (1, 5, 10, 25)
EPISODES = 20  # a seed
QUERIES = 15  # images of each class that are asked for, at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """Indices of the images to learn from, `shots` of every class, and of those asked for."""

    number: int
    support: NDArray[np.int64]
    queries: NDArray[np.int64]


def draw_episodes(
    dataset: LabelledImages, divided: list[Fold], *, shots: int, seed: int, count: int = EPISODES
) -> Iterator[Episode]:
    """Draw episodes, in turn from the folds: what is learnt from and asked for shares no patient.

    The same for every encoder, and with one seed the images of fewer shots are among those of more.
    Yields none where a fold has a class with fewer than `shots` images to learn from.
    """
    if any(_rarest(dataset, fold) < shots for fold in divided):
        return
    for number in range(count):
        fold = divided[number % len(divided)]
        generator = np.random.default_rng([seed, number])
        order = {side: generator.permutation(getattr(fold, side)) for side in ("train", "test")}
        taken = {
            side: np.concatenate(
                [
                    order[side][dataset.targets[order[side]] == target][:most]
                    for target in range(len(dataset.classes))
                ]
            )
            for side, most in (("train", shots), ("test", QUERIES))
        }
        yield Episode(number=number, support=taken["train"], queries=taken["test"])


def nearest_prototype(train: Embedded, asked: NDArray[np.float32], *, seed: int = 0) -> Answer:
    """Class probabilities of `asked`, (M, D): softmax of minus squared distances to class means.

    `seed` changes nothing; every probe takes one.
    """
    del seed
    centre = train.embeddings.mean(0)
    known, wanted = (unit_length(rows - centre) for rows in (train.embeddings, asked))
    means = np.stack([known[train.targets == c].mean(0) for c in range(train.n_classes)])
    distances = np.square(wanted[:, None] - means).sum(2)
    scores = np.exp(distances.min(1, keepdims=True) - distances)
    probs = scores / scores.sum(1, keepdims=True)
    return Answer(probs=probs.astype(np.float32), setting="nearest class mean")


def _rarest(dataset: LabelledImages, fold: Fold) -> int:
    counts = np.bincount(dataset.targets[fold.train], minlength=len(dataset.classes))
    return int(counts.min())
