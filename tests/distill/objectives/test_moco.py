"""Momentum contrast: the loss by a naive loop, and how follower and queue move."""

import math

import pytest
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from distill.objectives.moco import (
    MOMENTUM,
    QUEUE,
    WIDTH,
    MomentumContrast,
    info_nce,
    queue_length,
)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=Generator().manual_seed(seed))


def made(queue: int = 12, momentum: float = 0.9) -> MomentumContrast:
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 5))
    return MomentumContrast(encoder, dim=5, queue=queue, momentum=momentum)


def test_the_loss_is_that_of_a_naive_loop() -> None:
    similarity = torch.tanh(random(5, 8))
    expected = 0.0
    for row in similarity.tolist():
        weights = [math.exp(value / 0.3) for value in row]
        expected -= math.log(weights[0] / sum(weights)) / len(similarity)
    assert info_nce(similarity, 0.3).item() == pytest.approx(expected, rel=1e-5)
    assert info_nce(torch.zeros(4, 9)).item() == pytest.approx(math.log(9))


def test_similarities_are_to_the_other_view_and_to_the_queue() -> None:
    model = made().eval()
    views = random(6, 3, 2, 2)
    queries = functional.normalize(model.projector(model.encoder(views))).detach()
    keys = functional.normalize(model.follower(views))
    similarity = model(views).detach()
    assert similarity.shape == (6, 13)
    for i in range(6):
        partner = (i + 3) % 6
        assert similarity[i, 0].item() == pytest.approx(float(queries[i] @ keys[partner]), abs=1e-5)
        for k in range(12):
            wanted = float(queries[i] @ model.queue[k])
            assert similarity[i, 1 + k].item() == pytest.approx(wanted, abs=1e-5)


def test_keys_wait_in_the_queue_and_leave_it_oldest_first() -> None:
    model = made(queue=10).train()
    first = model.queue.clone()
    model(random(4, 3, 2, 2))
    newest = model.queue[:4].clone()
    torch.testing.assert_close(model.queue[4:], first[:6])
    torch.testing.assert_close(newest.norm(dim=1), torch.ones(4))
    model(random(4, 3, 2, 2, seed=1))
    torch.testing.assert_close(model.queue[4:8], newest)
    torch.testing.assert_close(model.queue[8:], first[:2])


def test_the_follower_moves_by_its_momentum_and_has_no_gradient() -> None:
    model = made(momentum=0.75).train()
    with torch.no_grad():
        model.encoder[0].weight.fill_(1.0)
        model.follower[0][0].weight.fill_(0.0)
    info_nce(model(random(4, 3, 2, 2))).backward()
    torch.testing.assert_close(model.follower[0][0].weight, torch.full((4, 3, 1, 1), 0.25))
    assert all(p.grad is None for p in model.follower.parameters())
    assert model.encoder[0].weight.grad is not None
    followed = model.follower[0][1].running_mean
    torch.testing.assert_close(followed, 0.25 * model.encoder[1].running_mean)


def test_a_key_does_not_depend_on_the_batch_it_is_in() -> None:
    model = made().train()
    views = random(8, 3, 2, 2)
    assert not model.follower.training
    model(views)
    torch.testing.assert_close(model.follower(views)[:2], model.follower(views[:2]))


def test_looking_moves_nothing() -> None:
    model = made().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model(random(4, 3, 2, 2))
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name])


def test_views_that_agree_are_found_by_training() -> None:
    torch.manual_seed(0)
    model = made(queue=32, momentum=0.8).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for step in range(60):
        tiles = random(8, 3, 2, 2, seed=step)
        views = torch.cat([tiles, tiles]) + 0.1 * random(16, 3, 2, 2, seed=1000 + step)
        loss = info_nce(model(views))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.8 * sum(losses[5:10])  # once the queue holds real keys
    assert model.queue.shape == (32, WIDTH)


def test_keys_grow_no_staler_at_batches_of_32_than_in_the_paper() -> None:
    paper = 1 - 0.999 ** (65536 / 256)
    staleness = 1 - MOMENTUM ** (QUEUE / 64)
    assert staleness == pytest.approx(paper, abs=0.01)
    assert [queue_length(tiles) for tiles in (1, 100, 10**6)] == [1, 50, QUEUE]
