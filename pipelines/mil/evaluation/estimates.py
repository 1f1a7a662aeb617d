"""A measure with its interval, how that was made, and its value in each seed.

Measures are averaged over seeds. A bootstrap draws patients with all their slides and all seeds,
so that an interval speaks of other patients, and never narrows because there were more seeds.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from statistics import stdev

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from distill.downstream.statistics import Floats, Interval, interval, share
from pipelines.mil.evaluation.scored import Scored, over_seeds

BOOTSTRAP = "bootstrap of patients"
NONE = "none: every resample gives the same value"
FEWEST = 5  # patients of a class below which a bootstrap is too sure
UNDEFINED = "none: the measure has no value on these slides"
COLLAPSED = 1e-12  # span of resampled values that is rounding

Among = Callable[[Scored], NDArray[np.bool_]]  # which of the slides


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A measure on the test slides.

    Attributes
    ----------
    interval
        Mean over the seeds that have a value, with its 95 % interval; its bounds are NaN where
        there is none.
    method
        How the interval was made.
    by_seed
        The value in each seed.
    """

    name: str
    interval: Interval
    method: str
    by_seed: tuple[float, ...]

    @property
    def seed_sd(self) -> float:
        """Standard deviation over the seeds that have a value; NaN with one."""
        values = [value for value in self.by_seed if isfinite(value)]
        return stdev(values) if len(values) > 1 else float("nan")


def bootstrapped(
    name: str, scored: Scored, measure: Callable[[Scored], Floats], *, sides: Sequence[Among] = ()
) -> Estimate:
    """A measure that gives (1 + R,) values, with the percentile interval of its resamples.

    Where all resamples agree, as when no slide is wrong, the bootstrap knows nothing of what
    other patients would show, and there is no interval. Nor is there one where one of `sides`, the
    classes that are compared, has fewer than `FEWEST` patients: it would be too narrow; or where
    the measure has no value, as a share of no slides.
    """
    values, by_seed = over_seeds(scored, measure)
    seen = values[1:][np.isfinite(values[1:])]
    fewest = min((fewest_patients(scored, side) for side in sides), default=FEWEST)
    bounds, method = interval(values), BOOTSTRAP
    if fewest < FEWEST:
        method = f"none: {too_few(fewest)}"
    elif not np.isfinite(values[0]):
        method = UNDEFINED
    elif len(seen) == 0 or np.ptp(seen) < COLLAPSED:
        method = NONE
    if method != BOOTSTRAP:
        bounds = replace(bounds, low=float("nan"), high=float("nan"))
    return Estimate(name=name, interval=bounds, method=method, by_seed=_floats(by_seed))


def fewest_patients(scored: Scored, among: Among) -> int:
    """Patients of the slides `among`, in the seed that has the fewest."""
    return min(len(np.unique(of_seed.patients[among(of_seed)])) for of_seed in scored.seeds())


def too_few(count: int) -> str:
    """Why there is no number of so many patients, below `FEWEST`."""
    return f"too few: {count} patient{'' if count == 1 else 's'} of a class"


def proportion(
    name: str,
    scored: Scored,
    among: Among,
    hit: Among,
    weights: Floats,
) -> Estimate:
    """The share of the slides `among` which `hit` is true.

    With one seed and one slide a patient the interval is Wilson's (1927). Otherwise it is a
    bootstrap of patients; where that collapses, at 0 and 1, or there are fewer than `FEWEST` of
    them, Wilson's with the number of patients.
    """

    def measure(part: Scored) -> Floats:
        return share_among(part, among(part), hit(part), weights)

    estimate = bootstrapped(name, scored, measure)
    value = estimate.interval.value
    one_seed = len(estimate.by_seed) == 1
    at = among(scored)
    n_patients = len(np.unique(scored.patients[at]))
    alone = one_seed and n_patients == at.sum()
    collapsed = estimate.method == NONE and value in (0.0, 1.0)
    if n_patients == 0 or not (alone or collapsed or n_patients < FEWEST):
        return estimate
    low, high = wilson(round(value * n_patients), n_patients)
    method = "Wilson" if alone else "Wilson, patients counted"
    bounds = Interval(value=value, low=low, high=high)
    return Estimate(name=name, interval=bounds, method=method, by_seed=estimate.by_seed)


def share_among(
    part: Scored, among: NDArray[np.bool_], hit: NDArray[np.bool_], weights: Floats
) -> Floats:
    """Share of the slides in `among` that are in `hit`, (1 + R,), for one seed."""
    size = weights.shape[1]
    counts = [np.bincount(part.patients[rows], minlength=size) for rows in (among & hit, among)]
    return share(weights @ counts[0], weights @ counts[1])


def wilson(hits: int, total: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion."""
    bounds = binomtest(hits, total).proportion_ci(method="wilson")
    return float(bounds.low), float(bounds.high)


def _floats(values: Floats) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
