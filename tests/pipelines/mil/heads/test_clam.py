"""CLAM's instance loss against one written out by hand, and its branches."""

import pytest
import torch
from torch import Generator, Tensor
from torch.nn import functional

from pipelines.mil.heads.clam import MOST, SHARE, Clam
from pipelines.mil.heads.head import weighted_cross_entropy

DIM = 6


def make(classes: int, *, multiple: bool) -> Clam:
    torch.manual_seed(0)
    return Clam(DIM, classes, multiple=multiple, hidden_dim=8, attention_dim=4).eval()


def bag(length: int) -> tuple[Tensor, Tensor]:
    batch = torch.randn(1, length, DIM, generator=Generator().manual_seed(2))
    return batch, torch.ones(1, length, dtype=torch.bool)


@pytest.mark.parametrize("multiple", [False, True])
@pytest.mark.parametrize(("classes", "target"), [(2, 0), (2, 1), (3, 0), (3, 2)])
@pytest.mark.parametrize("length", [1, 5, 40])
def test_the_loss_by_hand(multiple: bool, classes: int, target: int, length: int) -> None:
    head, (batch, bag_mask) = make(classes, multiple=multiple), bag(length)
    x = head.project(batch)[0]
    scores = head.attend(x)
    instances = []
    count = min(MOST, length // 2)
    for c in range(classes):
        order = scores[:, c if multiple else 0].argsort()
        top, bottom = (x[i] for i in (order[len(order) - count :], order[:count]))
        logits, wanted = head.clusters[c](top), 1 if c == target else 0
        if c == target:
            logits = torch.cat([logits, head.clusters[c](bottom)])
        elif classes == 2:
            continue  # healthy tissue is in tumour slides too
        truth = torch.full((len(logits),), wanted)
        truth[count:] = 0
        if count:
            instances.append(functional.cross_entropy(logits, truth))
    weight = torch.tensor([1.0, 2.0, 3.0])[:classes]
    slide = weighted_cross_entropy(head(batch, bag_mask).logits, torch.tensor([target]), weight)
    by_hand = SHARE * slide
    if instances:
        by_hand = by_hand + (1 - SHARE) * torch.stack(instances).mean()
    loss = head.loss(batch, bag_mask, torch.tensor([target]), weight)
    torch.testing.assert_close(loss, by_hand)


def test_each_class_has_its_attention() -> None:
    head, (batch, bag_mask) = make(3, multiple=True), bag(12)
    x = head.project(batch)[0]
    attention = head.attend(x).softmax(0)  # (12, 3)
    logits = torch.stack(
        [head.classify.weight[c] @ (attention[:, c] @ x) + head.classify.bias[c] for c in range(3)]
    )
    output = head(batch, bag_mask)
    torch.testing.assert_close(output.logits[0], logits)
    torch.testing.assert_close(output.attention[0], attention[:, logits.argmax()])
