"""Pretraining an encoder, the same way whatever the objective: tiles, steps, batches, schedule."""

import itertools
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean, median

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from distill.objectives.objective import Objective
from distill.prefetch import prefetched
from distill.train import Batch, Schedule, train

Loss = Callable[[Tensor, Tensor], Tensor]

CHECKS = 20  # times that held-out tiles are looked at
HELD_OUT_TILES = 256  # at most, so that looking stays cheap
BARE_STEPS = 2  # timed at each check, after one that is not


@dataclass(slots=True, kw_only=True)
class Progress:
    """How a pretraining went.

    Attributes
    ----------
    losses
        Of every step.
    checks
        Measured on held-out tiles, after how many steps.
    step_s, bare_step_s
        Time of each step; and of steps with a batch that is ready, which the network alone takes.
        They are timed in turns, at each check, since a machine may have other work as well.
    """

    losses: list[float] = field(default_factory=list)
    checks: dict[int, dict[str, float]] = field(default_factory=dict)
    step_s: list[float] = field(default_factory=list)
    bare_step_s: list[float] = field(default_factory=list)

    @property
    def measures(self) -> dict[str, float]:
        """The last check, and the loop's speed over that of the network alone."""
        last = self.checks[max(self.checks)] if self.checks else {}
        if not self.step_s or not self.bare_step_s:
            return last
        ratio = median(self.bare_step_s) / median(self.step_s)
        return last | {"seconds_per_step": fmean(self.step_s), "loop_over_bare_step": ratio}


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
    ready = next(_batches(objective, kept, batch_size, Generator().manual_seed(seed)))
    twin = deepcopy(objective.model)  # only to be timed
    since = 0.0

    def follow(step: int, loss: float) -> None:
        nonlocal since
        if step > 0:  # the first allocates
            progress.step_s.append(time.perf_counter() - since)
        progress.losses.append(loss)
        if (step + 1) % every == 0 or step + 1 == schedule.steps:
            objective.model.eval()
            progress.checks[step + 1] = objective.measure(held_out)
            objective.model.train()
            progress.bare_step_s += time_bare_steps(twin, objective.loss, ready, bfloat16=bfloat16)
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
    return progress


def time_bare_steps(
    model: nn.Module, loss: Loss, batch: Batch, *, bfloat16: bool = False
) -> list[float]:
    """Seconds of training steps for which nothing has to be prepared; trains `model`."""
    at: list[float] = []
    train(
        model,
        itertools.repeat(batch),
        loss,
        Schedule(steps=BARE_STEPS + 1, learning_rate=0.0),
        report=lambda *_: at.append(time.perf_counter()),
        bfloat16=bfloat16,
    )
    return [end - start for start, end in pairwise(at)]


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
