"""What is chosen on the tuning slides of a model and frozen before its test slides are looked at.

Temperature, operating point and the width of the uncertain band belong to one trained model:
one fold and one seed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logsumexp

from distill.downstream.statistics import Floats
from pipelines.errors import PredictionsError
from pipelines.mil.evaluation.band import band_width
from pipelines.mil.evaluation.calibration import Temperature, fit_temperature
from pipelines.mil.evaluation.criterion import Criterion, choose_threshold
from pipelines.mil.evaluation.predictions import Predictions
from pipelines.mil.heads.head import SUREST


def log_odds(logits: Floats, index: int) -> Floats:
    """Log-odds of one class against the others, (N,), whose logistic is the softmax."""
    rest = np.delete(logits, index, axis=1)
    return np.asarray(logits[:, index] - logsumexp(rest, axis=1))


def decisive_odds(logits: Floats, index: int) -> Floats:
    """`log_odds` within ±`SUREST`, (N,): what verdicts depend on, here and in a run."""
    return np.clip(log_odds(logits, index), -SUREST, SUREST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """What the tuning slides of one model decided.

    Attributes
    ----------
    positive
        Index of the positive class; None where the verdict is the most probable class.
    threshold
        On the calibrated log-odds of the positive class; NaN without one.
    width
        Half-width of the uncertain band, in log-odds around the threshold; without a positive
        class the least gap between the two largest calibrated logits.
    tune_error, tune_coverage
        Among the tuning slides outside the band, and their share.
    """

    fold: int
    seed: int
    positive: int | None
    criterion: str
    temperature: Temperature
    threshold: float
    width: float
    tune_error: float
    tune_coverage: float
    n_tune: int
    n_tune_positive: int

    @property
    def threshold_prob(self) -> float:
        """The threshold as a calibrated probability."""
        return float(expit(self.threshold))

    @property
    def band(self) -> tuple[float, float]:
        """Calibrated probabilities of the positive class between which a slide is uncertain."""
        return float(expit(self.threshold - self.width)), float(expit(self.threshold + self.width))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """What a frozen model says of slides: (N,) each.

    Attributes
    ----------
    predicted
        Class index; with a positive class, that one or -1 for "not it".
    margin
        How far the slide is from another verdict, in log-odds.
    """

    predicted: NDArray[np.int64]
    right: NDArray[np.bool_]
    margin: Floats


def judge(
    logits: Floats, targets: NDArray[np.int64], positive: int | None, threshold: Floats | float
) -> Verdicts:
    """Verdicts on calibrated logits (N, C), with one threshold or (N,)."""
    if positive is None:
        predicted = logits.argmax(1)
        two = np.sort(logits, axis=1)[:, -2:]
        return Verdicts(
            predicted=predicted, right=predicted == targets, margin=two[:, 1] - two[:, 0]
        )
    above = decisive_odds(logits, positive) - threshold
    called = above >= 0
    return Verdicts(
        predicted=np.where(called, positive, -1),
        right=called == (targets == positive),
        margin=np.abs(above),
    )


def freeze(
    predictions: Predictions, *, positive: int | None, criterion: Criterion, error: float
) -> list[Frozen]:
    """Choose temperature, threshold and band for each model from its tuning slides.

    Raises
    ------
    PredictionsError
        If a model's tuning slides lack a class that the choice needs.
    """
    return [
        _freeze_one(predictions, fold, seed, positive, criterion, error)
        for fold, seed in predictions.models()
    ]


def _freeze_one(
    predictions: Predictions,
    fold: int,
    seed: int,
    positive: int | None,
    criterion: Criterion,
    error: float,
) -> Frozen:
    of_model = (predictions.folds == fold) & (predictions.seeds == seed)
    tune = predictions.at(of_model & (predictions.splits == "tune"))
    of_side = tune.targets == (0 if positive is None else positive)
    if (
        of_side.all()
        or len(set(tune.targets.tolist())) < 2
        or (positive is not None and not of_side.any())
    ):
        only = ", ".join(predictions.classes[c] for c in np.unique(tune.targets))
        raise PredictionsError(
            f"tune of fold {fold}, seed {seed} holds only {only}; nothing can be chosen on it"
        )
    temperature = fit_temperature(tune.logits, tune.targets)
    logits = tune.logits / temperature.value
    threshold = float("nan")
    if positive is not None:
        threshold = choose_threshold(of_side, decisive_odds(logits, positive), criterion)
    verdicts = judge(logits, tune.targets, positive, threshold)
    width = band_width(verdicts.margin, verdicts.right, tune.patient_ids, error)
    kept = verdicts.margin >= width
    return Frozen(
        fold=fold,
        seed=seed,
        positive=positive,
        criterion=str(criterion) if positive is not None else "most probable class",
        temperature=temperature,
        threshold=threshold,
        width=width,
        tune_error=float((~verdicts.right[kept]).mean()) if kept.any() else float("nan"),
        tune_coverage=float(kept.mean()),
        n_tune=len(tune.targets),
        n_tune_positive=int(of_side.sum()) if positive is not None else 0,
    )
