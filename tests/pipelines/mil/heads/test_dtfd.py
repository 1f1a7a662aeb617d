"""DTFD's pseudo-bags: every instance is in one, and they are alike."""

import pytest
import torch
from torch import Generator

from pipelines.mil.heads.dtfd import Dtfd, _deal

DIM = 6


@pytest.mark.parametrize("length", [1, 3, 4, 30])
def test_every_instance_is_in_one_pseudo_bag(length: int) -> None:
    keys = torch.rand(2, length + 3, generator=Generator().manual_seed(0))
    bag_mask = torch.ones(2, length + 3, dtype=torch.bool)
    bag_mask[0, length:] = False
    members = _deal(keys, bag_mask, 4)
    assert torch.equal(members.sum(1), bag_mask.long())
    sizes = members.sum(2)
    assert (sizes.max(1).values - sizes.min(1).values <= 1).all()


def test_the_best_are_spread_over_the_pseudo_bags() -> None:
    keys = torch.tensor([[5.0, 1.0, 4.0, 0.0, 3.0, 2.0]])
    members = _deal(keys, torch.ones(1, 6, dtype=torch.bool), 3)
    assert members[0].nonzero().tolist() == [[0, 0], [0, 5], [1, 1], [1, 2], [2, 3], [2, 4]]


def test_training_draws_pseudo_bags_anew() -> None:
    torch.manual_seed(0)
    head = Dtfd(DIM, 2, hidden_dim=8, attention_dim=4).train()
    head.project[-1].p = 0.0  # no dropout: only the lots differ
    batch = torch.randn(1, 40, DIM)
    bag_mask = torch.ones(1, 40, dtype=torch.bool)
    logits = [head(batch, bag_mask).logits for _ in range(4)]
    assert len({tuple(of.flatten().tolist()) for of in logits}) == 4


def test_the_formula() -> None:
    """One pseudo-bag after the other, written out."""
    torch.manual_seed(0)
    head = Dtfd(DIM, 2, hidden_dim=8, attention_dim=4, groups=3).eval()
    batch = torch.randn(1, 11, DIM)
    x = head.project(batch)[0]
    scores = head.attend(x)[:, 0]
    order = scores.argsort(descending=True).tolist()
    z = torch.stack([scores[order[m::3]].softmax(0) @ x[order[m::3]] for m in range(3)])
    b = head.attend_groups(z)[:, 0].softmax(0)
    output = head(batch, torch.ones(1, 11, dtype=torch.bool))
    torch.testing.assert_close(output.logits[0], head.classify(b @ z))
    tiers = [head.classify_group(z), head.classify(b @ z)[None]]
    target, weight = torch.tensor([1]), torch.tensor([1.0, 2.0])
    by_hand = sum(-2 * logits.log_softmax(1)[:, 1].mean() for logits in tiers)
    loss = head.loss(batch, torch.ones(1, 11, dtype=torch.bool), target, weight)
    torch.testing.assert_close(loss, by_hand)
