"""The table of labels: what is known of each slide before any model has seen it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.cohort.tables import Row, read_csv
from pipelines.errors import ManifestError

LABEL, SPLIT = "label", "split"
# What a column may be called, whatever its capitals; the first that is there counts.
SLIDES = ("slide_id", "slide", "filename")  # ours, CLAM; STAMP
PATIENTS = ("patient_id", "patient", "case_id", "case")  # ours; STAMP; CLAM, TRIDENT
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
    """A table of labels; `patient_column` names the patients, None where there is no such column.

    `has_split` says whether there is a split.
    """

    rows: tuple[Labelled, ...]
    patient_column: str | None
    has_split: bool


def read_labels(path: Path, *, split: str | None = None) -> Labels:
    """Read a CSV with columns for the slide, its `label`, and optionally its patient and others.

    Slides and patients may be called as in `SLIDES` and `PATIENTS`; a slide's id may end in
    ``.h5``, as STAMP's do. `split` names the column with a split; by default it is ``split``,
    which may be missing.

    Raises
    ------
    ManifestError
        If it does not parse or lacks a column; else listing every problem: slides that occur
        twice or without a label, patients that are missing for some slides only, or that two
        columns tell differently.
    """
    try:
        columns, table = read_csv(path)
    except (OSError, ValueError) as error:
        raise ManifestError(f"labels {path}: {error}") from error
    slide = next(iter(_called(columns, SLIDES)), SLIDES[0])
    patients = _called(columns, PATIENTS)
    label = next(iter(_called(columns, (LABEL,))), LABEL)
    patient = patients[0] if patients else None
    wanted = [slide, label] + ([split] if split else [])
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
    splits = _called(columns, (SPLIT,))
    column = split or next(iter(splits), SPLIT)
    used = (slide, *patients, label, *splits, column)
    extra = [name for name in columns if name not in used]
    if len(set(columns)) < len(columns):
        raise ManifestError(
            f"labels {path}: columns are {', '.join(columns)}; a name may be there only once"
        )
    for _, row in table:
        row[slide] = row[slide].removesuffix(".h5")
    problems = list(_problems(table, slide, label, patients))
    if problems:
        raise ManifestError(f"labels {path}: {'; '.join(problems)}")
    return Labels(
        rows=tuple(
            Labelled(
                slide_id=row[slide],
                patient_id=row[patient or slide],
                target=row[label],
                split=row.get(column),
                carried={name: row[name] for name in extra},
            )
            for _, row in table
        ),
        patient_column=patient,
        has_split=column in columns,
    )


def _called(columns: Sequence[str], names: Sequence[str]) -> list[str]:
    """The columns with one of these names, in the names' order."""
    plain = {column: column.casefold().replace(" ", "_") for column in columns}
    return sorted((c for c in plain if plain[c] in names), key=lambda c: names.index(plain[c]))


def _problems(
    rows: Sequence[Row], slide: str, label: str, patients: Sequence[str]
) -> Iterator[str]:
    """What is wrong in the rows."""
    times = Counter(row[slide] for _, row in rows)
    yield from (f"{slide} {name!r} occurs {n} times" for name, n in times.items() if n > 1)
    for number, row in rows:
        needed = (slide, label, *patients)
        yield from (f"row {number} has no {name}" for name in needed if not row[name])
    differ = [number for number, row in rows if len({row[name] for name in patients}) > 1]
    if differ:
        yield (
            f"{' and '.join(patients)} differ in {len(differ)} rows, first in row {differ[0]}: "
            "keep the one that tells patients apart, rename the other"
        )
    if not rows:
        yield "no slides"
