"""Whose labelled images are: `cases.csv` beside them, where their names do not tell."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from distill.downstream.loaders.layout import read_table
from distill.errors import LabelledDataError
from distill.teachers.labelled import case_of

CASES_NAME = "cases.csv"
COLUMNS = ("name", "case")  # file stem; patient or slide


def cases_of(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """The case of each image by its file stem: as `CASES_NAME` in `folder` says, or `case_of`.

    Raises
    ------
    LabelledDataError
        If the table does not have exactly one row, with a case, for each image.
    """
    path = folder / CASES_NAME
    if not path.is_file():
        return {name: case_of(name) for name in names}
    rows = read_table(path, COLUMNS, task=folder.name)
    cases = {row["name"]: row["case"] for row in rows if row["case"]}
    wrong = {
        "more than one row": [n for n, k in Counter(row["name"] for row in rows).items() if k > 1],
        "no image": {row["name"] for row in rows} - set(names),
        "no row, or no case": set(names) - set(cases),
    }
    told = [f"{what}: {', '.join(sorted(of))}" for what, of in wrong.items() if of]
    if told:
        raise LabelledDataError(
            f"{path}: {'; '.join(told)}; one row for each image is wanted, or no table at all"
        )
    return cases


def write_cases(folder: Path, cases: Mapping[str, str]) -> None:
    """Write `CASES_NAME` for images that are in `folder`."""
    with (folder / CASES_NAME).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        writer.writerows(cases.items())
