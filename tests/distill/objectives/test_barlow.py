"""Barlow Twins' loss against numpy's correlation, and against values worked out by hand."""

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn

from distill.objectives.barlow import WIDTH, BarlowTwins, barlow_loss


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=Generator().manual_seed(seed))


def test_it_is_the_papers_sum_over_numpys_correlations() -> None:
    first, second = random(32, 6), random(32, 6, seed=1) + random(32, 6)
    correlation = np.corrcoef(first.T.numpy(), second.T.numpy())[:6, 6:]
    expected = 0.0
    for i in range(6):
        for j in range(6):
            expected += (1 - correlation[i, j]) ** 2 if i == j else 0.01 * correlation[i, j] ** 2
    found = barlow_loss(torch.cat([first, second]), weight=0.01)
    assert found.item() == pytest.approx(expected, rel=1e-3)


def test_values_worked_out_by_hand() -> None:
    a, b = torch.tensor([1.0, 1, -1, -1]), torch.tensor([1.0, -1, 1, -1])  # uncorrelated
    same = torch.stack([a, b], 1)
    assert barlow_loss(torch.cat([same, 3 * same + 7])).item() == pytest.approx(0, abs=1e-6)
    # Opposite views: two diagonal terms of (1 + 1)².
    assert barlow_loss(torch.cat([same, -same])).item() == pytest.approx(8, rel=1e-4)
    # One feature said twice: the diagonal is right, both others are 1.
    twice = torch.stack([a, a], 1)
    assert barlow_loss(torch.cat([twice, twice]), 0.5).item() == pytest.approx(1, rel=1e-4)


def test_projections_have_gradients_down_to_the_encoder() -> None:
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    model = BarlowTwins(encoder, dim=5, width=16)
    projections = model(random(8, 3, 2, 2))
    assert projections.shape == (8, 16)
    barlow_loss(projections).backward()
    assert encoder[1].weight.grad is not None
    assert encoder[1].weight.grad.abs().max() > 0


def test_what_chance_costs_is_small_beside_what_agreement_saves() -> None:
    """Of equal views all that is left is chance; of unrelated ones, the loss is about 1."""
    for weight, chance in ((None, 1 / 31), (5e-3, 5e-3 * WIDTH / 31)):
        same = random(32, WIDTH)
        found = barlow_loss(torch.cat([same, same]), weight).item() / WIDTH
        assert found == pytest.approx(chance, rel=0.1)
