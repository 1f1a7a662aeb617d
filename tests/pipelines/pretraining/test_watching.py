"""What is there of a pretraining while it goes on, and after a kill."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from distill.curves import CSV_NAME, PNG_NAME, read_last
from distill.progress import STEP, STEP_S, Progress
from pipelines.errors import UsageError
from pipelines.pretraining.watching import require_tensorboard, watching


def after(step: int, *, look: bool = False) -> Progress:
    """A pretraining after so many steps, looked at after the second and perhaps this one."""
    looks = [at for at in (2, step) if at < step or look]
    rows = [{STEP: float(at), "dice": at / 10, STEP_S: 1.0} for at in looks]
    return Progress(losses=[1 / (at + 1) for at in range(step)], rows=rows)


class KilledError(Exception):
    pass


def test_curves_are_there_from_the_first_look_on(tmp_path: Path) -> None:
    seen: list[int] = []

    def killed() -> None:
        def report(progress: Progress) -> None:
            seen.append(len(progress.losses))

        with watching(tmp_path, title="t", report=report) as follow:
            follow(after(1))
            assert not list(tmp_path.iterdir())
            follow(after(2, look=True))
            assert read_last(tmp_path / CSV_NAME) == (2, 0.5, {"dice": 0.2})
            follow(after(3))
            raise KilledError

    with pytest.raises(KilledError):
        killed()
    assert seen == [1, 2, 3]
    assert sorted(p.name for p in tmp_path.iterdir()) == [CSV_NAME, PNG_NAME]
    assert read_last(tmp_path / CSV_NAME)[0] == 2


class Writer:
    """Stands for TensorBoard's, which is no dependency."""

    made: "list[Writer]" = []  # noqa: RUF012

    def __init__(self, folder: str, purge_step: int) -> None:
        self.folder, self.purge_step, self.open = folder, purge_step, True
        self.scalars: list[tuple[str, float, int]] = []
        self.made.append(self)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.scalars.append((name, value, step))

    def close(self) -> None:
        self.open = False


def test_tensorboard_gets_the_same_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, module.__name__, module)
    require_tensorboard()
    with watching(tmp_path, title="t", tensorboard=tmp_path / "board") as follow:
        follow(after(5, look=True))
        follow(after(6))
    (writer,) = Writer.made
    assert (writer.folder, writer.purge_step, writer.open) == (str(tmp_path / "board"), 5, False)
    assert writer.scalars == [("loss", 0.2, 5), ("dice", 0.5, 5), ("loss", 1 / 6, 6)]


def test_without_tensorboard_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UsageError, match=r"pip install 'raypath\[tensorboard\]'"):
        require_tensorboard()
