"""Pretraining an encoder, the same way whatever the objective: tiles, steps, batches, schedule."""

import itertools
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator

from distill.objectives.objective import Objective
from distill.prefetch import prefetched
from distill.train import Batch, Schedule, train

CHECKS = 20  # times that held-out tiles are looked at
HELD_OUT_TILES = 256  # at most, so that looking stays cheap
BARE_STEPS = 8  # of which the first, which allocates, is not timed


@dataclass(slots=True, kw_only=True)
class Progress:
    """How a pretraining went.

    Attributes
    ----------
    losses
        Of every step.
    checks
        Measured on held-out tiles, after how many steps.
    images_per_s
        Tiles a second, augmentation included, measuring excluded.
    bare_images_per_s
        The same with one batch that is ready, over and over: what the network alone can do.
    """

    losses: list[float] = field(default_factory=list)
    checks: dict[int, dict[str, float]] = field(default_factory=dict)
    images_per_s: float = float("nan")
    bare_images_per_s: float = float("nan")

    @property
    def measures(self) -> dict[str, float]:
        """The last check, and the speed."""
        last = self.checks[max(self.checks)] if self.checks else {}
        return last | {
            "images_per_s": round(self.images_per_s, 2),
            "loop_over_bare_step": round(self.images_per_s / self.bare_images_per_s, 3),
        }


def pretrain(
    objective: Objective,
    kept: NDArray[np.int64],
    held_out: NDArray[np.int64],
    schedule: Schedule,
    *,
    batch_size: int,
    seed: int = 0,
    bfloat16: bool = False,
    report: Callable[[Progress], None] | None = None,
) -> Progress:
    """Train an objective's model in place.

    Parameters
    ----------
    kept, held_out
        Numbers of the tiles to train on and to measure on.
    batch_size
        Tiles a step; at least 2, at most as many as are kept.
    bfloat16
        Compute in half precision where torch holds that safe.
    report
        Called after each step.
    """
    if not 2 <= batch_size <= len(kept):
        raise ValueError(f"batch_size must be in 2-{len(kept)} (the tiles), got {batch_size}")
    generator = Generator().manual_seed(seed)
    held_out = held_out[:HELD_OUT_TILES]
    progress = Progress()
    every = max(1, schedule.steps // CHECKS)
    working_s, since = 0.0, 0.0

    def follow(step: int, loss: float) -> None:
        nonlocal working_s, since
        if step > 0:
            working_s += time.perf_counter() - since
            progress.images_per_s = step * batch_size / working_s
        progress.losses.append(loss)
        if (step + 1) % every == 0 or step + 1 == schedule.steps:
            objective.model.eval()
            progress.checks[step + 1] = objective.measure(held_out)
            objective.model.train()
        if report:
            report(progress)
        since = time.perf_counter()

    with (
        torch.random.fork_rng(),
        prefetched(_batches(objective, kept, batch_size, generator)) as batches,
    ):
        torch.manual_seed(seed)  # for dropout, where a network has it
        train(
            objective.model,
            batches,
            objective.loss,
            schedule,
            report=follow,
            bfloat16=bfloat16,
        )
    # Afterwards, when everything is as warm as it was in the loop.
    one = next(_batches(objective, kept, batch_size, generator))
    progress.bare_images_per_s = measure_bare_step(
        objective, one, schedule, batch_size, bfloat16=bfloat16
    )
    return progress


def measure_bare_step(
    objective: Objective,
    batch: Batch,
    schedule: Schedule,
    batch_size: int,
    *,
    bfloat16: bool = False,
) -> float:
    """Tiles a second of the training loop without making batches, on a copy of the model."""
    at: list[float] = []
    train(
        deepcopy(objective.model),
        itertools.repeat(batch),
        objective.loss,
        Schedule(steps=BARE_STEPS, learning_rate=schedule.learning_rate),
        report=lambda *_: at.append(time.perf_counter()),
        bfloat16=bfloat16,
    )
    return (len(at) - 1) * batch_size / (at[-1] - at[0])


def _batches(
    objective: Objective, kept: NDArray[np.int64], size: int, generator: Generator
) -> Iterator[Batch]:
    """Whole batches without end; the tiles are shuffled anew each time round."""
    device = next(objective.model.parameters()).device
    while True:
        order = kept[torch.randperm(len(kept), generator=generator).numpy()]
        for start in range(0, len(order) - size + 1, size):
            inputs, target = objective.draw(order[start : start + size], generator)
            yield inputs.to(device), target.to(device)
