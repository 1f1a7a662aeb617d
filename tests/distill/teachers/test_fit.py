"""A training on crops that is interrupted and gone on with."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from distill.teachers.crops import Crops
from distill.teachers.fit import fit
from distill.train import Schedule

PIXELS = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
LABELS = np.zeros((64, 64), np.int32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A check after each of six steps."""

    schedule: Schedule = field(default_factory=lambda: Schedule(steps=6))
    batch_size: int = 2
    average_decay: float = 0.9
    checks: int = 6
    patience: int = 9
    workers: int = 0
    bfloat16: bool = False


def trained(folder: Path, *, stop_at: int | None = None, resume: bool = False) -> list[float]:
    """The losses of a network with dropout; the check of `stop_at` is interrupted."""
    folder.mkdir(exist_ok=True)
    checks = 0

    def crops(first: int, count: int) -> Crops:
        target = np.zeros((1, 32, 32), np.float32)
        images = [(PIXELS, LABELS)]
        return Crops(images, lambda _: target, size_px=32, first=first, count=count)

    def loss(answer: Tensor, target: Tensor) -> Tensor:
        return (answer - 1 - target).square().mean()

    def measure(net: nn.Module) -> dict[str, float]:
        nonlocal checks
        checks += 1
        if checks == stop_at:
            raise KeyboardInterrupt
        return {"merit": float(checks)}

    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Dropout(0.5), nn.Conv2d(4, 1, 1))
        state = fit(
            net, crops, loss, measure, folder, Settings(), resume=resume, report=lambda _: None
        )
    return state.history


def test_dropout_drops_the_same_after_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distill.teachers.watch.CHECKING", 0)  # a check whenever one is due
    whole = trained(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "broken", stop_at=3)
    assert trained(tmp_path / "broken", resume=True) == whole
