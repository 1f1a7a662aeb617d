"""Tables and pictures of a folder of predictions; nothing is read but the Parquet."""

from pathlib import Path

import pandas as pd

from benchmarks.markdown import table_row, with_interval
from benchmarks.pretraining.candidates import OBJECTIVES, OURS
from benchmarks.pretraining.costs import cost_lines, read_costs
from benchmarks.pretraining.parts import SCHEMAS, NoResultsError, percent, read_parts, read_seconds
from benchmarks.pretraining.plots import ordered, plot_differences, plot_fractions, plot_scores
from benchmarks.pretraining.scores import Measured, difference_table, measure, score_table
from benchmarks.pretraining.seen import COLUMN, with_seen
from wsi.atomic import replacing

NAMES = {
    "balanced_accuracy": "balanced accuracy",
    "auroc": "AUROC",
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "dice": "Dice",
    "aji": "AJI",
    "mean_iou": "mean IoU",
}
INTRODUCTION = (
    "Intervals are 95 % percentile intervals of a bootstrap of patients ({resamples} resamples); "
    "where a data set does not tell patients, each image counts as one. They hold the pretrained "
    "weights fixed; `seed_sd` in `scores.csv` is the spread over pretraining seeds. AUROC is the "
    "mean of each class against the rest. What an encoder or its teacher saw of a task's images in "
    "pretraining is in the last column: with some of them, its score is no test of it."
)
SEEN = "seen in pretraining"
PAIRED = (
    f"{OURS} minus the other objective on the same samples. p is two-sided, from the same "
    "resamples, so never below {least:.2g}; Holm's correction counts all differences of one "
    "measure with one probe and share of the labels."
)


def write_report(out: Path, *, resamples: int) -> str:
    """Write ``report/``: scores.csv, differences.csv, report.md and pictures; returns report.md.

    Raises
    ------
    NoResultsError
        If the folder holds no predictions.
    MixedResultsError
        If it holds predictions of other weights, data or settings that would be pooled.
    """
    measured = _measure_all(out, resamples)
    scores = with_seen(score_table(measured), out)
    differences = difference_table(measured)
    folder = out / "report"
    for name, frame in (("scores", scores), ("differences", differences)):
        with replacing(folder / f"{name}.csv") as tmp:
            frame.to_csv(tmp, index=False, float_format="%.6g")
    pictures = _draw(scores, differences, folder)
    lines = ["# Does pretraining help?", "", INTRODUCTION.format(resamples=resamples), ""]
    lines += _score_lines(scores)
    if len(differences):
        lines += ["## Differences", "", PAIRED.format(least=2 / (resamples + 1)), ""]
        lines += _difference_lines(differences)
    lines += ["## Pictures", ""]
    lines += [f"![{path.stem}]({path.name})" for path in pictures]
    lines += [
        "",
        *cost_lines(read_costs(out)),
        "## Cost of the probes",
        "",
        "| encoder | seconds |",
        "|---|--:|",
    ]
    lines += [f"| {name} | {seconds:.0f} |" for name, seconds in read_seconds(out).items()]
    text = "\n".join(lines) + "\n"
    with replacing(folder / "report.md") as tmp:
        tmp.write_text(text)
    return text


def _measure_all(out: Path, resamples: int) -> list[Measured]:
    kinds = [kind for kind in SCHEMAS if (out / kind).is_dir()]
    if not kinds:
        raise NoResultsError(f"none of {', '.join(SCHEMAS)} is in {out}")
    return [m for kind in kinds for m in measure(read_parts(out, kind), resamples=resamples)]


def _draw(scores: pd.DataFrame, differences: pd.DataFrame, folder: Path) -> list[Path]:
    paths = []
    for probe in sorted(scores["probe"].unique()):
        paths.append(folder / f"scores-{probe}.png")
        plot_scores(scores, probe, paths[-1])
        if (differences["probe"] == probe).any():
            paths.append(folder / f"differences-{probe}.png")
            plot_differences(differences, probe, paths[-1])
    for task, rows in scores.groupby("task", observed=True):
        if rows["fraction"].nunique() > 1:
            paths.append(folder / f"labels-{task}.png")
            plot_fractions(scores, str(task), paths[-1])
    return paths


def _score_lines(scores: pd.DataFrame) -> list[str]:
    """A table a task and probe; objectives nobody ran have a row that says so."""
    lines: list[str] = []
    ran = scores.groupby("architecture", observed=True)["objective"].unique()
    for (task, probe), rows in scores.groupby(["task", "probe"], observed=True):
        measures = [name for name in NAMES if name in set(rows["measure"])]
        fractions = sorted(rows["fraction"].unique(), reverse=True)
        one = rows.iloc[0]
        lines += [
            f"## {task}, {probe}",
            "",
            f"{one['samples']} images of {one['patients'] or 'unknown'} patients.",
            "",
            table_row(["encoder", "labels", *(NAMES[name] for name in measures), "seeds", SEEN]),
            table_row(["---", "--:", *("---" for _ in measures), "--:", "---"]),
        ]
        found = rows.set_index(["architecture", "objective", "fraction", "measure"])
        for architecture, objectives in ran.items():
            # One that is not pretrained by anything, such as the mean colour, has no rows to miss.
            wanted = set(OBJECTIVES) if set(objectives) & set(OBJECTIVES) else set()
            for objective in ordered(sorted({*objectives, *wanted})):
                name = f"{objective}, {architecture}"
                for fraction in fractions:
                    key = (architecture, objective, fraction)
                    if (*key, measures[0]) in found.index:
                        cells = [_interval(found.loc[(*key, m)]) for m in measures]
                        seeds = str(found.loc[(*key, measures[0]), "seeds"])
                        labels = _labels(str(probe), fraction)
                        seen = str(found.loc[(*key, measures[0]), COLUMN])
                        lines.append(table_row([name, labels, *cells, seeds, seen]))
                if (architecture, objective) not in found.index.droplevel([2, 3]):
                    lines.append(table_row([name, "", "*not run*", *[""] * (len(measures) + 1)]))
        lines.append("")
    return lines


def _difference_lines(differences: pd.DataFrame) -> list[str]:
    lines: list[str] = []
    for (measure_name, probe), rows in differences.groupby(["measure", "probe"], observed=True):
        lines += [
            f"### {NAMES[str(measure_name)]}, {probe}",
            "",
            table_row(["task", "architecture", "labels", "other", "difference", "p", "p (Holm)"]),
            table_row(["---", "---", "--:", "---", "---", "--:", "--:"]),
        ]
        for row in rows.to_dict("records"):
            value = with_interval(row)
            labels = _labels(str(probe), row["fraction"])
            cells = [row["task"], row["architecture"], labels, row["other"]]
            lines.append(table_row([*cells, value, f"{row['p']:.2g}", f"{row['p_holm']:.2g}"]))
        lines.append("")
    return lines


def _labels(probe: str, fraction: float) -> str:
    """How many labels a probe learnt from."""
    if probe.startswith("few-shot-"):
        return f"{probe.split('-')[2]} a class"
    return f"{percent(fraction)}%"


def _interval(row: "pd.Series[float]") -> str:
    return f"{row['value']:.3f} ({row['low']:.3f}-{row['high']:.3f})"
