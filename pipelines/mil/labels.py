"""The table of labels: what is known of each slide before any model has seen it."""

import csv
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.errors import ManifestError

SLIDE, PATIENT, LABEL, SPLIT = "slide_id", "patient_id", "label", "split"
# Columns of the predictions, which no other column may be called like.
RESERVED = ("target", "fold", "seed", "classes", "logits")


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """A row: a slide, its owner, its class, and what else the table says of it.

    `patient_id` is the slide's own id where the table names no patients; `split` is what the
    table's column says, if it was asked for. `carried` are the other columns, such as site.
    """

    slide_id: str
    patient_id: str
    target: str
    split: str | None = None
    carried: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """A table of labels; `has_patients` and `has_split` say whether it had those columns."""

    rows: tuple[Labelled, ...]
    has_patients: bool
    has_split: bool


def read_labels(path: Path, *, split: str | None = None) -> Labels:
    """Read a CSV with columns `slide_id`, `label`, and optionally `patient_id` and others.

    `split` names the column with a split; by default it is ``split``, which may be missing.

    Raises
    ------
    ManifestError
        If it does not parse or lacks a column; else listing every problem: slides that occur
        twice or without a label, patients that are missing for some slides only.
    """
    try:
        # With or without the mark that spreadsheets put first.
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True, skipinitialspace=True)
            columns = list(reader.fieldnames or ())
            table = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(f"labels {path}: {error}") from error
    wanted = [SLIDE, LABEL] + ([split] if split else [])
    missing = [name for name in wanted if name not in columns]
    taken = [name for name in columns if name in RESERVED]
    if missing or taken:
        raise ManifestError(
            f"labels {path}: columns are {', '.join(columns)}; "
            + "; ".join(
                [f"{name!r} is needed" for name in missing]
                + [f"{name!r} is what the predictions call theirs: rename it" for name in taken]
            )
        )
    column = split or SPLIT
    extra = [name for name in columns if name not in (SLIDE, PATIENT, LABEL, SPLIT, column)]
    uneven = [n for n, row in enumerate(table, start=2) if None in row or None in row.values()]
    if uneven or len(set(columns)) < len(columns):
        raise ManifestError(
            f"labels {path}: columns are {', '.join(columns)}, each once; rows {uneven} have "
            "more or fewer values"
        )
    rows = [{name: value.strip() for name, value in row.items()} for row in table]
    _check(path, rows, has_patients=PATIENT in columns)
    return Labels(
        rows=tuple(
            Labelled(
                slide_id=row[SLIDE],
                patient_id=row.get(PATIENT, row[SLIDE]),
                target=row[LABEL],
                split=row.get(column),
                carried={name: row[name] for name in extra},
            )
            for row in rows
        ),
        has_patients=PATIENT in columns,
        has_split=column in columns,
    )


def _check(path: Path, rows: list[dict[str, str]], *, has_patients: bool) -> None:
    times = Counter(row[SLIDE] for row in rows)
    problems = [f"slide_id {slide!r} occurs {n} times" for slide, n in times.items() if n > 1]
    for number, row in enumerate(rows, start=2):
        needed = [SLIDE, LABEL] + ([PATIENT] if has_patients else [])
        problems += [f"row {number} has no {name}" for name in needed if not row[name]]
    if not rows:
        problems.append("no slides")
    if problems:
        raise ManifestError(f"labels {path}: {'; '.join(problems)}")
