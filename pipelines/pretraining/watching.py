"""What is to be seen of a pretraining while it goes on: its curves, and TensorBoard's."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from distill.curves import write_curves
from distill.progress import Progress
from pipelines.errors import UsageError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

Report = Callable[[Progress], None]


def require_tensorboard() -> None:
    """Whether scalars can be written for TensorBoard.

    Raises
    ------
    UsageError
        If it is not installed.
    """
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"--tensorboard: {error}; pip install 'raypath[tensorboard]', or leave it out: "
            "curves.csv has the same numbers"
        ) from error


@contextmanager
def watching(
    folder: Path, *, title: str, tensorboard: Path | None = None, report: Report | None = None
) -> Iterator[Report]:
    """Give what is to be called after each step of a pretraining.

    At every look at the held-out tiles, curves are written into `folder`, each file whole or not
    at all. With `tensorboard`, a folder, that gets the same numbers step by step. `report` is
    called in the end.
    """
    writer: SummaryWriter | None = None

    def follow(progress: Progress) -> None:
        nonlocal writer
        step, checks = len(progress.losses), progress.checks
        if step in checks:
            write_curves(folder, progress.losses, checks, title=title)
        if tensorboard:
            # Not before: what a killed process wrote from here on is written again.
            writer = writer or _open(tensorboard, first=step)
            for name, value in ({"loss": progress.losses[-1]} | checks.get(step, {})).items():
                writer.add_scalar(name, value, step)
        if report:
            report(progress)

    try:
        yield follow
    finally:
        if writer:
            writer.close()


def _open(folder: Path, *, first: int) -> "SummaryWriter":
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=first)
