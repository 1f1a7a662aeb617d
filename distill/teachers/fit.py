"""Training on crops, watched on held-out images: the same for nuclei and for tissue classes."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from distill.teachers.crops import Crops
from distill.teachers.watch import CHECKPOINT_NAME, Watch
from distill.train import Schedule, train
from distill.training_state import TrainingState

ENDLESS = 10**9  # crops; more than any schedule takes


class FitSettings(Protocol):
    """How to train, see `distill.teachers.train.TeacherSettings`."""

    @property
    def schedule(self) -> Schedule:
        """How long and how hard."""

    @property
    def batch_size(self) -> int:
        """Crops a step."""

    @property
    def average_decay(self) -> float:
        """Of the moving average of the weights."""

    @property
    def checks(self) -> int:
        """How often the held-out images are looked at."""

    @property
    def patience(self) -> int:
        """After how many checks without a better one to end early."""

    @property
    def workers(self) -> int:
        """Processes that make crops."""

    @property
    def bfloat16(self) -> bool:
        """Whether to compute in half precision."""


def fit(
    net: nn.Module,
    crops: Callable[[int, int], Crops],
    loss: Callable[[Tensor, Tensor], Tensor],
    measure: Callable[[nn.Module], Mapping[str, float]],
    folder: Path,
    settings: FitSettings,
    *,
    resume: bool,
    report: Callable[[str], None],
) -> TrainingState:
    """Train a network in place; the best averaged weights are in `folder`. Returns its last state.

    Parameters
    ----------
    crops
        Gives the crops from a first number on, and as many as asked for.
    measure
        See `Watch`.
    resume
        Go on from the checkpoint in `folder`, if there is one.

    Raises
    ------
    ModelError
        If the checkpoint is of another training.
    """
    net.to(memory_format=torch.channels_last)
    schedule = settings.schedule
    state = TrainingState.begin(
        net,
        schedule.learning_rate,
        schedule.weight_decay,
        average_decay=settings.average_decay,
    )
    if resume and (folder / CHECKPOINT_NAME).is_file():
        state.load(folder / CHECKPOINT_NAME)
        report(f"going on after step {state.step}")
    first = state.step * settings.batch_size
    batches = DataLoader(
        crops(first, ENDLESS - first),
        batch_size=settings.batch_size,
        num_workers=settings.workers,
        # Forking a process that computes with several threads may leave a lock closed for ever.
        multiprocessing_context="spawn" if settings.workers else None,
        prefetch_factor=4 if settings.workers else None,
        generator=torch.Generator(),  # a draw from torch's own would change what dropout drops
    )
    watch = Watch(
        measure,
        folder,
        schedule,
        checks=settings.checks,
        patience=settings.patience,
        report=report,
    )
    if not watch.has_given_up(state):
        train(
            net,
            batches,
            loss,
            schedule,
            state=state,
            bfloat16=settings.bfloat16,
            watch=watch,
        )
    return state
