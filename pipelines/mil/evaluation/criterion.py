"""How a threshold is chosen on tuning slides."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from distill.downstream.statistics import Floats
from pipelines.errors import PredictionsError, UsageError
from pipelines.mil.statistics import ROUNDING, halfway_below, youden_threshold


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """How a threshold is chosen: by Youden's index, or as a least sensitivity or specificity."""

    kind: Literal["youden", "sensitivity", "specificity"]
    least: float = 0.0

    def __str__(self) -> str:
        return "Youden's index" if self.kind == "youden" else f"{self.kind} at least {self.least:g}"


def parse_criterion(text: str) -> Criterion:
    """Read ``youden``, ``sensitivity=0.95`` or ``specificity=0.9``.

    Raises
    ------
    UsageError
        If it is none of them, or the number is not within 0-1.
    """
    if text == "youden":
        return Criterion(kind="youden")
    kind, _, number = text.partition("=")
    try:
        least = float(number)
    except ValueError:
        least = -1.0
    if 0 < least <= 1 and kind == "sensitivity":
        return Criterion(kind="sensitivity", least=least)
    if 0 < least <= 1 and kind == "specificity":
        return Criterion(kind="specificity", least=least)
    raise UsageError(
        f"--operating-point {text!r}: it is youden, sensitivity=X or specificity=X with 0 < X <= 1"
    )


def choose_threshold(positive: NDArray[np.bool_], scores: Floats, criterion: Criterion) -> float:
    """The threshold on `scores` that `criterion` chooses; slides at or above it are positive.

    For a least sensitivity it is the highest threshold that reaches it, for a least specificity
    the lowest. It lies halfway between two scores.

    Raises
    ------
    PredictionsError
        If no threshold at which any slide is positive reaches the specificity.
    """
    if criterion.kind == "youden":
        return youden_threshold(positive, scores)
    false_rate, true_rate, thresholds = roc_curve(positive, scores, drop_intermediate=False)
    if criterion.kind == "sensitivity":
        reached = true_rate[1:] >= criterion.least - ROUNDING
        return halfway_below(scores, float(thresholds[1:][reached].max()))
    reached = 1 - false_rate[1:] >= criterion.least - ROUNDING
    if not reached.any():
        raise PredictionsError(
            f"no threshold has {criterion} on {len(positive)} tuning slides, {(~positive).sum()} "
            f"of them negative, and calls any slide positive; ask for less, or tune on more slides"
        )
    return halfway_below(scores, float(thresholds[1:][reached].min()))
