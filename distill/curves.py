"""How a training went: a table for programs and a picture for people."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from wsi.atomic import replacing

CSV_NAME = "curves.csv"
PNG_NAME = "curves.png"
SMOOTHING = 0.02  # share of the steps that the line through the losses averages over

Checks = Mapping[int, Mapping[str, float]]
"""What was measured on held-out tiles, after how many steps."""


def write_curves(folder: Path, losses: Sequence[float], checks: Checks, *, title: str) -> None:
    """Write `curves.csv`, a row a step, and `curves.png`."""
    names = sorted({name for measured in checks.values() for name in measured})
    with replacing(folder / CSV_NAME) as tmp, tmp.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "loss", *names])
        for step, loss in enumerate(losses, start=1):
            measured = checks.get(step, {})
            writer.writerow([step, f"{loss:.6g}", *(_text(measured.get(name)) for name in names)])
    with replacing(folder / PNG_NAME) as tmp:
        _draw(losses, checks, names, title).savefig(tmp, format="png", dpi=120)


def read_last(path: Path) -> tuple[int, float, dict[str, float]]:
    """The last step of `curves.csv`: its number, its loss, and what was measured after it."""
    with path.open(newline="") as file:
        *_, last = csv.DictReader(file)
    measured = {n: float(v) for n, v in last.items() if v and n not in ("step", "loss")}
    return int(last["step"]), float(last["loss"]), measured


def _draw(losses: Sequence[float], checks: Checks, names: Sequence[str], title: str) -> Figure:
    figure = Figure(figsize=(5 * (1 + bool(names)), 3.6), layout="constrained")
    figure.suptitle(title)
    left, *rest = figure.subplots(1, 1 + bool(names), squeeze=False)[0]
    steps = range(1, len(losses) + 1)
    left.plot(steps, losses, color="0.75", linewidth=0.8, label="each step")
    left.plot(steps, _smooth(losses), color="tab:blue", label="running mean")
    left.set(xlabel="step", ylabel="loss")
    left.legend(frameon=False)
    for axes in rest:
        for name in names:
            at = [step for step in sorted(checks) if name in checks[step]]
            values = [checks[step][name] for step in at]
            label = name.replace("_", " ") + (
                " (lower is better)" if name.endswith("error") else ""
            )
            axes.plot(at, values, marker="o", markersize=3, label=label)
        axes.set(xlabel="step", ylabel="on held-out tiles", ylim=(min(0, axes.get_ylim()[0]), None))
        axes.legend(frameon=False)
    for axes in (left, *rest):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
    return figure


def _smooth(values: Sequence[float]) -> NDArray[np.float64]:
    window = max(1, round(SMOOTHING * len(values)))
    totals = np.cumsum([0.0, *values])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - window)
    smooth: NDArray[np.float64] = (totals[ends] - totals[starts]) / (ends - starts)
    return smooth


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
