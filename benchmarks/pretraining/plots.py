"""The report's pictures: scores, label shares, and paired differences."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.pretraining.candidates import OBJECTIVES, OURS
from benchmarks.pretraining.parts import percent
from wsi.atomic import replacing

# Okabe and Ito's colours, told apart by people with any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = "osD^vPX"
PRIMARY = {"balanced_accuracy": "balanced accuracy", "dice": "Dice", "mean_iou": "mean IoU"}
INTERVALS = "{}: 95 % interval over patients"
STYLE: Any = {  # matplotlib types its keys as one long literal
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "figure.dpi": 130,
}


def ordered(objectives: Sequence[str]) -> list[str]:
    """Objectives as every table and picture lists them: known ones first, ours last."""
    known = [name for name in OBJECTIVES if name in objectives and name != OURS]
    others = sorted(set(objectives) - set(OBJECTIVES))
    return [*others, *known, *([OURS] if OURS in objectives else [])]


def plot_scores(scores: pd.DataFrame, probe: str, path: Path) -> None:
    """One panel a task, one line an objective, one colour an architecture; all labels."""
    chosen = scores[(scores["probe"] == probe) & scores["measure"].isin(PRIMARY)]
    chosen = chosen[chosen["fraction"] == chosen["fraction"].max()]
    tasks = sorted(chosen["task"].unique())
    objectives = ordered(chosen["objective"].unique())
    architectures = sorted(chosen["architecture"].unique())
    with mpl.rc_context(STYLE):
        figure, panels = _panels(len(tasks), height=1.1 + 0.34 * len(objectives))
        for panel, task in zip(panels, tasks, strict=True):
            of_task = chosen[chosen["task"] == task]
            for number, architecture in enumerate(architectures):
                rows = of_task[of_task["architecture"] == architecture]
                at = np.array([objectives.index(name) for name in rows["objective"]])
                offset = (number - (len(architectures) - 1) / 2) * 0.22
                _dots(panel, rows, "value", at + offset, number, architecture)
            panel.set_yticks(range(len(objectives)), objectives)
            panel.set_ylim(len(objectives) - 0.5, -0.5)
            panel.set_title(task)
            panel.set_xlabel(PRIMARY[str(of_task["measure"].iloc[0])])
            panel.grid(axis="x", alpha=0.3)
            panel.locator_params(axis="x", nbins=4)
        _legend(figure, panels, architectures, title=INTERVALS.format("bars"))
        _save(figure, path)


def plot_fractions(scores: pd.DataFrame, task: str, path: Path) -> None:
    """One panel a probe and architecture: the score against the share of the labels.

    The band is the interval: of ours where it was run, otherwise of every objective.
    """
    chosen = scores[(scores["task"] == task) & scores["measure"].isin(PRIMARY)]
    chosen = chosen[~chosen["probe"].astype(str).str.startswith("few-shot")]  # not shares
    pairs = sorted(set(zip(chosen["probe"], chosen["architecture"], strict=True)))
    objectives = ordered(chosen["objective"].unique())
    with mpl.rc_context(STYLE):
        figure, panels = _panels(len(pairs), height=2.9)
        for panel, (probe, architecture) in zip(panels, pairs, strict=True):
            rows = chosen[(chosen["probe"] == probe) & (chosen["architecture"] == architecture)]
            for number, objective in enumerate(objectives):
                line = rows[rows["objective"] == objective].sort_values("fraction")
                if line.empty:
                    continue
                colour = _colour(number)
                # Five bands over each other say nothing: ours has one, the tables have all.
                if objective == OURS or OURS not in objectives:
                    panel.fill_between(
                        line["fraction"], line["low"], line["high"], color=colour, alpha=0.15, lw=0
                    )
                panel.plot(
                    line["fraction"],
                    line["value"],
                    color=colour,
                    marker=MARKERS[number % len(MARKERS)],
                    ms=4,
                    lw=2.4 if objective == OURS else 1.2,
                    label=objective,
                )
            shares = sorted(rows["fraction"].unique())
            panel.set_xscale("log")
            panel.set_xticks(shares, [f"{percent(share)}%" for share in shares])
            panel.minorticks_off()
            panel.set_title(f"{probe}, {architecture}")
            panel.set_xlabel("share of the labels")
            panel.set_ylabel(PRIMARY[str(rows["measure"].iloc[0])])
            panel.grid(axis="y", alpha=0.3)
        whose = OURS if OURS in objectives else "every objective"
        _legend(figure, panels, objectives, title=INTERVALS.format(f"band of {whose}"))
        _save(figure, path)


def plot_differences(differences: pd.DataFrame, probe: str, path: Path) -> None:
    """RCKD minus every other objective with all labels; filled where Holm's p is below 0.05."""
    chosen = differences[(differences["probe"] == probe) & differences["measure"].isin(PRIMARY)]
    chosen = chosen[chosen["fraction"] == chosen["fraction"].max()]
    tasks = sorted(chosen["task"].unique())
    others = ordered(chosen["other"].unique())
    architectures = sorted(chosen["architecture"].unique())
    with mpl.rc_context(STYLE):
        figure, panels = _panels(len(tasks), height=1.1 + 0.34 * len(others))
        for panel, task in zip(panels, tasks, strict=True):
            of_task = chosen[chosen["task"] == task]
            panel.axvline(0, color="0.4", lw=1)
            for number, architecture in enumerate(architectures):
                rows = of_task[of_task["architecture"] == architecture]
                at = np.array([others.index(name) for name in rows["other"]])
                offset = (number - (len(architectures) - 1) / 2) * 0.22
                sure = rows["p_holm"].to_numpy() < 0.05
                _dots(panel, rows, "difference", at + offset, number, architecture, sure)
            panel.set_yticks(range(len(others)), [f"− {name}" for name in others])
            panel.set_ylim(len(others) - 0.5, -0.5)
            panel.set_title(task)
            panel.set_xlabel(f"{OURS} − other: {PRIMARY[str(of_task['measure'].iloc[0])]}")
            panel.grid(axis="x", alpha=0.3)
            panel.locator_params(axis="x", nbins=4)
        figure.suptitle("filled: Holm-corrected p < 0.05", fontsize=8, x=0.01, ha="left")
        _legend(figure, panels, architectures, title=INTERVALS.format("bars"))
        _save(figure, path)


