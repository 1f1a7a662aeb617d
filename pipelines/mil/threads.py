"""How many threads a training computes with."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from pipelines.mil.cohort import Cohort

FEW_TILES = 1000  # of a slide, on average; measured with embeddings of 64 and 512 numbers


@contextmanager
def fitting_threads(cohort: Cohort) -> Iterator[None]:
    """Compute with one thread where slides have few tiles, otherwise with torch's own number.

    So little work is not worth sharing: two threads took two to eight times the CPU time of one,
    and longer, the more so where other trainings wanted the same cores.
    """
    before = torch.get_num_threads()
    tiles = [cohort.features[slide.slide_id].tiles for slide in cohort.slides]
    if np.mean(tiles) <= FEW_TILES:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
