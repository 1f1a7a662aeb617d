"""Held-out images looked at during a training: log, best weights, checkpoint, early stop."""

import csv
import io
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
from torch import nn

from distill.checkpoint import save_weights
from distill.metrics import summarise
from distill.teachers.postprocess import Thresholds
from distill.teachers.predict import predict_maps
from distill.teachers.split import Sources
from distill.teachers.tune import Maps, merit, score_all
from distill.train import Schedule
from distill.training_state import TrainingState
from wsi.atomic import replacing

CHECKPOINT_NAME = "checkpoint.pt"
BEST_NAME = "best.safetensors"
CHECKING = 9  # times as long as a check takes, training goes on before the next
LOSS_NAME, METRICS_NAME = "loss.csv", "metrics.csv"
HELD_OUT_NAME = "held_out.csv"


class Watch:
    """Called after every step; at each check, judges the averaged weights and saves everything.

    However many checks are asked for, they take no more than about a tenth of the time.

    Parameters
    ----------
    measure
        Looks at the held-out images with a network. Gives measures for the log, and among them
        ``merit``: the greater, the better.
    checks, patience
        How many checks a training has, evenly spread, and after how many without a better one it
        is stopped.
    """

    def __init__(
        self,
        measure: Callable[[nn.Module], Mapping[str, float]],
        folder: Path,
        schedule: Schedule,
        *,
        checks: int,
        patience: int,
        report: Callable[[str], None],
    ) -> None:
        self.measure, self.folder, self.schedule = measure, folder, schedule
        self.checks, self.patience = checks, patience
        self.report = report
        self.not_before = 0.0  # seconds of training

    def __call__(self, state: TrainingState) -> bool:
        """Whether to stop."""
        over = self.schedule.progress(state.step, state.seconds / 60)
        due = over * self.checks >= self._done(state) + 1 and state.seconds >= self.not_before
        if not due and over < 1:
            return False
        begun = time.monotonic()
        # A slow step may pass several checks at once: they are one.
        row: dict[str, float] = {
            "step": state.step,
            "minutes": round(state.seconds / 60, 3),
            "progress": over,
            "loss": float(np.mean(state.history[-100:])),
        }
        row |= self.measure(state.best_model)
        before = max((check["merit"] for check in state.checks), default=-np.inf)
        state.checks.append(row)
        if row["merit"] > before:
            save_weights(state.best_model, self.folder / BEST_NAME)
        write_csv(self.folder / METRICS_NAME, state.checks)
        write_csv(
            self.folder / LOSS_NAME,
            ({"step": step, "loss": loss} for step, loss in enumerate(state.history)),
        )
        state.save(self.folder / CHECKPOINT_NAME)
        self.report(", ".join(f"{name} {value:.4g}" for name, value in row.items()))
        took = time.monotonic() - begun
        self.not_before = state.seconds + took + CHECKING * took
        return self.has_given_up(state)

    def has_given_up(self, state: TrainingState) -> bool:
        """Whether the last checks were no better; a training that ended so is not gone on with."""
        merits = [check["merit"] for check in state.checks]
        return bool(merits) and len(merits) - 1 - int(np.argmax(merits)) >= self.patience

    def _done(self, state: TrainingState) -> int:
        return int(state.checks[-1]["progress"] * self.checks) if state.checks else 0


def measure_nuclei(net: nn.Module, held_out: Sources, *, bfloat16: bool) -> dict[str, float]:
    """How well the default thresholds find the nuclei of held-out images: merit, and by source."""
    maps = predict_held_out(net, held_out, bfloat16=bfloat16)
    scores = score_all(held_out, maps, Thresholds())
    row = {"merit": merit(scores)}
    for source, of_source in scores.items():
        for name, estimate in summarise(of_source).items():
            row[f"{source}_{name}"] = estimate.mean
    return row


def predict_held_out(net: nn.Module, held_out: Sources, *, bfloat16: bool, turns: int = 1) -> Maps:
    """Maps of each held-out image, by source."""
    return {
        source: [predict_maps(net, i.pixels, turns=turns, bfloat16=bfloat16) for i in images]
        for source, images in held_out.items()
    }


def write_csv(path: Path, rows: Iterable[Mapping[str, float | str]]) -> None:
    """Write rows with the same keys, whole or not at all."""
    rows = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    with replacing(path) as tmp:
        tmp.write_text(text.getvalue())
