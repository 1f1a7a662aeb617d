"""The training loop, read top to bottom: batches in, a trained network and its history out."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Batch = tuple[Tensor, Tensor]
WARM_UP = 0.05  # share of the steps in which the learning rate rises
CLIP_NORM = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long and how hard to train: AdamW with a warm-up and a cosine to zero."""

    steps: int
    learning_rate: float = 2e-3
    weight_decay: float = 0.05

    def factor(self, step: int) -> float:
        """Share of the learning rate at a step: rises over `WARM_UP`, then falls as a cosine.

        Examples
        --------
        >>> [round(Schedule(steps=20).factor(step), 2) for step in (0, 1, 10, 20)]
        [1.0, 1.0, 0.54, 0.0]
        """
        warm = max(1, round(WARM_UP * self.steps))
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, self.steps - warm)))


def train(
    model: nn.Module,
    batches: Iterable[Batch],
    loss: Callable[[Tensor, Tensor], Tensor],
    schedule: Schedule,
    *,
    report: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Train in place for `schedule.steps` batches; returns the loss of every step.

    Parameters
    ----------
    model
        Maps a batch's input to what `loss` compares with the batch's target.
    batches
        Yields (input, target); must not end early.
    report
        Called with the step and its loss.

    Raises
    ------
    ArithmeticError
        If the loss is no longer finite.
    """
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay
    )
    rate = torch.optim.lr_scheduler.LambdaLR(optimiser, schedule.factor)
    model.train()
    history: list[float] = []
    for step, (inputs, target) in zip(range(schedule.steps), batches, strict=False):
        value = loss(model(inputs), target)
        if not torch.isfinite(value):
            raise ArithmeticError(
                f"the loss is {value.item()} at step {step}: "
                f"lower the learning rate ({schedule.learning_rate:g})"
            )
        optimiser.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
        optimiser.step()
        rate.step()
        history.append(value.item())
        if report:
            report(step, history[-1])
    if len(history) < schedule.steps:
        raise ValueError(f"batches ended after {len(history)} of {schedule.steps} steps")
    model.eval()
    return history
