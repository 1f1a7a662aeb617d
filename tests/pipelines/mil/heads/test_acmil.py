"""ACMIL: how many instances are masked, what its branches cost, and that they spread."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from pipelines.mil.heads.acmil import Acmil, _challenged, _likeness

DIM = 6


@pytest.mark.parametrize(("real", "masked"), [(1, 0), (2, 1), (5, 3), (10, 6), (30, 6)])
def test_some_of_the_most_attended_are_masked(real: int, masked: int) -> None:
    torch.manual_seed(0)
    scores = torch.randn(1, 40, 3)
    bag_mask = torch.arange(40)[None] < real
    scores = scores.masked_fill(~bag_mask[..., None], -torch.inf)
    chosen = _challenged(scores, bag_mask)
    assert (chosen.sum(1) == masked).all()
    for branch in range(3):
        top = set(scores[0, :, branch].topk(min(10, real)).indices.tolist())
        assert set(chosen[0, :, branch].nonzero().flatten().tolist()) <= top


def test_nothing_is_masked_outside_training() -> None:
    torch.manual_seed(0)
    head = Acmil(DIM, 2, hidden_dim=8, attention_dim=4)
    head.project[-1].p = 0.0
    batch, bag_mask = torch.randn(1, 30, DIM), torch.ones(1, 30, dtype=torch.bool)
    assert (head.eval()(batch, bag_mask).attention > 0).all()
    attention = head.train()._attended(batch, bag_mask)[1]
    assert ((attention == 0).sum(1) == 6).all()


def test_likeness_by_hand() -> None:
    same = torch.tensor([0.5, 0.5, 0.0]).repeat(1, 2, 1).mT  # (1, 3, 2)
    apart = torch.eye(3)[None]
    assert _likeness(same).item() == pytest.approx(1)
    assert _likeness(apart).item() == pytest.approx(0)
    a, b, c = torch.rand(3, 7, generator=torch.Generator().manual_seed(0))
    cosine = functional.cosine_similarity
    by_hand = (cosine(a, b, 0) + cosine(a, c, 0) + cosine(b, c, 0)) / 3
    assert _likeness(torch.stack([a, b, c], 1)[None]).item() == pytest.approx(by_hand.item())
    assert _likeness(a[None, :, None]).item() == 0


def test_the_loss_by_hand() -> None:
    torch.manual_seed(0)
    head = Acmil(DIM, 2, hidden_dim=8, attention_dim=4, branches=3).eval()
    batch, bag_mask = torch.randn(1, 9, DIM), torch.ones(1, 9, dtype=torch.bool)
    x = head.project(batch)[0]
    attention = head.attend(x).softmax(0)  # (9, 3)
    target, weight = torch.tensor([0]), torch.tensor([0.5, 1.0])

    def cost(logits: Tensor) -> Tensor:
        return -0.5 * logits.log_softmax(0)[0]

    branches = [
        cost(classify(attention[:, t] @ x)) for t, classify in enumerate(head.classify_branches)
    ]
    slide = cost(head.classify(attention.mean(1) @ x))
    by_hand = slide + torch.stack(branches).mean() + _likeness(attention[None])
    torch.testing.assert_close(head.loss(batch, bag_mask, target, weight), by_hand)