def _panels(count: int, *, height: float) -> tuple[Figure, list[Axes]]:
    columns = min(count, 4)
    rows = -(-count // columns)
    figure = Figure(figsize=(3.3 * columns, height * rows + 0.4), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False, sharey=True).flat)
    for spare in panels[count:]:
        spare.set_axis_off()
    return figure, panels[:count]


def _dots(
    panel: Axes,
    rows: pd.DataFrame,
    column: str,
    at: NDArray[np.floating],
    number: int,
    label: str,
    filled: NDArray[np.bool_] | None = None,
) -> None:
    colour = _colour(number)
    panel.hlines(at, rows["low"], rows["high"], color=colour, lw=1.6, alpha=0.7)
    full = np.ones(len(rows), np.bool_) if filled is None else filled
    face = [colour if sure else "white" for sure in full]
    panel.scatter(
        rows[column],
        at,
        marker=MARKERS[number % len(MARKERS)],
        s=26,
        c=face,
        edgecolors=colour,
        zorder=3,
    )
    # Of its own, so that the legend is filled whatever the first dot is.
    panel.plot([], [], MARKERS[number % len(MARKERS)], color=colour, ms=5, label=label)


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _legend(figure: Figure, panels: list[Axes], labels: list[str], *, title: str) -> None:
    """One legend for all panels, without repeats, in the order of `labels`, under its `title`."""
    found: dict[Any, Any] = {}
    for panel in panels:
        handles, names = panel.get_legend_handles_labels()
        found |= dict(zip(names, handles, strict=True))
    shown = [name for name in labels if name in found]
    figure.legend(
        handles=[found[name] for name in shown],
        loc="outside lower center",
        ncols=min(len(shown), 6),
        frameon=False,
        title=title,
        title_fontsize=8,
    )


def _save(figure: Figure, path: Path) -> None:
    with replacing(path) as tmp:
        figure.savefig(tmp, format="png")
