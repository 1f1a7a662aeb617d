"""The training loop: it learns, it reports, and it says why it stopped."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from distill.errors import DivergedError, ModelError
from distill.train import Batch, Schedule, train
from distill.training_state import TrainingState
from wsi.errors import RayPathError


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

    with pytest.raises(
        DivergedError, match=r"at step 2: lower the learning rate \(0\.003\)"
    ) as met:
        train(line(), batches(), break_at_two, Schedule(steps=9, learning_rate=0.003))
    assert isinstance(met.value, RayPathError)  # which the command line says without a traceback
    assert isinstance(met.value, ArithmeticError)


def test_a_gradient_that_is_not_finite_stops_before_the_step() -> None:
    """The slope of a square root is infinite at 0, where the root itself is not."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    nothing = torch.zeros(2, 1)

    def distance(maps: Tensor, target: Tensor) -> Tensor:
        return (maps - target).pow(2).sqrt().mean()

    with pytest.raises(DivergedError, match="the gradient's norm is nan at step 0: lower"):
        train(model, [(nothing, nothing)], distance, Schedule(steps=1))
    assert model.weight.item() == 0


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


def begun(model: nn.Module, **options: float) -> TrainingState:
    return TrainingState.begin(model, 2e-3, 0.05, **options)


def test_time_ends_a_training_as_well_as_steps() -> None:
    schedule = Schedule(steps=1000, minutes=10)
    assert schedule.progress(100, 5) == 0.5
    assert schedule.progress(600, 5) == 0.6
    assert schedule.factor(0, 5.25) == pytest.approx(0.5, abs=0.01)
    state = begun(line())
    state.seconds = 599.9
    train(state.model, batches(), functional.mse_loss, schedule, state=state)
    assert 1 <= state.step < 1000
    assert state.seconds >= 600


def test_batches_accumulated_are_one_larger_batch() -> None:
    x, y = next(batches())
    whole, parts = line(), line()
    train(whole, iter([(x, y)]), functional.mse_loss, Schedule(steps=1))
    halves = iter([(x[:8], y[:8]), (x[8:], y[8:])])
    train(parts, halves, functional.mse_loss, Schedule(steps=1), accumulate=2)
    torch.testing.assert_close(whole.state_dict(), parts.state_dict())


def test_a_training_goes_on_after_a_kill_as_if_nothing_had_happened(tmp_path: Path) -> None:
    schedule = Schedule(steps=12, learning_rate=0.05)
    path = tmp_path / "checkpoint.pt"

    def stop_at(step: int) -> Callable[[TrainingState], bool]:
        return lambda state: state.step == step

    straight = begun(line(), average_decay=0.9)
    train(straight.model, batches(), functional.mse_loss, schedule, state=straight)

    killed = begun(line(), average_decay=0.9)
    train(killed.model, batches(), functional.mse_loss, schedule, state=killed, watch=stop_at(5))
    killed.save(path)
    resumed = begun(nn.Linear(3, 1), average_decay=0.9)
    resumed.load(path)
    assert (resumed.step, len(resumed.history)) == (5, 5)
    train(resumed.model, batches(), functional.mse_loss, schedule, state=resumed)

    assert resumed.history == straight.history
    torch.testing.assert_close(
        resumed.best_model.state_dict(), straight.best_model.state_dict(), rtol=0, atol=0
    )
    assert resumed.seconds > killed.seconds


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    begun(line()).save(tmp_path / "checkpoint.pt")
    with pytest.raises(ModelError, match="does not continue this training"):
        begun(nn.Linear(4, 1)).load(tmp_path / "checkpoint.pt")
    with pytest.raises(ModelError, match="does not continue this training"):
        begun(line(), average_decay=0.9).load(tmp_path / "checkpoint.pt")
    begun(line(), average_decay=0.9).save(tmp_path / "averaged.pt")
    with pytest.raises(ModelError, match="its weights are averaged"):
        begun(line()).load(tmp_path / "averaged.pt")


def test_the_average_follows_the_weights_slowly() -> None:
    state = begun(line(), average_decay=0.999)
    seen = []

    def watch(of: TrainingState) -> bool:
        seen.append(of.model.weight.detach().clone())  # type: ignore[union-attr, operator]
        return False

    schedule = Schedule(steps=50, learning_rate=0.05)
    train(state.model, batches(), functional.mse_loss, schedule, state=state, watch=watch)
    averaged = state.best_model.weight
    lowest, highest = torch.stack(seen).amin(0), torch.stack(seen).amax(0)
    assert ((averaged >= lowest) & (averaged <= highest)).all()
    assert not torch.equal(averaged, state.model.weight)


def test_bfloat16_reaches_nearly_the_same() -> None:
    schedule = Schedule(steps=100, learning_rate=0.05)
    exact, rough = line(), line()
    train(exact, batches(), functional.mse_loss, schedule)
    train(rough, batches(), functional.mse_loss, schedule, bfloat16=True)
    assert next(rough.parameters()).dtype == torch.float32
    for one, other in zip(exact.parameters(), rough.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=0.02, rtol=0)
        assert not torch.equal(one, other)
