"""Predictions as they are stored, the scores of every fold, and the tables of a page."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import groupby
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks.mil.predict import Said
from wsi.atomic import replacing


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Of the bags of a fold, all judged by one trained head."""

    data: str
    head: str
    repeat: int
    fold: int
    bags: int
    accuracy: float
    auroc: float


def read_said(path: Path) -> list[Said]:
    """Predictions that are stored; none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [
            Said(
                data=row["data"],
                head=row["head"],
                repeat=int(row["repeat"]),
                fold=int(row["fold"]),
                bag=int(row["bag"]),
                target=int(row["target"]),
                log_odds=float(row["log_odds"]),
            )
            for row in csv.DictReader(file)
        ]


def write_rows(path: Path, rows: Sequence[Said] | Sequence[Score]) -> None:
    """Write at least one row as CSV, numbers so that they are read back as they are."""
    with replacing(path) as tmp, tmp.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(rows[0])])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def scores(said: Sequence[Said]) -> list[Score]:
    """A score for every set, head and fold, in the order they were measured in."""
    return [_score(list(rows)) for _, rows in groupby(said, key=piece)]


def piece(row: Said | Score) -> tuple[str, str, int, int]:
    """What is measured at once: a set, a head, and a fold of a repeat."""
    return row.data, row.head, row.repeat, row.fold


def in_common(rows: Sequence[Score]) -> list[Score]:
    """Those of the folds that every head of the set has been measured on."""
    heads = {data: {row.head for row in rows if row.data == data} for data in _sets(rows)}
    seen: dict[tuple[str, int, int], set[str]] = {}
    for row in rows:
        seen.setdefault((row.data, row.repeat, row.fold), set()).add(row.head)
    return [row for row in rows if seen[row.data, row.repeat, row.fold] == heads[row.data]]


def _score(rows: Sequence[Said]) -> Score:
    target = np.array([row.target for row in rows])
    odds = np.array([row.log_odds for row in rows])
    return Score(
        data=rows[0].data,
        head=rows[0].head,
        repeat=rows[0].repeat,
        fold=rows[0].fold,
        bags=len(rows),
        accuracy=float(((odds > 0) == target).mean()),
        auroc=float(roc_auc_score(target, odds)),
    )


def as_markdown(rows: Sequence[Score]) -> str:
    """AUROC and accuracy by head and set: mean over folds (standard error of the mean)."""
    return "\n\n".join(
        [
            _table("AUROC", rows, lambda score: score.auroc),
            _table("accuracy", rows, lambda score: score.accuracy),
        ]
    )


def _table(name: str, rows: Sequence[Score], value: Callable[[Score], float]) -> str:
    sets = _sets(rows)
    folds = [len({(row.repeat, row.fold) for row in rows if row.data == of}) for of in sets]
    titles = [f"{of}, {count} folds" for of, count in zip(sets, folds, strict=True)]
    lines = [f"| {name} | {' | '.join(titles)} |", "|---|" + "--:|" * len(sets)]
    for head in dict.fromkeys(score.head for score in rows):
        cells = [_cell([value(s) for s in rows if (s.data, s.head) == (of, head)]) for of in sets]
        lines.append(f"| {head} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _sets(rows: Sequence[Score]) -> list[str]:
    return list(dict.fromkeys(row.data for row in rows))


def _cell(values: Sequence[float]) -> str:
    if len(values) < 2:
        return "".join(f"{value:.3f}" for value in values)
    return f"{np.mean(values):.3f} ({np.std(values, ddof=1) / np.sqrt(len(values)):.3f})"
