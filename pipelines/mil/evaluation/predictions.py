"""Predictions of slides, read back and checked before anything is computed from them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.cohort.patients import patients_astride, spelt_once
from pipelines.errors import PredictionsError
from pipelines.mil import predictions as written
from pipelines.mil.predictions import PREDICTIONS_NAME

COLUMNS = tuple(name for name, _ in written.COLUMNS)
SPLITS = ("tune", "test")
NOT_TOLD = "not told"
LISTED = 5  # examples a message gives

Strings = NDArray[np.str_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """One row a slide, fold, seed and side of the split.

    Attributes
    ----------
    classes
        Names, in the order of the logits.
    patient_ids
        (N,) ids, each patient's in one spelling.
    targets
        (N,) index of the true class.
    logits
        (N, C) float64, as the head gave them.
    carried
        (N,) texts of each other column, `NOT_TOLD` where there is none.
    """

    classes: tuple[str, ...]
    slide_ids: Strings
    patient_ids: Strings
    folds: NDArray[np.int64]
    seeds: NDArray[np.int64]
    splits: Strings
    targets: NDArray[np.int64]
    logits: NDArray[np.float64]
    carried: Mapping[str, Strings]

    def at(self, rows: NDArray[Any]) -> "Predictions":
        """These rows, given as a mask or as indices."""
        return Predictions(
            classes=self.classes,
            slide_ids=self.slide_ids[rows],
            patient_ids=self.patient_ids[rows],
            folds=self.folds[rows],
            seeds=self.seeds[rows],
            splits=self.splits[rows],
            targets=self.targets[rows],
            logits=self.logits[rows],
            carried={name: values[rows] for name, values in self.carried.items()},
        )

    @property
    def patients(self) -> int | None:
        """How many there are; None where they are not known, and each slide counts as one."""
        is_known = (self.patient_ids != self.slide_ids).any()
        return len(np.unique(self.patient_ids)) if is_known else None

    def models(self) -> list[tuple[int, int]]:
        """(fold, seed) of each trained model, in order."""
        pairs = set(zip(self.folds.tolist(), self.seeds.tolist(), strict=True))
        return sorted(pairs, key=lambda pair: (pair[1], pair[0]))


def read_predictions(path: Path) -> Predictions:
    """Read ``predictions.parquet``, or the one in a folder that ``raypath mil train`` wrote.

    Raises
    ------
    PredictionsError
        If the file is missing, does not parse or lacks a column; else listing what is wrong in
        it: unknown classes or splits, logits that are not finite or too few, a slide twice, a
        patient on both sides, a side without slides.
    """
    import pyarrow as pa
    from pyarrow import parquet

    path = path / PREDICTIONS_NAME if path.is_dir() else path
    if not path.is_file():
        raise PredictionsError(
            f"no predictions at {path}; 'raypath mil train' writes {PREDICTIONS_NAME}"
        )
    try:
        table = parquet.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise PredictionsError(f"{path} is no Parquet file that can be read: {error}") from error
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise PredictionsError(
            f"{path} lacks {', '.join(missing)}; its columns are {', '.join(table.column_names)}"
        )
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    _refuse(path, _wrong_values(columns))
    predictions = _assemble(columns)
    _refuse(path, _wrong_split(predictions))
    owners = spelt_once(predictions.patient_ids.tolist())
    return replace(predictions, patient_ids=np.array(owners, str))


def _refuse(path: Path, problems: Iterator[str]) -> None:
    found = list(problems)
    if found:
        raise PredictionsError(f"{path}: " + "; ".join(found))


def _wrong_values(columns: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    """What makes single rows unusable."""
    if not columns["slide_id"]:
        yield "it has no rows"
        return
    empty = [name for name in COLUMNS if any(value is None for value in columns[name])]
    if empty:
        yield (
            f"values are missing in {', '.join(empty)}; "
            "where patients are not known, patient_id is the slide_id"
        )
        return
    classes = columns["classes"][0]
    if len(set(classes)) < max(2, len(classes)):
        yield f"classes are {classes}; at least two different ones are needed"
    ids = columns["slide_id"]
    yield from _listed(
        "classes differ from the first row's",
        [i for i, names in zip(ids, columns["classes"], strict=True) if names != classes],
    )
    yield from _listed(
        f"the target is none of the classes {', '.join(map(str, classes))}",
        [
            f"{slide} ({target})"
            for slide, target in zip(ids, columns["target"], strict=True)
            if target not in classes
        ],
    )
    yield from _listed(
        f"not {len(classes)} logits, one a class",
        [
            f"{slide} ({len(values)})"
            for slide, values in zip(ids, columns["logits"], strict=True)
            if len(values) != len(classes)
        ],
    )
    yield from _listed(
        "logits that are not finite",
        [
            f"{slide} ({values})"
            for slide, values in zip(ids, columns["logits"], strict=True)
            if any(value is None or not np.isfinite(value) for value in values)
        ],
    )
    unknown = sorted({str(split) for split in columns["split"]} - set(SPLITS))
    if unknown:
        yield f"split is {', '.join(unknown)}; known are {' and '.join(SPLITS)}"
    for name in ("fold", "seed"):
        if not all(isinstance(value, int) for value in columns[name]):
            yield f"{name} holds values that are no whole numbers"


def _listed(what: str, rows: Sequence[object]) -> Iterator[str]:
    if rows:
        more = f" and {len(rows) - LISTED} more" if len(rows) > LISTED else ""
        yield f"{what}: {', '.join(map(str, rows[:LISTED]))}{more}"


def _assemble(columns: Mapping[str, Sequence[Any]]) -> Predictions:
    classes = tuple(map(str, columns["classes"][0]))
    return Predictions(
        classes=classes,
        slide_ids=np.array(columns["slide_id"], str),
        patient_ids=np.array(columns["patient_id"], str),
        folds=np.array(columns["fold"], np.int64),
        seeds=np.array(columns["seed"], np.int64),
        splits=np.array(columns["split"], str),
        targets=np.array([classes.index(target) for target in columns["target"]], np.int64),
        logits=np.array(columns["logits"], np.float64),
        carried={
            name: np.array([NOT_TOLD if v in (None, "") else str(v) for v in values], str)
            for name, values in columns.items()
            if name not in COLUMNS
        },
    )


def _wrong_split(predictions: Predictions) -> Iterator[str]:
    """What makes the rows together unusable."""
    ids, targets = predictions.slide_ids, predictions.targets
    if len(set(zip(ids.tolist(), targets.tolist(), strict=True))) > len(set(ids.tolist())):
        yield "a slide has different targets in different rows"
    owners = spelt_once(predictions.patient_ids.tolist())
    if len(set(zip(ids.tolist(), owners, strict=True))) > len(set(ids)):
        yield "a slide has different patients in different rows"
    for fold, seed in predictions.models():
        of_model = (predictions.folds == fold) & (predictions.seeds == seed)
        model = predictions.at(of_model)
        for side in SPLITS:
            if side not in model.splits:
                yield f"fold {fold}, seed {seed} has no rows of split {side!r}"
        sides = zip(model.patient_ids.tolist(), model.splits.tolist(), strict=True)
        yield from _listed(
            f"in both tune and test of fold {fold}, seed {seed}",
            [patient for patient, _ in patients_astride(sides)],
        )
    for seed in np.unique(predictions.seeds):
        tested = ids[(predictions.seeds == seed) & (predictions.splits == "test")]
        names, times = np.unique(tested, return_counts=True)
        yield from _listed(
            f"slides tested more than once with seed {seed}", names[times > 1].tolist()
        )
