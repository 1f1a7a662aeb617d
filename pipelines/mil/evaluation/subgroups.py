"""The same measures by site, scanner or any other column, where there are patients enough."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from distill.downstream.statistics import Floats
from pipelines.errors import UsageError
from pipelines.mil.evaluation.binary import SIDES, auroc_estimate, sensitivity, specificity
from pipelines.mil.evaluation.estimates import FEWEST, Estimate, fewest_patients, too_few
from pipelines.mil.evaluation.multiclass import is_class, over_classes
from pipelines.mil.evaluation.predictions import Predictions
from pipelines.mil.evaluation.scored import Scored


@dataclass(frozen=True, slots=True, kw_only=True)
class Subgroup:
    """Measures of the slides with one value of a column.

    Attributes
    ----------
    events
        Positive slides; without a positive class, slides of the rarest class.
    measures
        An estimate, or the reason why there is none.
    """

    column: str
    value: str
    n_slides: int
    n_patients: int
    events: int
    measures: dict[str, Estimate | str]


def check_columns(predictions: Predictions, columns: Sequence[str]) -> None:
    """Refuse columns that the predictions do not have.

    Raises
    ------
    UsageError
        Naming those there are.
    """
    for column in columns:
        if column not in predictions.carried:
            known = ", ".join(predictions.carried) or "none"
            raise UsageError(f"--by {column}: no such column; further columns are: {known}")


def by_subgroup(scored: Scored, weights: Floats, columns: Sequence[str]) -> list[Subgroup]:
    """Measure each value of each column, with the same resamples as everything else."""
    groups = []
    for column in columns:
        values = scored.test.carried[column]
        for value in np.unique(values):
            part = scored.at(values == value)
            measures = _over_classes if scored.positive is None else _binary
            slides, first = np.unique(part.test.slide_ids, return_index=True)
            targets = part.test.targets[first]
            counts = np.bincount(targets, minlength=len(part.test.classes))
            groups.append(
                Subgroup(
                    column=column,
                    value=str(value),
                    n_slides=len(slides),
                    n_patients=len(np.unique(part.patients)),
                    events=int(counts.min() if scored.positive is None else counts[scored.index]),
                    measures=measures(part, weights),
                )
            )
    return groups


def _binary(part: Scored, weights: Floats) -> dict[str, Estimate | str]:
    owners = [fewest_patients(part, side) for side in SIDES]
    wanted: dict[str, tuple[int, Callable[[], Estimate]]] = {
        "auroc": (min(owners), lambda: auroc_estimate(part)),
        "sensitivity": (owners[0], lambda: sensitivity(part, weights)),
        "specificity": (owners[1], lambda: specificity(part, weights)),
    }
    return {
        name: make() if count >= FEWEST else too_few(count)
        for name, (count, make) in wanted.items()
    }


def _over_classes(part: Scored, weights: Floats) -> dict[str, Estimate | str]:
    sides = (is_class(c) for c in range(len(part.test.classes)))
    fewest = min(fewest_patients(part, side) for side in sides)
    names = ("macro_auroc", "accuracy_balanced_over_classes")
    if fewest < FEWEST:
        return dict.fromkeys(names, too_few(fewest))
    found = {e.name: e for e in over_classes(part, weights)}
    return {name: found[name] for name in names}
