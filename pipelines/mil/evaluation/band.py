"""The band of uncertain scores: as narrow as the tuning slides can answer for."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from distill.downstream.statistics import Floats
from pipelines.mil.statistics import ROUNDING

CONFIDENCE = 0.9  # that the error of what lies outside the band is at most the one asked for


def patients_needed(error: float) -> float:
    """Fewest patients, all judged right, whose error is at most `error`; infinite for 0.

    Examples
    --------
    >>> patients_needed(0.05), patients_needed(0.3)
    (45, 7)
    """
    return math.ceil(math.log(1 - CONFIDENCE) / math.log1p(-error)) if error else math.inf


def band_width(
    margins: Floats, right: NDArray[np.bool_], patients: NDArray[np.generic], error: float
) -> float:
    """The least margin above which at most `error` of other patients have a wrong verdict.

    The surest slides of `patients_needed` are taken, then ever less sure ones, for as long as the
    upper Clopper-Pearson bound of the share of their patients who have a wrong verdict is at most
    `error`. Since it ends where the bound is first passed, the error of what is kept is at most
    `error` with probability `CONFIDENCE` over the choice of tuning patients: a sequence of tests in
    a fixed order (Angelopoulos et al., Learn then Test, arXiv:2110.01052, 2021), of a selective
    risk (Geifman and El-Yaniv, NeurIPS 2017). Patients are counted, since slides of one are not
    independent. The margin is 0 where all may be kept and infinite where none; otherwise it lies
    halfway between two.

    Parameters
    ----------
    margins
        (N,) how far each slide is from the other verdict, >= 0.
    right
        (N,) whether its verdict is.
    patients
        (N,) whose it is.
    error
        Share of patients, of those with a slide that is kept, who may have a wrong one, 0-1.
    """
    order = np.argsort(-margins, kind="stable")
    ends = np.flatnonzero(np.diff(margins[order], append=-np.inf))  # equal margins stay together
    owners, is_wrong = patients[order], ~right[order]
    kept = _seen(owners, np.ones_like(is_wrong))[ends]
    wrong = _seen(owners, is_wrong)[ends]
    bound = np.where(wrong < kept, beta.ppf(CONFIDENCE, wrong + 1, kept - wrong), 1.0)
    tested = np.flatnonzero(kept >= patients_needed(error))
    passed = np.logical_and.accumulate(bound[tested] <= error + ROUNDING)
    if not passed.any():
        return math.inf
    last = ends[tested[passed][-1]]
    if last == len(margins) - 1:
        return 0.0
    return float(margins[order[last]] + margins[order[last + 1]]) / 2


def _seen(owners: NDArray[np.generic], among: NDArray[np.bool_]) -> NDArray[np.intp]:
    """How many different owners the slides `among` have up to each slide, (N,)."""
    at = np.flatnonzero(among)
    first = at[np.unique(owners[at], return_index=True)[1]]
    return np.cumsum(np.bincount(first, minlength=len(owners)))
