"""Gated attention pooling: the formula, and the identity that the score heatmap rests on.

What all heads have in common is in test_heads.py.
"""

import pytest
import torch
from torch import Generator, Tensor, nn

from pipelines.mil.heads.abmil import GatedAbmil

DIM = 12


@pytest.fixture(params=[2, 3, 7])
def head(request: pytest.FixtureRequest) -> GatedAbmil:
    torch.manual_seed(0)
    head = GatedAbmil(DIM, request.param, hidden_dim=16, attention_dim=8).eval()
    with torch.no_grad():
        head.attend.score.weight *= 20  # uneven attention, so that errors in it show
    return head


def bags(count: int, length: int, seed: int = 0) -> Tensor:
    return torch.randn(count, length, DIM, generator=Generator().manual_seed(seed))


def everything(batch: Tensor) -> Tensor:
    return torch.ones(batch.shape[:2], dtype=torch.bool)


def test_a_slide_is_the_attention_weighted_mean_of_its_tiles(head: GatedAbmil) -> None:
    batch = bags(2, 30)
    bag_mask = everything(batch)
    bag_mask[1, 20:] = False
    output = head(batch, bag_mask)
    assert output.tile_logits is not None
    mean = (output.attention[..., None] * output.tile_logits).sum(1)
    torch.testing.assert_close(output.logits, mean)
    assert output.attention.max() > 2 / 20  # it is not an even share


def test_the_formula(head: GatedAbmil) -> None:
    batch = bags(1, 5)
    norm, linear = head.project[0], head.project[1]
    assert isinstance(norm, nn.LayerNorm)
    assert isinstance(linear, nn.Linear)
    h = batch[0]
    h = (h - h.mean(1, keepdim=True)) / (h.var(1, keepdim=True, unbiased=False) + norm.eps).sqrt()
    x = (h @ linear.weight.T + linear.bias).clamp(min=0)
    v = torch.tanh(x @ head.attend.tanh_branch.weight.T + head.attend.tanh_branch.bias)
    u = torch.sigmoid(x @ head.attend.sigmoid_branch.weight.T + head.attend.sigmoid_branch.bias)
    score = ((u * v) @ head.attend.score.weight.T)[:, 0]
    a = score.exp() / score.exp().sum()
    y = head.classify.weight @ (a @ x) + head.classify.bias
    output = head(batch, everything(batch))
    torch.testing.assert_close(output.attention[0], a)
    torch.testing.assert_close(output.logits[0], y)
