"""A score whose reasons are known: the mean colour of one corner."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

SIZE = 32
CORNER = (slice(0, 12), slice(20, 32))  # rows and columns of the top-right corner
WEIGHTS = (2.0, -1.0, 0.5)  # of red, green and blue


class CornerScore(nn.Module):
    """f(x) = sum over channels of w_c times the mean of channel c in the corner."""

    def forward(self, x: Tensor) -> Tensor:
        means = x[:, :, *CORNER].mean((2, 3))
        return means @ x.new_tensor(WEIGHTS)


class BentScore(nn.Module):
    """A score that is not linear: the softplus of the corner's."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.softplus(4 * CornerScore()(x))


@dataclass(frozen=True, slots=True, kw_only=True)
class Corner:
    """Images (2, 3, S, S) and where their score comes from."""

    score: nn.Module
    bent: nn.Module
    x: Tensor
    inside: Tensor
    weights: tuple[float, ...] = WEIGHTS


@pytest.fixture
def corner() -> Corner:
    x = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    x[:, 0] += 1  # red above all, so that the score is positive
    inside = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    inside[CORNER] = True
    return Corner(score=CornerScore(), bent=BentScore(), x=x, inside=inside)
