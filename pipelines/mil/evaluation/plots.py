"""The pictures of an evaluation, one idea each."""

from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from pipelines.mil.evaluation.calibration import Reliability
from pipelines.mil.evaluation.curves import Curve
from pipelines.mil.evaluation.estimates import Estimate
from pipelines.mil.evaluation.evaluate import Evaluation
from pipelines.mil.evaluation.names import TITLES

# Okabe and Ito's colours, told apart by people with any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
GREY = "#8a94a3"
STYLE: Any = {  # matplotlib types its keys as one long literal
    "text.parse_math": False,  # names may hold a dollar sign
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "legend.fontsize": 9,
}
SIZE = (5.4, 5.1)
DPI = 140
LABEL_CHARS = 28  # two such fit side by side


def draw_all(evaluation: Evaluation, folder: Path) -> list[str]:
    """Write each picture as PNG into `folder`; returns the names, in the order to show them."""
    names = []
    with mpl.rc_context(STYLE):
        for name, figure in _figures(evaluation):
            figure.savefig(folder / f"{name}.png", dpi=DPI)
            names.append(name)
    return names


def _figures(e: Evaluation) -> Iterator[tuple[str, Figure]]:
    yield "roc", _roc(e)
    if e.precision_recall is not None:
        yield "precision_recall", _precision_recall(e, e.precision_recall)
    yield "reliability", _reliability(e)
    if e.net_benefit is not None:
        yield "decision", _decision(e, *e.net_benefit)
    yield "coverage", _coverage(e)
    yield "confusion", _confusion(e)
    if e.subgroups:
        yield "subgroups", _subgroups(e)


def _axes(title: str, xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    return figure, axes


def _line(axes: Axes, curve: Curve, colour: str, label: str) -> None:
    axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.18, linewidth=0)
    axes.plot(curve.x, curve.y, color=colour, linewidth=1.8, label=label)


def _legend(figure: Figure) -> None:
    """Below the axes: curves and intervals may lie anywhere in them."""
    labels = [label for axes in figure.axes for label in axes.get_legend_handles_labels()[1]]
    columns = 2 if max(map(len, labels)) <= LABEL_CHARS else 1
    figure.legend(loc="outside lower center", ncols=columns)


def _named(estimates: list[Estimate]) -> dict[str, Estimate]:
    return {estimate.name: estimate for estimate in estimates}


def _span(estimate: Estimate) -> str:
    bounds = estimate.interval
    if not np.isfinite(bounds.low):
        return f"{bounds.value:.3f}"
    return f"{bounds.value:.3f} ({bounds.low:.3f}–{bounds.high:.3f})"


def _cross(axes: Axes, x: Estimate, y: Estimate, *, label: str, turn_x: bool = False) -> None:
    """A point with the intervals of both its values; `turn_x` draws 1 - x."""
    at, low, high = x.interval.value, x.interval.low, x.interval.high
    if turn_x:
        at, low, high = 1 - at, 1 - high, 1 - low
    mid = y.interval
    style: Any = {"color": COLOURS[1], "zorder": 4}
    axes.plot([low, high], [mid.value, mid.value], linewidth=1.2, **style)
    axes.plot([at, at], [mid.low, mid.high], linewidth=1.2, **style)
    axes.plot(at, mid.value, "o", markersize=6, label=label, **style)


def _roc(e: Evaluation) -> Figure:
    title = f"ROC: {e.positive} against the rest" if e.positive else "ROC: each class, the others"
    figure, axes = _axes(title, "1 − specificity", "sensitivity")
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":")
    named = _named(e.measures)
    for colour, (name, curve) in zip(cycle(COLOURS), e.roc.items(), strict=False):
        axes.plot([0, 0], [0, curve.y[0]], color=colour, linewidth=1.8)
        _line(axes, curve, colour, f"AUROC {_span(named['auroc'])}" if e.positive else name)
    if e.positive:
        found, spared = named["sensitivity"], named["specificity"]
        _cross(axes, spared, found, label="frozen operating point", turn_x=True)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    _legend(figure)
    return figure


def _precision_recall(e: Evaluation, curve: Curve) -> Figure:
    named = _named(e.measures)
    figure, axes = _axes(f"Precision and recall: {e.positive}", "recall (sensitivity)", "precision")
    share = float(e.scored.truth.mean())
    axes.axhline(share, color=GREY, linewidth=1, linestyle=":", label=f"by chance {share:.2f}")
    _line(axes, curve, COLOURS[0], f"AUPRC {_span(named['auprc'])}")
    _cross(axes, named["sensitivity"], named["ppv"], label="frozen operating point")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    _legend(figure)
    return figure


