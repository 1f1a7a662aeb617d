"""The test slides as the frozen models judge them: what every measure is computed from."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from distill.downstream.statistics import Floats, mean_present
from pipelines.errors import PredictionsError
from pipelines.mil.evaluation.operating_point import Frozen, judge, log_odds
from pipelines.mil.evaluation.predictions import Predictions


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Test slides, one row a slide and seed; the folds of a seed are pooled.

    Attributes
    ----------
    test
        The rows as they were predicted.
    patients
        (N,) number of each slide's owner.
    logits
        (N, C), calibrated by the temperature of the slide's model.
    positive
        Index of the positive class, or None.
    predicted, right, margin
        As in `Verdicts`.
    is_certain
        (N,) whether the slide lies outside its model's uncertain band.
    """

    test: Predictions
    patients: NDArray[np.intp]
    logits: Floats
    positive: int | None
    predicted: NDArray[np.int64]
    right: NDArray[np.bool_]
    margin: Floats
    is_certain: NDArray[np.bool_]

    @property
    def truth(self) -> NDArray[np.bool_]:
        """Whether the slide is of the positive class, (N,)."""
        return np.asarray(self.test.targets == self.index)

    @property
    def called(self) -> NDArray[np.bool_]:
        """Whether the verdict is the positive class, (N,)."""
        return np.asarray(self.predicted == self.index)

    @property
    def index(self) -> int:
        """The positive class, asked for only where there is one."""
        if self.positive is None:
            raise ValueError("these verdicts have no positive class")
        return self.positive

    @property
    def score(self) -> Floats:
        """Calibrated log-odds of the positive class, (N,)."""
        return log_odds(self.logits, self.index)

    @property
    def probs(self) -> Floats:
        """Calibrated probabilities, (N, C)."""
        return np.asarray(softmax(self.logits, axis=1))

    def at(self, rows: NDArray[np.bool_]) -> "Scored":
        """These rows; owners keep their numbers."""
        return Scored(
            test=self.test.at(rows),
            patients=self.patients[rows],
            logits=self.logits[rows],
            positive=self.positive,
            predicted=self.predicted[rows],
            right=self.right[rows],
            margin=self.margin[rows],
            is_certain=self.is_certain[rows],
        )

    def seeds(self) -> Iterator["Scored"]:
        """The slides of each seed."""
        return (self.at(self.test.seeds == seed) for seed in np.unique(self.test.seeds))


def score_test(predictions: Predictions, frozen: Sequence[Frozen]) -> Scored:
    """Apply to each test slide what its model froze.

    Raises
    ------
    PredictionsError
        If a seed's test slides are all of one class, or all positive or negative.
    """
    test = predictions.at(predictions.splits == "test")
    positive = frozen[0].positive
    size = len(test.targets)
    temperatures, thresholds, widths = (np.full((size, 1), np.nan) for _ in range(3))
    for model in frozen:
        rows = (test.folds == model.fold) & (test.seeds == model.seed)
        temperatures[rows], widths[rows] = model.temperature.value, model.width
        thresholds[rows] = model.threshold
    for seed in np.unique(test.seeds):
        present = np.unique(test.targets[test.seeds == seed])
        if len(present) < 2 or (positive is not None and positive not in present):
            only = ", ".join(test.classes[c] for c in present)
            wanted = "two classes" if positive is None else f"{test.classes[positive]} and others"
            raise PredictionsError(f"test of seed {seed} holds only {only}; {wanted} are needed")
    logits = test.logits / temperatures
    verdicts = judge(logits, test.targets, positive, thresholds[:, 0])
    return Scored(
        test=test,
        patients=np.unique(test.patient_ids, return_inverse=True)[1],
        logits=logits,
        positive=positive,
        predicted=verdicts.predicted,
        right=verdicts.right,
        margin=verdicts.margin,
        is_certain=verdicts.margin >= widths[:, 0],
    )


def over_seeds(scored: Scored, measure: Callable[[Scored], Floats]) -> tuple[Floats, Floats]:
    """A measure (R, ...) of each seed, averaged; and its row 0 for each seed, (S, ...)."""
    each = np.stack([measure(part) for part in scored.seeds()], axis=1)
    return mean_present(each), each[0]
