"""Batches of a pretraining: number i is the same whoever draws it, and whenever.

So a training that was killed goes on with the crops it would have seen, and several processes
can each draw their share of a batch.
"""

import itertools
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from torch import Generator

from distill import group
from distill.train import Batch

Draw = Callable[[NDArray[np.int64], Generator], Batch]


def numbered_batches(
    draw: Draw, kept: NDArray[np.int64], *, size: int, seed: int, first: int = 0
) -> Iterator[Batch]:
    """Whole batches without end, of each the share of this process; shuffled each time round.

    Parameters
    ----------
    draw
        Tiles by number to a batch, augmented with a generator.
    kept
        Numbers of the tiles to draw from.
    size
        Tiles a batch, over all processes; a multiple of their number, at most `len(kept)`.
    first
        The number of the first batch.
    """
    each_round = len(kept) // size
    order, of_round = kept, -1
    for number in itertools.count(first):
        round_, place = divmod(number, each_round)
        if round_ != of_round:
            order, of_round = np.random.default_rng((seed, round_)).permutation(kept), round_
        batch = order[place * size : (place + 1) * size]
        mixed = np.random.SeedSequence((seed, number, group.rank()))
        generator = Generator().manual_seed(int(mixed.generate_state(1, np.uint64)[0]))
        yield draw(batch[group.rank() :: group.size()], generator)
