"""Predictions are checked before anything is computed from them, and everything wrong is told."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from pipelines.errors import PredictionsError
from pipelines.mil.evaluation.predictions import read_predictions

Rows = list[dict[str, Any]]


def test_what_was_written_is_read(
    simulated: Callable[..., Rows], write_rows: Callable[[Rows], Path]
) -> None:
    rows = simulated(patients=12, folds=3, seeds=2)
    folder = write_rows(rows)
    read = read_predictions(folder)
    assert read.classes == ("normal", "tumour")
    assert read.slide_ids.tolist() == [row["slide_id"] for row in rows]
    assert [read.classes[t] for t in read.targets] == [row["target"] for row in rows]
    assert np.array_equal(read.logits, [row["logits"] for row in rows])
    assert read.models() == [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)]
    assert set(read.carried) == {"site", "scanner"}
    assert read.carried["scanner"][0] == "not told"
    assert len(read_predictions(folder / "predictions.parquet").folds) == len(rows)
    assert read.at(read.splits == "test").slide_ids.tolist() == [
        row["slide_id"] for row in rows if row["split"] == "test"
    ]


def test_patients_are_told_apart_however_written(
    simulated: Callable[..., Rows], write_rows: Callable[[Rows], Path]
) -> None:
    rows = simulated(patients=12, slides=2, seeds=2)
    expected = read_predictions(write_rows(rows))
    loud = [row | {"patient_id": row["patient_id"].upper()} for row in rows[1:]]
    read = read_predictions(write_rows([rows[0], *loud]))
    assert read.patients == expected.patients == 12
    assert len(set(read.patient_ids[read.slide_ids == "s000-0"])) == 1


def change(rows: Rows, number: int, **values: Any) -> None:
    rows[number] = rows[number] | values


DAMAGES: dict[str, Callable[[Rows], object]] = {
    r"s000-0 \(cyst\)": lambda rows: change(rows, 0, target="cyst"),
    r"not 2 logits, one a class: s000-0 \(3\)": lambda rows: change(
        rows, 0, logits=[1.0, 2.0, 0.0]
    ),
    r"not finite: s000-0 \(\[1.0, nan\]\)": lambda rows: change(
        rows, 0, logits=[1.0, float("nan")]
    ),
    r"not finite: s000-0 \(\[inf, 0.0\]\)": lambda rows: change(
        rows, 0, logits=[float("inf"), 0.0]
    ),
    r"classes differ from the first row's: s000-0": lambda rows: change(
        rows, 1, classes=["tumour", "normal"]
    ),
    "split is train; known are tune and test": lambda rows: change(rows, 0, split="train"),
    "patient_id; where patients are not known": lambda rows: change(rows, 0, patient_id=None),
    "values are missing in logits": lambda rows: change(rows, 0, logits=None),
    "a slide has different targets": lambda rows: change(rows, 0, target="tumour"),
    "a slide has different patients": lambda rows: change(rows, 0, patient_id="other"),
    "in both tune and test of fold 0, seed 0: patient 'p000'": lambda rows: rows.append(
        rows[0] | {"slide_id": "second", "split": "tune"}
    ),
    r"fold 0, seed 0: patient 'p000' \(also written 'P000'\)": lambda rows: rows.append(
        rows[0] | {"slide_id": "second", "split": "tune", "patient_id": "P000"}
    ),
    "slides tested more than once with seed 0: s000-0": lambda rows: rows.append(rows[0]),
    "fold 0, seed 0 has no rows of split 'tune'": lambda rows: rows.__setitem__(
        slice(None), [row for row in rows if row["fold"] or row["split"] == "test"]
    ),
    "fold 1, seed 0 has no rows of split 'test'": lambda rows: rows.__setitem__(
        slice(None), [row for row in rows if row["fold"] != 1 or row["split"] == "tune"]
    ),
    "no rows": lambda rows: rows.clear(),
}


@pytest.mark.parametrize("message", DAMAGES)
def test_what_is_wrong_is_told(
    simulated: Callable[..., Rows], tmp_path: Path, message: str
) -> None:
    rows = simulated(patients=12)
    schema = pa.Table.from_pylist(rows).schema
    assert (rows[0]["slide_id"], rows[0]["fold"], rows[0]["split"]) == ("s000-0", 0, "test")
    DAMAGES[message](rows)
    parquet.write_table(pa.Table.from_pylist(rows, schema), tmp_path / "predictions.parquet")
    with pytest.raises(PredictionsError, match=message):
        read_predictions(tmp_path)


def test_several_things_wrong_are_told_at_once(
    simulated: Callable[..., Rows], write_rows: Callable[[Rows], Path]
) -> None:
    rows = simulated(patients=12)
    change(rows, 0, target="cyst")
    change(rows, 1, logits=[0.0, float("nan")])
    with pytest.raises(PredictionsError, match=r"cyst.*not finite"):
        read_predictions(write_rows(rows))


def test_one_class_is_not_enough(
    simulated: Callable[..., Rows], write_rows: Callable[[Rows], Path]
) -> None:
    rows = [
        row | {"classes": ["normal"], "logits": [0.0]}
        for row in simulated(patients=12)
        if row["target"] == "normal"
    ]
    with pytest.raises(PredictionsError, match="at least two different"):
        read_predictions(write_rows(rows))


def test_files_that_are_no_predictions(tmp_path: Path) -> None:
    with pytest.raises(PredictionsError, match="mil train"):
        read_predictions(tmp_path)
    (tmp_path / "predictions.parquet").write_text("slide_id,logits")
    with pytest.raises(PredictionsError, match="is no Parquet file"):
        read_predictions(tmp_path)
    parquet.write_table(pa.table({"slide_id": ["a"]}), tmp_path / "predictions.parquet")
    with pytest.raises(PredictionsError, match=r"lacks patient_id, fold, .*logits"):
        read_predictions(tmp_path)
