"""Pretraining an encoder, the same way whatever the objective: tiles, steps, batches, schedule."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from distill import group
from distill.batches import numbered_batches
from distill.errors import ObjectiveError
from distill.objectives.objective import Objective
from distill.prefetch import prefetched
from distill.progress import Progress, Watch
from distill.tileset import evenly
from distill.train import Schedule, train
from distill.training_state import TrainingState

CHECKS = 20  # parts of a training after each of which held-out tiles are looked at
HELD_OUT_TILES = 256  # at most, so that looking stays cheap


def pretrain(
    objective: Objective,
    kept: NDArray[np.int64],
    held_out: NDArray[np.int64],
    schedule: Schedule,
    *,
    batch_size: int,
    accumulate: int = 1,
    average_decay: float | None = None,
    seed: int = 0,
    bfloat16: bool = False,
    checks: int = CHECKS,
    checkpoint: Path | None = None,
    resume: bool = False,
    report: Callable[[Progress], None] | None = None,
) -> Progress:
    """Train an objective's model in place.

    Where a launcher has started several processes (`distill.group`), each calls this with the
    same arguments and draws its share of every batch; the first measures and writes.

    Parameters
    ----------
    kept, held_out
        Numbers of the tiles to train on and to measure on.
    batch_size, accumulate
        Tiles a batch, at least 2 a process and at most as many as are kept; batches a step.
    average_decay
        Of the moving average of the weights that the model has in the end, and that is measured;
        without it, the last weights.
    bfloat16
        Compute in half precision where torch holds that safe.
    checks
        Held-out tiles are looked at after each `steps // checks` steps, at least one, and in the
        end: so often or, where that leaves a rest, somewhat oftener.
    checkpoint, resume
        A file to save to at each check and every `SAVE_S` seconds; whether to go on from it where
        it is there.
    report
        Called after each step.

    Raises
    ------
    ObjectiveError
        If the batch size does not fit the tiles or the processes.
    ModelError
        If the checkpoint is of another training.
    """
    check_batch(batch_size, len(kept))
    model = objective.model
    with torch.random.fork_rng():
        torch.manual_seed(seed + group.rank())  # for dropout, where a network has it
        state = TrainingState.begin(
            model, schedule.learning_rate, schedule.weight_decay, average_decay=average_decay
        )
        if resume and checkpoint and checkpoint.is_file():
            state.load(checkpoint)
        progress = Progress(losses=state.history, rows=state.checks)
        batches = numbered_batches(
            objective.draw, kept, size=batch_size, seed=seed, first=state.step * accumulate
        )
        watch = Watch(
            objective,
            evenly(held_out, HELD_OUT_TILES, seed),
            every=max(1, schedule.steps // checks),
            last=schedule.steps,
            ready=None
            if group.size() > 1
            else objective.draw(kept[:batch_size], torch.Generator()),
            accumulate=accumulate,
            bfloat16=bfloat16,
            checkpoint=checkpoint,
        )

        def follow(state: TrainingState) -> bool:
            if group.rank() == 0:
                watch(state)
                if report:
                    report(progress)
            watch.begun = time.perf_counter()
            return False

        with prefetched(batches) as stream:
            train(
                group.sharing_gradients(model),
                stream,
                objective.loss,
                schedule,
                state=state,
                accumulate=accumulate,
                bfloat16=bfloat16,
                watch=follow,
            )
    if state.average:
        model.load_state_dict(state.average.module.state_dict())
    model.eval()
    return progress


def check_batch(size: int, tiles: int) -> None:
    """Whether batches of `size` can be made of so many tiles by so many processes.

    Raises
    ------
    ObjectiveError
        If not.
    """
    least = 2 * group.size()
    if not least <= size <= tiles:
        raise ObjectiveError(
            f"batches of {size}: {least} to {tiles} is wanted, the tiles left to train on; "
            "give more tiles or another batch size"
        )
    if size % group.size():
        raise ObjectiveError(
            f"batches of {size} cannot be shared evenly by {group.size()} processes: "
            "give a multiple of their number"
        )
