"""Embeddings that stay in memory from one epoch to the next, within a bound."""

import numpy as np
from numpy.typing import NDArray

from pipelines.mil.features import Features

MOST_BYTES = 2**30  # some 200 slides of 5,000 tiles of 512 numbers in half precision


class BagMemory:
    """Reads embeddings, and keeps those of the first slides that fit; the others are read anew.

    Nothing that is kept makes way for another slide. An epoch asks for every slide once, in an
    order of its own: of a cohort that does not fit, whatever was used last is then asked for
    latest, and a memory that keeps it would be of no use.

    Parameters
    ----------
    most_bytes
        Of all that is kept.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.most_bytes = most_bytes
        self.kept_bytes = 0
        self._kept: dict[Features, NDArray[np.floating]] = {}

    def read(self, features: Features) -> NDArray[np.floating]:
        """The (tiles, dim) embeddings as `Features.read` gives them; not to be written to."""
        kept = self._kept.get(features)
        if kept is not None:
            return kept
        embeddings = features.read()
        if self.kept_bytes + embeddings.nbytes <= self.most_bytes:
            self._kept[features] = embeddings
            self.kept_bytes += embeddings.nbytes
        return embeddings
