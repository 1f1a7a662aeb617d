"""Tables and the picture of the cohort, from stored predictions alone."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.cohort.scores import Measured, difference_table, score_table
from benchmarks.markdown import table_row, with_interval
from benchmarks.pretraining.plots import COLOURS, MARKERS, STYLE
from wsi.atomic import replacing

TITLES = {
    "slide_auroc": "slides",
    "tile_auroc": "tiles, by score",
    "model_tile_auroc": "tiles of one head, by score",
    "score_within_slide": "tiles within a slide, by score",
    "attention_within_slide": "tiles within a slide, by attention",
}
PLOTTED = ("slide_auroc", "tile_auroc")
PICTURE_NAME = "scores.png"


def write_report(out: Path, measured: Sequence[Measured]) -> str:
    """Write ``scores.csv``, ``differences.csv``, ``slides.csv``, the picture; returns the tables.

    No file holds a pixel of a slide.
    """
    scores, differences = score_table(measured), difference_table(measured)
    slides = pd.concat([m.slides for m in measured])
    tables = {"scores": scores, "differences": differences, "slides": slides}
    for name, table in tables.items():
        with replacing(out / f"{name}.csv") as tmp:
            table.to_csv(tmp, index=False, float_format="%.4g", lineterminator="\n")
    plot_scores(scores, out / PICTURE_NAME)
    text = "\n".join([*_score_lines(scores), "", *_difference_lines(differences)]) + "\n"
    with replacing(out / "report.md") as tmp:
        tmp.write_text(text)
    return text


def _score_lines(scores: pd.DataFrame) -> list[str]:
    measures = [name for name in TITLES if name in set(scores["measure"])]
    patients = scores.groupby("measure")["patients"].max()
    heads = [f"{TITLES[m]} ({patients[m]} patients)" for m in measures]
    lines = [
        table_row(["encoder", "head", *heads]),
        table_row(["---", "---", *["---"] * len(heads)]),
    ]
    found = scores.set_index(["encoder", "head", "measure"])
    for encoder, head in dict.fromkeys(zip(scores["encoder"], scores["head"], strict=True)):
        cells = [
            _value(found.loc[(encoder, head, m)]) if (encoder, head, m) in found.index else "—"
            for m in measures
        ]
        lines.append(table_row([encoder, head, *cells]))
    return lines


def _difference_lines(differences: pd.DataFrame) -> list[str]:
    heads = ["encoder", "minus", "head", "measure", "difference", "p", "p (Holm)"]
    lines = [table_row(heads), table_row([*["---"] * 5, "--:", "--:"])]
    for row in differences.to_dict("records"):
        value = with_interval(row)
        ps = [f"{row['p']:.2g}", f"{row['p_holm']:.2g}"]
        names = [row["encoder"], row["other"], row["head"], TITLES[row["measure"]]]
        lines.append(table_row([*names, value, *ps]))
    return lines


def _value(row: "pd.Series[float]") -> str:
    if np.isnan(row["low"]):
        return f"{row['value']:.3f}"
    return f"{row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f})"


def plot_scores(scores: pd.DataFrame, path: Path) -> None:
    """AUROC of slides and of tiles, one line an encoder, one colour a head."""
    encoders = list(dict.fromkeys(scores["encoder"]))
    heads = list(dict.fromkeys(scores["head"]))
    with mpl.rc_context(STYLE):
        size = (7.6, 1.3 + 0.34 * len(encoders))
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(1, len(PLOTTED), sharex=True, sharey=True, squeeze=False)[0]
        for panel, measure in zip(panels, PLOTTED, strict=True):
            panel.axvline(0.5, color="0.4", lw=1, ls=":", label="by chance")
            for number, head in enumerate(heads):
                rows = scores[(scores["measure"] == measure) & (scores["head"] == head)]
                shift = (number - (len(heads) - 1) / 2) * 0.22
                at = np.array([encoders.index(name) for name in rows["encoder"]]) + shift
                _dots(panel, rows, at, number, head)
            panel.set_yticks(range(len(encoders)), encoders)
            panel.set_ylim(len(encoders) - 0.5, -0.5)
            panel.set_title(TITLES[measure])
            panel.set_xlabel("AUROC")
            panel.grid(axis="x", alpha=0.3)
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(
            handles, names, loc="outside lower center", ncols=len(names), frameon=False,
            title="bars: 95 % interval over patients", title_fontsize=8,
        )  # fmt: skip
        with replacing(path) as tmp:
            figure.savefig(tmp, format="png")


def _dots(
    panel: Axes, rows: pd.DataFrame, at: NDArray[np.floating], number: int, label: str
) -> None:
    colour, marker = COLOURS[number], MARKERS[number]
    panel.hlines(at, rows["low"], rows["high"], color=colour, lw=1.6, alpha=0.7)
    panel.plot(rows["value"], at, marker, color=colour, ms=5, label=label)
