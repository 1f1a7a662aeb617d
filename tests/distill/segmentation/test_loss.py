"""The loss by hand, and blind where nobody labelled."""

import math

import pytest
import torch

from distill.segmentation.images import UNKNOWN
from distill.segmentation.loss import class_loss


def test_two_pixels_by_hand() -> None:
    p = torch.tensor([[0.8, 0.25], [0.2, 0.75]])  # classes x pixels
    loss = class_loss(p.log().view(1, 2, 1, 2), torch.tensor([[[0, 1]]]))
    cross_entropy = -(math.log(0.8) + math.log(0.75)) / 2
    dice0 = (2 * 0.8 + 1) / (0.8**2 + 0.25**2 + 1 + 1)
    dice1 = (2 * 0.75 + 1) / (0.2**2 + 0.75**2 + 1 + 1)
    assert loss.item() == pytest.approx(cross_entropy + 1 - (dice0 + dice1) / 2, rel=1e-5)


def test_unknown_pixels_and_missing_classes_count_for_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 6, 6, generator=generator, requires_grad=True)
    classes = torch.randint(0, 3, (2, 6, 6), generator=generator)
    classes[:, :3] = UNKNOWN
    cut = class_loss(logits[:, :, 3:], classes[:, 3:])
    loss = class_loss(logits, classes)
    assert loss.item() == pytest.approx(cut.item(), rel=1e-6)
    loss.backward()
    assert not logits.grad[:, :, :3].any()
    assert logits.grad[:, :, 3:].any()


def test_nothing_known_costs_nothing() -> None:
    logits = torch.randn(1, 2, 4, 4, requires_grad=True)
    loss = class_loss(logits, torch.full((1, 4, 4), UNKNOWN))
    loss.backward()
    assert loss.item() == 0
    assert torch.isfinite(logits.grad).all()


def test_the_truth_is_the_best_answer() -> None:
    classes = torch.tensor([[[0, 1], [2, 2]]])
    sure = 20 * torch.nn.functional.one_hot(classes, 3).movedim(-1, 1).float()
    assert class_loss(sure, classes).item() < 1e-6
    assert class_loss(sure.flip(1), classes).item() > 5
