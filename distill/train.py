"""The training loop, read top to bottom: batches in, a trained network and its history out."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from distill import group
from distill.errors import DivergedError
from distill.training_state import TrainingState

Batch = tuple[Tensor, Tensor]
WARM_UP = 0.05  # share of the training in which the learning rate rises
CLIP_NORM = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long and how hard to train: AdamW with a warm-up and a cosine to zero.

    With `minutes`, the training ends after them if that is before `steps`, and the rate falls
    accordingly.
    """

    steps: int
    minutes: float = math.inf
    learning_rate: float = 2e-3
    weight_decay: float = 0.05

    def progress(self, step: int, minutes: float = 0.0) -> float:
        """Share of the training that is over, 0-1."""
        return min(1.0, max(step / self.steps, minutes / self.minutes))

    def factor(self, step: int, minutes: float = 0.0) -> float:
        """Share of the learning rate at a step: rises over `WARM_UP`, then falls as a cosine.

        Examples
        --------
        >>> [round(Schedule(steps=20).factor(step), 2) for step in (0, 1, 10, 20)]
        [1.0, 1.0, 0.54, 0.0]
        """
        over, of_step = self.progress(step, minutes), 1 / self.steps
        warm = max(WARM_UP, of_step)
        if over < warm:
            return min(1.0, (over + of_step) / warm)
        return 0.5 * (1 + math.cos(math.pi * (over - warm) / max(of_step, 1 - warm)))


def train(
    model: nn.Module,
    batches: Iterable[Batch],
    loss: Callable[[Tensor, Tensor], Tensor],
    schedule: Schedule,
    *,
    report: Callable[[int, float], None] | None = None,
    state: TrainingState | None = None,
    accumulate: int = 1,
    bfloat16: bool = False,
    watch: Callable[[TrainingState], bool] | None = None,
) -> list[float]:
    """Train in place until the schedule ends; returns the loss of every step.

    Parameters
    ----------
    model
        Maps a batch's input to what `loss` compares with the batch's target.
    batches
        Yields (input, target); must not end early.
    report
        Called with the step and its loss.
    state
        Where to go on from, made by `TrainingState.begin` and perhaps `load`; `batches` then
        starts after its last step. Otherwise the training starts anew, without averaged weights.
        Its model is `model`, or what `model` wraps.
    accumulate
        Batches a step; their losses are averaged.
    bfloat16
        Compute the model's forward and backward pass in bfloat16 where torch holds that safe.
    watch
        Called after every step; training stops when it answers True.

    Raises
    ------
    DivergedError
        If the loss or its gradient is no longer finite.
    """
    state = state or TrainingState.begin(model, schedule.learning_rate, schedule.weight_decay)
    device = next(model.parameters()).device
    model.train()
    stream = iter(batches)
    before = time.monotonic() - state.seconds
    while schedule.progress(state.step, state.seconds / 60) < 1:
        rate = schedule.learning_rate * schedule.factor(state.step, state.seconds / 60)
        for parameters in state.optimiser.param_groups:
            parameters["lr"] = rate
        state.optimiser.zero_grad(set_to_none=True)
        total = 0.0
        for _ in range(accumulate):
            batch = next(stream, None)
            if batch is None:
                raise ValueError(f"batches ended after {state.step} of {schedule.steps} steps")
            inputs, target = (part.to(device, non_blocking=True) for part in batch)
            with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
                answer = model(inputs)
            value = loss(answer.float() if bfloat16 else answer, target) / accumulate
            value.backward()  # type: ignore[no-untyped-call]
            total += value.item()
        total = group.mean(total)
        norm = nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM).item()
        for name, number in (("loss", total), ("gradient's norm", norm)):
            if not math.isfinite(number):
                raise DivergedError(
                    f"the {name} is {number} at step {state.step}: "
                    f"lower the learning rate ({schedule.learning_rate:g})"
                )
        state.optimiser.step()
        state.step += 1
        if state.average:
            state.average.update(state.model, state.step)
        state.history.append(total)
        state.seconds = time.monotonic() - before
        if report:
            report(state.step - 1, total)
        if watch and watch(state):
            break
    model.eval()
    return state.history
