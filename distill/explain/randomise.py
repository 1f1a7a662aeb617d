"""Whether a map depends on what the network has learned.

Adebayo et al., "Sanity checks for saliency maps", NeurIPS 2018: a method whose map stays the same
when the weights are random draws edges, not reasons.
"""

import math
from copy import deepcopy
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import nn

M = TypeVar("M", bound=nn.Module)


def with_shuffled_weights(module: M, *, seed: int = 0) -> M:
    """A copy in which the numbers of each parameter have changed places.

    Every layer keeps the size of its weights and loses what they say. Statistics of batch
    normalisation stay.
    """
    generator = torch.Generator().manual_seed(seed)
    copy = deepcopy(module)
    with torch.no_grad():
        for weights in copy.parameters():
            order = torch.randperm(weights.numel(), generator=generator).to(weights.device)
            weights.copy_(weights.flatten()[order].view_as(weights))
    return copy


def rank_correlation(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Spearman's correlation of two maps without their signs; NaN where one is constant."""
    a, b = (np.abs(m).ravel() for m in (one, other))
    if np.ptp(a) == 0 or np.ptp(b) == 0 or not np.isfinite([a, b]).all():
        return math.nan
    return float(spearmanr(a, b).statistic)
