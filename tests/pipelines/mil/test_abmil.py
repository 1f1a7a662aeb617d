"""Attention pooling: what a bag's score may depend on, and what it may not."""

import pytest
import torch
from torch import Generator, Tensor, nn

from pipelines.mil.abmil import GatedAbmil

DIM = 12


@pytest.fixture(params=[2, 3, 7])
def head(request: pytest.FixtureRequest) -> GatedAbmil:
    torch.manual_seed(0)
    head = GatedAbmil(DIM, request.param, hidden_dim=16, attention_dim=8).eval()
    with torch.no_grad():
        head.attend.weight *= 20  # uneven attention, so that errors in it show
    return head


def bags(count: int, length: int, seed: int = 0) -> Tensor:
    return torch.randn(count, length, DIM, generator=Generator().manual_seed(seed))


def everything(batch: Tensor) -> Tensor:
    return torch.ones(batch.shape[:2], dtype=torch.bool)


def test_shapes_and_types(head: GatedAbmil) -> None:
    batch = bags(2, 5)
    output = head(batch, everything(batch))
    classes = head.classify.out_features
    assert output.logits.shape == (2, classes)
    assert output.attention.shape == (2, 5)
    assert output.tile_logits.shape == (2, 5, classes)
    assert output.logits.dtype == torch.float32


def test_the_order_of_tiles_does_not_matter(head: GatedAbmil) -> None:
    batch = bags(2, 9)
    order = torch.randperm(9, generator=Generator().manual_seed(1))
    straight = head(batch, everything(batch))
    turned = head(batch[:, order], everything(batch))
    torch.testing.assert_close(turned.logits, straight.logits)
    torch.testing.assert_close(turned.attention, straight.attention[:, order])
    torch.testing.assert_close(turned.tile_logits, straight.tile_logits[:, order])


@pytest.mark.parametrize("filler", [0.0, 1e6, -3.0])
def test_padding_changes_nothing(head: GatedAbmil, filler: float) -> None:
    alone = [bags(1, 4, seed=1), bags(1, 9, seed=2), bags(1, 1, seed=3)]
    batch = torch.full((3, 11, DIM), filler)
    bag_mask = torch.zeros(3, 11, dtype=torch.bool)
    for row, bag in enumerate(alone):
        batch[row, : bag.shape[1]] = bag
        bag_mask[row, : bag.shape[1]] = True
    together = head(batch, bag_mask)
    for row, bag in enumerate(alone):
        one = head(bag, everything(bag))
        real = bag_mask[row]
        torch.testing.assert_close(together.logits[row], one.logits[0])
        torch.testing.assert_close(together.attention[row, real], one.attention[0])
        torch.testing.assert_close(together.tile_logits[row, real], one.tile_logits[0])


def test_attention_sums_to_one_and_is_zero_on_padding(head: GatedAbmil) -> None:
    batch = bags(3, 8)
    bag_mask = torch.rand(3, 8, generator=Generator().manual_seed(4)) < 0.5
    bag_mask[:, 2] = True
    attention = head(batch, bag_mask).attention
    assert (attention[~bag_mask] == 0).all()
    assert (attention[bag_mask] > 0).all()
    torch.testing.assert_close(attention.sum(1), torch.ones(3))
    assert attention.max() > 2 / 8  # it is not an even share


def test_a_slide_is_the_attention_weighted_mean_of_its_tiles(head: GatedAbmil) -> None:
    batch = bags(2, 30)
    bag_mask = everything(batch)
    bag_mask[1, 20:] = False
    output = head(batch, bag_mask)
    mean = (output.attention[..., None] * output.tile_logits).sum(1)
    torch.testing.assert_close(output.logits, mean)


def test_a_tile_scores_as_a_slide_made_of_it_alone(head: GatedAbmil) -> None:
    batch = bags(1, 6)
    output = head(batch, everything(batch))
    singles = batch[0][:, None]
    torch.testing.assert_close(output.tile_logits[0], head(singles, everything(singles)).logits)


def test_the_formula(head: GatedAbmil) -> None:
    batch = bags(1, 5)
    norm, linear = head.project[0], head.project[1]
    assert isinstance(norm, nn.LayerNorm)
    assert isinstance(linear, nn.Linear)
    h = batch[0]
    h = (h - h.mean(1, keepdim=True)) / (h.var(1, keepdim=True, unbiased=False) + norm.eps).sqrt()
    x = (h @ linear.weight.T + linear.bias).clamp(min=0)
    v = torch.tanh(x @ head.tanh_branch.weight.T + head.tanh_branch.bias)
    u = torch.sigmoid(x @ head.sigmoid_branch.weight.T + head.sigmoid_branch.bias)
    score = ((u * v) @ head.attend.weight.T + head.attend.bias)[:, 0]
    a = score.exp() / score.exp().sum()
    y = head.classify.weight @ (a @ x) + head.classify.bias
    output = head(batch, everything(batch))
    torch.testing.assert_close(output.attention[0], a)
    torch.testing.assert_close(output.logits[0], y)


def test_every_part_learns() -> None:
    torch.manual_seed(0)
    head = GatedAbmil(DIM, 3).train()
    batch = bags(4, 6)
    bag_mask = everything(batch)
    bag_mask[:, 4:] = False
    head(batch, bag_mask).logits.square().sum().backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        if name != "attend.bias":  # a constant cancels in the softmax
            assert parameter.grad.abs().max() > 0, name
