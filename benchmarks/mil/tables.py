"""Predictions as they are stored, the scores of every repeat, and the tables of a page."""

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
    """Of all bags that the folds of a repeat tested, each once."""

    data: str
    head: str
    repeat: int
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
    """A score for every set, head and repeat, in the order they first stand in."""
    order = {key: number for number, key in enumerate(dict.fromkeys(map(_key, said)))}
    sorted_said = sorted(said, key=lambda row: order[_key(row)])
    return [_score(list(rows)) for _, rows in groupby(sorted_said, key=_key)]


def _key(row: Said) -> tuple[str, str, int]:
    return row.data, row.head, row.repeat


def _score(rows: Sequence[Said]) -> Score:
    target = np.array([row.target for row in rows])
    odds = np.array([row.log_odds for row in rows])
    return Score(
        data=rows[0].data,
        head=rows[0].head,
        repeat=rows[0].repeat,
        bags=len(rows),
        accuracy=float(((odds > 0) == target).mean()),
        auroc=float(roc_auc_score(target, odds)),
    )


def as_markdown(rows: Sequence[Score]) -> str:
    """AUROC and accuracy by head and set, mean (standard deviation) over the repeats."""
    return "\n\n".join(
        [
            _table("AUROC", rows, lambda score: score.auroc),
            _table("accuracy", rows, lambda score: score.accuracy),
        ]
    )


def _table(name: str, rows: Sequence[Score], value: Callable[[Score], float]) -> str:
    sets = list(dict.fromkeys(score.data for score in rows))
    lines = [f"| {name} | {' | '.join(sets)} |", "|---|" + "--:|" * len(sets)]
    for head in dict.fromkeys(score.head for score in rows):
        cells = [_cell([value(s) for s in rows if (s.data, s.head) == (of, head)]) for of in sets]
        lines.append(f"| {head} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(values: Sequence[float]) -> str:
    if not values:
        return ""
    spread = f" ({np.std(values, ddof=1):.3f})" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{spread}"
