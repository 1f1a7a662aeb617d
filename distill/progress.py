"""How a pretraining goes: its losses, and what is measured now and then."""

import itertools
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from distill.objectives.objective import Objective
from distill.train import Batch, Schedule, train
from distill.training_state import TrainingState

Loss = Callable[[Tensor, Tensor], Tensor]

BARE_STEPS = 2  # timed at each check, after one that is not
SAVE_S = 300.0  # what a kill costs at most, where checks are further apart

STEP, STEP_S, BARE_STEP_S = "step", "seconds_per_step", "seconds_per_bare_step"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How a pretraining went, from its first step, even if it was killed in between.

    Attributes
    ----------
    losses
        Of every step.
    rows
        One a check: the step it came after, the measures on held-out tiles, the mean time of the
        steps since the last check, and that of steps with a batch that is ready, which the
        network alone takes. The two are timed in turns, since a machine may have other work.
    """

    losses: list[float] = field(default_factory=list)
    rows: list[dict[str, float]] = field(default_factory=list)

    @property
    def checks(self) -> dict[int, dict[str, float]]:
        """What was measured on held-out tiles, after how many steps."""
        times = (STEP, STEP_S, BARE_STEP_S)
        return {
            int(row[STEP]): {name: value for name, value in row.items() if name not in times}
            for row in self.rows
        }

    @property
    def seconds(self) -> float:
        """The time of all steps up to the last check, without that of looking."""
        ends = [0.0, *(row[STEP] for row in self.rows)]
        return sum(
            (end - start) * row[STEP_S]
            for (start, end), row in zip(pairwise(ends), self.rows, strict=True)
        )

    @property
    def measures(self) -> dict[str, float]:
        """The last check, and the loop's speed over that of the network alone."""
        if not self.rows:
            return {}
        last = self.checks[int(self.rows[-1][STEP])]
        each = self.seconds / self.rows[-1][STEP]
        found = last | {"training_seconds": self.seconds, STEP_S: each}
        bare = [row[BARE_STEP_S] for row in self.rows if BARE_STEP_S in row]
        if bare:
            found["loop_over_bare_step"] = median(bare) / median(row[STEP_S] for row in self.rows)
        return found


class Watch:
    """Called after each step: times it, and now and then measures and saves."""

    def __init__(
        self,
        objective: Objective,
        held_out: NDArray[np.int64],
        *,
        every: int,
        last: int,
        ready: Batch | None,
        accumulate: int,
        bfloat16: bool,
        checkpoint: Path | None,
    ) -> None:
        self.objective, self.held_out = objective, held_out
        self.every, self.last = every, last
        # Alone, since what one process of several does the others would wait for.
        self.ready, self.twin = ready, deepcopy(objective.model) if ready else None
        self.accumulate, self.bfloat16 = accumulate, bfloat16
        self.checkpoint = checkpoint
        self.cold = True  # a process's first step allocates
        self.step_s: list[float] = []
        self.begun = self.saved = time.perf_counter()

    def __call__(self, state: TrainingState) -> None:
        """Take note of a step that was made."""
        now = time.perf_counter()
        self.step_s.append(now - self.begun)
        due = state.step % self.every == 0 or state.step == self.last
        if due:
            self._check(state)
        if self.checkpoint and (due or now - self.saved > SAVE_S):
            state.save(self.checkpoint)
            self.saved = time.perf_counter()

    def _check(self, state: TrainingState) -> None:
        training = state.best_model.training
        state.best_model.eval()
        measured = self.objective.measure(state.best_model, self.held_out)
        state.best_model.train(training)
        timed = self.step_s[1:] if self.cold and len(self.step_s) > 1 else self.step_s
        row = {STEP: float(state.step), **measured, STEP_S: fmean(timed)}
        if self.twin and self.ready:
            bare = time_bare_steps(
                self.twin,
                self.objective.loss,
                self.ready,
                accumulate=self.accumulate,
                bfloat16=self.bfloat16,
            )
            row[BARE_STEP_S] = fmean(bare)
        state.checks.append(row)
        self.step_s.clear()
        self.cold = False


def time_bare_steps(
    model: nn.Module, loss: Loss, batch: Batch, *, accumulate: int = 1, bfloat16: bool = False
) -> list[float]:
    """Seconds of training steps for which nothing has to be prepared; trains `model`."""
    device = next(model.parameters()).device
    at: list[float] = []
    with torch.random.fork_rng():
        train(
            model,
            itertools.repeat((batch[0].to(device), batch[1].to(device))),
            loss,
            Schedule(steps=BARE_STEPS + 1, learning_rate=0.0),
            report=lambda *_: at.append(time.perf_counter()),
            accumulate=accumulate,
            bfloat16=bfloat16,
        )
    return [end - start for start, end in pairwise(at)]
