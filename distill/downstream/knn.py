"""k nearest neighbours: how classes lie in the embedding space, with nothing fitted.

Votes are weighted by exp(similarity / temperature) as in Wu et al., "Unsupervised Feature
Learning via Non-Parametric Instance Discrimination", CVPR 2018. Embeddings are standardised
first: those of a network that ends in a ReLU all point nearly the same way, so their bare
cosines differ less than the temperature can tell.
"""

import numpy as np
from numpy.typing import NDArray

from distill.downstream.probe import Answer, Embedded, standardise, unit_length

NEIGHBOURS = 20
TEMPERATURE = 0.07
ROWS = 2048  # asked at once, so that similarities take little memory


def nearest_neighbours(train: Embedded, asked: NDArray[np.float32], *, seed: int = 0) -> Answer:
    """Class probabilities of `asked`, (M, D), by its most similar training embeddings (cosine).

    `seed` changes nothing; every probe takes one.
    """
    del seed
    known, wanted = (unit_length(rows) for rows in standardise(train.embeddings, asked))
    k = min(NEIGHBOURS, len(known))
    one_hot = np.eye(train.n_classes, dtype=np.float32)[train.targets]
    parts = []
    for start in range(0, len(wanted), ROWS):
        similarity = wanted[start : start + ROWS] @ known.T
        nearest = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
        close = np.take_along_axis(similarity, nearest, axis=1)
        # Relative to the closest neighbour, which keeps the exponential from overflowing.
        weight = np.exp((close - close.max(1, keepdims=True)) / TEMPERATURE)
        votes = np.einsum("mk,mkc->mc", weight, one_hot[nearest])
        parts.append(votes / votes.sum(1, keepdims=True))
    return Answer(probs=np.concatenate(parts).astype(np.float32), setting=f"k={k}")
