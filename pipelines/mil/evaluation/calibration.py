"""Calibration: one temperature for the logits, and how far probabilities are from frequencies.

Two classes are judged by the probability of the positive one against whether it is true; more
classes by the probability of the predicted one against whether that is right. Both are called
`prob` and `outcome` here.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import softmax

from distill.downstream.statistics import Floats, share

BINS = 15
SHARPEST = 20.0  # largest 1 / temperature that is believed
SIMULATIONS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Temperature:
    """What logits are divided by; `note` says why it is 1 where none could be fitted."""

    value: float
    note: str = ""


def fit_temperature(logits: Floats, targets: NDArray[np.integer]) -> Temperature:
    """The temperature with the least negative log-likelihood (Guo et al., ICML 2017).

    The loss is convex in 1 / temperature, so its minimum is where its slope is 0. On few slides
    there may be none: when every slide is right, ever sharper probabilities fit ever better, and
    when logits do not point at the true class on average, none are better than equal ones.
    Neither is to be believed, and the temperature stays 1.

    Parameters
    ----------
    logits
        (N, C) of the tuning slides.
    targets
        (N,) true classes.
    """
    true = np.take_along_axis(logits, targets[:, None], 1)[:, 0]

    def slope(sharpness: float) -> float:
        expected = (softmax(sharpness * logits, axis=1) * logits).sum(1)
        return float((expected - true).mean())

    if slope(SHARPEST) <= 0:
        if (logits.argmax(1) == targets).all():
            return Temperature(value=1.0, note="not fitted: no tuning slide is wrong")
        return Temperature(value=1.0, note=f"not fitted: one below {1 / SHARPEST:g} would fit best")
    if slope(0) >= 0:
        return Temperature(value=1.0, note="not fitted: the tuning logits do not tell the classes")
    return Temperature(value=1 / float(brentq(slope, 0, SHARPEST)))


def brier(probs: Floats, targets: NDArray[np.integer]) -> Floats:
    """Squared error of each slide, (N,): 0-1 for two classes, 0-2 summed over more."""
    error = ((probs - np.eye(probs.shape[1])[targets]) ** 2).sum(1)
    return np.asarray(error / 2 if probs.shape[1] == 2 else error)


def equal_mass_bins(prob: Floats, bins: int = BINS) -> NDArray[np.intp]:
    """Bin of each value, (N,), counted from 0: as many values in each as ties allow.

    Equal values share a bin, so there may be fewer than `bins`.
    """
    inner = np.arange(1, bins) / bins
    edges = np.quantile(prob, inner, method="inverted_cdf")
    return np.unique(np.searchsorted(edges, prob, side="left"), return_inverse=True)[1]


def expected_calibration_error(
    prob: Floats,
    outcome: NDArray[np.bool_],
    patients: NDArray[np.integer],
    weights: Floats,
    *,
    bins: int = BINS,
) -> Floats:
    """Mean distance of probability and frequency over bins of equal mass, (R,).

    `patients` (N,) are columns of `weights` (R, P). The bins are those of all slides in every
    resample. The measure is never negative, so it is above 0 by chance alone: see `ece_by_chance`.
    """
    at = equal_mass_bins(prob, bins)
    gap = np.zeros((weights.shape[1], at.max() + 1))
    np.add.at(gap, (patients, at), prob - outcome)
    whole = weights @ np.bincount(patients, minlength=weights.shape[1])
    return share(np.abs(weights @ gap).sum(1), whole)


def centred(values: Floats) -> Floats:
    """Resamples of a measure that is never negative, (1 + R,), moved around the value in row 0.

    Resampling adds noise, and noise raises such a measure: its plain percentile interval may lie
    wholly above the value.
    """
    moved = values - (np.nanmean(values[1:]) - values[0])
    return np.concatenate([values[:1], np.maximum(moved[1:], 0)])


def ece_by_chance(prob: Floats, *, bins: int = BINS, seed: int = 0) -> float:
    """The expected calibration error to expect if every probability were exactly right."""
    generator = np.random.default_rng(seed)
    at = equal_mass_bins(prob, bins)
    outcomes = generator.random((SIMULATIONS, len(prob))) < prob
    gap = np.zeros((SIMULATIONS, at.max() + 1))
    for index in range(gap.shape[1]):
        gap[:, index] = np.abs((prob - outcomes)[:, at == index].sum(1))
    return float(gap.sum(1).mean() / len(prob))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """Frequency against probability in bins of equal mass, (B,) each, with a 95 % band."""

    prob: Floats
    frequency: Floats
    low: Floats
    high: Floats


def reliability(
    prob: Floats,
    outcome: NDArray[np.bool_],
    patients: NDArray[np.integer],
    weights: Floats,
    *,
    bins: int,
) -> Reliability:
    """The reliability curve with a bootstrap band over patients."""
    at = equal_mass_bins(prob, bins)
    counts, events = (np.zeros((weights.shape[1], at.max() + 1)) for _ in range(2))
    np.add.at(counts, (patients, at), 1)
    np.add.at(events, (patients, at), outcome)
    frequency = share(weights @ events, weights @ counts)
    low, high = np.nanpercentile(frequency[1:], [2.5, 97.5], axis=0)
    return Reliability(
        prob=np.bincount(at, prob) / np.bincount(at),
        frequency=frequency[0],
        low=low,
        high=high,
    )
