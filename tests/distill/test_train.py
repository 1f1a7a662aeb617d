"""The training loop: it learns, it reports, and it says why it stopped."""

from collections.abc import Iterator

import pytest
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from distill.train import Batch, Schedule, train


def line() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(3, 1)


def batches(count: int | None = None) -> Iterator[Batch]:
    """The same batch of a linear relation, `count` times or without end."""
    x = torch.randn(16, 3, generator=Generator().manual_seed(0))
    y = x @ torch.tensor([[1.0], [-2.0], [0.5]])
    step = 0
    while count is None or step < count:
        yield x, y
        step += 1


def test_the_loss_falls_on_what_can_be_learned() -> None:
    reported: list[tuple[int, float]] = []
    history = train(
        line(),
        batches(),
        functional.mse_loss,
        Schedule(steps=200, learning_rate=0.05),
        report=lambda step, loss: reported.append((step, loss)),
    )
    assert len(history) == 200
    assert history[-1] < 0.01 * history[0]
    assert reported == list(enumerate(history))


def test_no_batch_is_taken_beyond_the_last_step() -> None:
    stream = batches(7)
    assert len(train(line(), stream, functional.mse_loss, Schedule(steps=5))) == 5
    assert len(list(stream)) == 2


def test_the_model_is_trained_in_train_mode_and_left_in_evaluation_mode() -> None:
    modes = []

    class Watched(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            modes.append(self.training)
            return super().forward(x)

    model = Watched(3, 1).eval()
    train(model, batches(), functional.mse_loss, Schedule(steps=2))
    assert modes == [True, True]
    assert not model.training


def test_batches_that_end_early_are_an_error() -> None:
    with pytest.raises(ValueError, match="batches ended after 3 of 5 steps"):
        train(line(), batches(3), functional.mse_loss, Schedule(steps=5))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_at_once(value: float) -> None:
    losses = iter([1.0, 1.0, value])

    def break_at_two(maps: Tensor, target: Tensor) -> Tensor:
        return functional.mse_loss(maps, target) * 0 + next(losses)

    with pytest.raises(ArithmeticError, match=r"at step 2: lower the learning rate \(0\.003\)"):
        train(line(), batches(), break_at_two, Schedule(steps=9, learning_rate=0.003))


@pytest.mark.parametrize("steps", [1, 2, 10, 40, 300])
def test_the_rate_warms_up_and_falls_to_nearly_nothing(steps: int) -> None:
    factors = [Schedule(steps=steps).factor(step) for step in range(steps)]
    assert all(0 < factor <= 1 for factor in factors)
    top = factors.index(max(factors))
    assert top <= max(1, 0.1 * steps)
    assert factors[:top] == sorted(factors[:top])
    assert factors[top:] == sorted(factors[top:], reverse=True)
    if steps >= 40:
        assert factors[top] == 1
        assert factors[-1] < 0.01
