"""The uncertain band: by hand, and what it promises of other patients, by simulation."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import binomtest, norm

from pipelines.mil.evaluation.band import CONFIDENCE, band_width, patients_needed

Slides = tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.intp]]


def upper(wrong: int, kept: int) -> float:
    """Clopper-Pearson's one-sided bound, as scipy has it."""
    test = binomtest(wrong, kept, alternative="less")
    return float(test.proportion_ci(confidence_level=CONFIDENCE, method="exact").high)


@pytest.mark.parametrize("error", [0.01, 0.05, 0.1, 0.3, 0.9])
def test_fewest_patients_are_those_whose_bound_is_low_enough(error: float) -> None:
    needed = int(patients_needed(error))
    assert upper(0, needed) <= error
    assert needed == 1 or upper(0, needed - 1) > error
    margins, right = np.arange(needed, 0.0, -1), np.ones(needed, bool)
    assert band_width(margins, right, np.arange(needed), error) == 0
    assert band_width(margins[1:], right[1:], np.arange(needed - 1), error) == math.inf


def test_no_number_of_patients_is_enough_for_no_error() -> None:
    assert patients_needed(0) == math.inf
    assert band_width(np.ones(1000), np.ones(1000, bool), np.arange(1000), 0.0) == math.inf


def test_the_band_ends_where_the_bound_is_first_passed() -> None:
    """At an error of 0.3 seven are needed, twelve with one wrong and sixteen with two."""
    margins, owners = np.arange(40.0, 0, -1), np.arange(40)

    def kept(*wrong: int, patients: NDArray[np.intp] = owners) -> int:
        right = ~np.isin(np.arange(40), wrong)
        return int((margins >= band_width(margins, right, patients, 0.3)).sum())

    assert upper(1, 12) <= 0.3 < upper(1, 11)
    assert upper(2, 16) <= 0.3 < upper(2, 15)
    assert kept() == 40
    assert kept(6) == 0  # among the seven
    assert kept(7) == 7  # the eighth of eight: 1 of 8 is too many, whatever comes later
    assert kept(11) == 40
    assert kept(11, 12) == 12
    # Two slides a patient: both of the thirteenth count once, and two patients of fourteen twice.
    assert kept(24, 25, patients=owners // 2) == 40
    assert kept(24, 26, patients=owners // 2) == 26
    # Equal margins are kept or left together.
    tied = np.repeat([3.0, 2.0, 1.0], [7, 2, 31])
    right = np.arange(40) != 8
    assert band_width(tied, right, owners, 0.3) == 2.5


def simulator(slides: int, seed: int) -> Callable[[int], Slides]:
    """Slides whose verdict is right with the logistic of their margin, alike within a patient."""
    generator = np.random.default_rng(seed)

    def draw(patients: int) -> Slides:
        margins = generator.exponential(2.5, (patients, slides))
        shared, own = generator.normal(size=(patients, 1)), generator.normal(size=margins.shape)
        chance = norm.cdf(np.sqrt(0.5) * (shared + own))
        owners = np.repeat(np.arange(patients), slides)
        return margins.ravel(), (chance < expit(margins)).ravel(), owners

    return draw


@pytest.mark.parametrize(
    ("patients", "slides", "error"), [(40, 1, 0.1), (100, 1, 0.05), (100, 1, 0.1), (60, 3, 0.1)]
)
def test_the_error_asked_for_is_held_as_often_as_promised(
    patients: int, slides: int, error: float
) -> None:
    draw = simulator(slides, seed=0)
    margins, right, owners = draw(20_000)
    broken, decided = [], []
    for _ in range(200):
        kept = margins >= band_width(*draw(patients), error)
        of_all, of_wrong = (len(np.unique(owners[rows])) for rows in (kept, kept & ~right))
        broken.append(of_wrong > error * of_all)
        decided.append(of_all > 0)
    assert np.mean(broken) <= 1 - CONFIDENCE
    assert np.mean(decided) > 0.1  # and not by deciding nothing