def _reliability(e: Evaluation) -> Figure:
    prob = e.scored.probs.max(1) if e.positive is None else e.scored.probs[:, e.scored.index]
    figure = Figure(figsize=SIZE, layout="constrained")
    axes, below = figure.subplots(2, 1, height_ratios=(5, 1), sharex=True)
    axes.set_title("Reliability: do probabilities come true?")
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":")
    before, after = (_named(side)["ece"] for side in (e.calibration.before, e.calibration.after))
    _bins(axes, e.calibration.curve_before, GREY, "s", f"as predicted, ECE {_span(before)}")
    _bins(axes, e.calibration.curve_after, COLOURS[0], "o", f"calibrated, ECE {_span(after)}")
    axes.set(
        ylabel="share of positive slides" if e.positive else "share of right verdicts",
        ylim=(-0.02, 1.02),
    )
    _legend(figure)
    below.hist(prob, bins=40, range=(0, 1), color=COLOURS[0], alpha=0.7)
    what = f"probability of {e.positive}" if e.positive else "probability of the verdict"
    below.set(xlabel=what, ylabel="slides", xlim=(-0.01, 1.01))
    return figure


def _bins(axes: Axes, curve: Reliability, colour: str, marker: str, label: str) -> None:
    reach = np.abs(np.stack([curve.low, curve.high]) - curve.frequency)
    axes.errorbar(
        curve.prob, curve.frequency, yerr=reach, color=colour, elinewidth=0.9, linewidth=1.3,
        marker=marker, markersize=5, label=label,
    )  # fmt: skip


def _decision(e: Evaluation, model: Curve, everyone: Curve) -> Figure:
    figure, axes = _axes(
        "Decision curve: is acting on it worth it?", "threshold probability", "net benefit a slide"
    )
    axes.axhline(0, color="black", linewidth=1, label="call none positive")
    _line(axes, everyone, GREY, "call every slide positive")
    _line(axes, model, COLOURS[0], "follow the model")
    top = float(np.nanmax([model.high.max(), everyone.y.max()]))
    axes.set(xlim=(0, 1), ylim=(-0.25 * top, 1.05 * top))
    _legend(figure)
    return figure


def _coverage(e: Evaluation) -> Figure:
    figure, axes = _axes(
        "Reading the unsure ones again", "slides decided by the model", "wrong among them"
    )
    named = _named(e.certain)
    level = e.settings.certain_error
    axes.axhline(level, color=GREY, linewidth=1, linestyle=":", label=f"asked for: {level:.1%}")
    _line(axes, e.coverage, COLOURS[0], "surest slides of the test")
    if np.isfinite(named["error"].interval.value):
        _cross(axes, named["coverage"], named["error"], label="band frozen on tune")
    shown = e.coverage.high[np.isfinite(e.coverage.high)]
    high = named["error"].interval.high
    highest = max([level, *shown, *([high] if np.isfinite(high) else [])])
    axes.set(xlim=(0, 1.02), ylim=(-0.02 * highest, min(1.02, 1.15 * highest)))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    _legend(figure)
    return figure


def _confusion(e: Evaluation) -> Figure:
    classes = e.scored.test.classes
    edge = max(4.6, 1.6 + 0.8 * len(classes))
    figure = Figure(figsize=(edge + 0.8, edge), layout="constrained")
    axes = figure.subplots()
    shares = e.confusion / np.maximum(e.confusion.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(e.confusion):
        share = shares[row, column]
        axes.text(
            column, row, f"{_count(count)}\n{share:.0%}", ha="center", va="center",
            color="white" if share > 0.55 else "#1b2430",
        )  # fmt: skip
    steep = len(classes) > 4 or max(map(len, classes)) > 12
    axes.set_xticks(
        range(len(classes)), classes, rotation=35 * steep, ha="right" if steep else "center"
    )
    axes.set_yticks(range(len(classes)), classes)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    several = len(np.unique(e.scored.test.seeds)) > 1
    axes.set(
        title="Slides by truth and verdict" + (", mean of seeds" if several else ""),
        xlabel="verdict",
        ylabel="truth",
    )
    return figure


def _count(slides: float) -> str:
    return f"{slides:.1f}".removesuffix(".0")


def _subgroups(e: Evaluation) -> Figure:
    overall = _named([*e.measures, *e.class_measures])
    names = list(e.subgroups[0].measures)
    rows = [f"{g.column}: {g.value}  (n={g.n_slides})" for g in e.subgroups]
    figure = Figure(figsize=(10, 1.3 + 0.36 * len(rows)), layout="constrained")
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, names, strict=True):
        axes.axvline(overall[name].interval.value, color=GREY, linewidth=1, linestyle=":")
        for at, group in enumerate(e.subgroups):
            found = group.measures[name]
            if isinstance(found, str):
                axes.text(0.5, at, "too few", ha="center", va="center", color=GREY, fontsize=9)
                continue
            bounds = found.interval
            axes.plot([bounds.low, bounds.high], [at, at], color=COLOURS[0], linewidth=1.5)
            axes.plot(bounds.value, at, "o", color=COLOURS[0], markersize=5)
        axes.set(title=TITLES[name], xlim=(0, 1.02), ylim=(len(rows) - 0.5, -0.5))
        axes.set_yticks(range(len(rows)), rows)
        axes.grid(visible=False, axis="y")
    return figure
