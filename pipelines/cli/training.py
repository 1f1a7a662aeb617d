"""What the commands that train on labelled images ask alike (`teacher train`, `segment train`)."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from distill.train import Schedule

LEAST_RATE = 1e-9  # with less nothing is learned
MINUTES = 60.0  # of a training that is told neither minutes nor steps

Minutes = Annotated[
    float | None,
    typer.Option(help="How long to train.", show_default=f"{MINUTES:g}, without --steps"),
]
Steps = Annotated[int | None, typer.Option(min=1, help="How many steps at most.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Crops a step.")]
CropPx = Annotated[int, typer.Option(min=32, help="Edge of a crop, a multiple of 32.")]
LearningRate = Annotated[
    float, typer.Option(min=LEAST_RATE, help="The highest, after the warm-up.")
]
FastBfloat16 = Annotated[
    bool | None,
    typer.Option(
        "--bfloat16/--no-bfloat16",
        help="Compute in bfloat16.",
        show_default="where the processor has it",
    ),
]
CropWorkers = Annotated[
    int, typer.Option("--workers", min=0, help="Processes that make crops; 0: this one does.")
]
TrainingSeed = Annotated[int, typer.Option("--seed", help="Of split, weights and crops.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the training in --out.")]


def make_schedule(minutes: float | None, steps: int | None, learning_rate: float) -> "Schedule":
    """A training's end: what is given of minutes and steps, whichever is first.

    Raises
    ------
    UsageError
        If no time is given.
    """
    from distill.train import Schedule
    from pipelines.errors import UsageError

    if minutes is not None and not minutes > 0:
        raise UsageError(f"--minutes {minutes:g}: more than 0 is wanted")
    if minutes is None:
        minutes = MINUTES if steps is None else math.inf
    return Schedule(
        steps=steps or 10**6,
        minutes=minutes,
        learning_rate=learning_rate,
    )


def check_crop(crop_px: int) -> None:
    """Refuse crops that networks do not take.

    Raises
    ------
    UsageError
        If the edge is no multiple of 32 px.
    """
    from pipelines.errors import UsageError

    if crop_px % 32:
        raise UsageError(f"--crop-px {crop_px}: a multiple of 32 is wanted")


def check_names_differ(folders: Sequence[Path]) -> None:
    """Refuse folders of the same name, by which results are told apart.

    Raises
    ------
    UsageError
        If two have the same.
    """
    from pipelines.errors import UsageError

    if len({folder.name for folder in folders}) < len(folders):
        raise UsageError(f"--data: two folders have the same name: {', '.join(map(str, folders))}")
