"""Measures of segmented nuclei: by hand, and against a second implementation pixel by pixel."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from distill.metrics import SCORE_NAMES, Scores, match_one_to_one, score, summarise

small_maps = arrays(np.int32, (5, 6), elements=st.integers(0, 4))


def row(text: str) -> NDArray[np.int32]:
    """A picture of one row, a digit a pixel."""
    return np.array([[int(digit) for digit in text]], np.int32)


def slow(truth: NDArray[np.int32], predicted: NDArray[np.int32]) -> dict[str, float]:
    """The same measures from sets of pixels."""
    of_truth, of_predicted = (
        [set(np.flatnonzero(labels == n)) for n in np.unique(labels[labels > 0])]
        for labels in (truth, predicted)
    )

    def iou(a: set[int], b: set[int]) -> float:
        return len(a & b) / len(a | b)

    shared = union = 0
    used = set()
    for nucleus in of_truth:
        overlaps = [iou(nucleus, other) for other in of_predicted]
        if max(overlaps, default=0) > 0:
            best = int(np.argmax(overlaps))
            shared += len(nucleus & of_predicted[best])
            union += len(nucleus | of_predicted[best])
            used.add(best)
        else:
            union += len(nucleus)
    union += sum(len(p) for i, p in enumerate(of_predicted) if i not in used)
    matched = [v for t in of_truth for p in of_predicted if (v := iou(t, p)) > 0.5]
    foreground, answer = set().union(*of_truth), set().union(*of_predicted)
    dq = 2 * len(matched) / (len(of_truth) + len(of_predicted))
    sq = sum(matched) / len(matched) if matched else 0.0
    return {
        "dice": 2 * len(foreground & answer) / (len(foreground) + len(answer)),
        "aji": shared / union,
        "dq": dq,
        "sq": sq,
        "pq": dq * sq,
    }


def test_a_perfect_answer_under_other_numbers() -> None:
    scores = score(row("0110220333"), row("0550110777"))
    assert scores == Scores(dice=1, aji=1, aji_plus=1, dq=1, sq=1, pq=1)


def test_two_nuclei_found_as_one_by_hand() -> None:
    # 1 and 2 both overlap the only prediction most: AJI lets it be used twice, AJI+ does not.
    scores = score(row("11112200"), row("55555500"))
    assert scores.dice == 1
    assert scores.aji == pytest.approx((4 + 2) / (6 + 6))
    assert scores.aji_plus == pytest.approx(4 / (6 + 2))
    assert (scores.dq, scores.sq) == (pytest.approx(2 / 3), pytest.approx(4 / 6))
    assert scores.pq == pytest.approx(2 / 3 * 4 / 6)


def test_a_miss_and_an_invention_by_hand() -> None:
    scores = score(row("1111002200"), row("0333300055"))
    assert scores.dice == pytest.approx(2 * 3 / (6 + 6))
    assert scores.aji == scores.aji_plus == pytest.approx(3 / (5 + 2 + 2))
    assert scores.dq == pytest.approx(1 / (1 + 0.5 + 0.5))
    assert scores.sq == pytest.approx(3 / 5)


def test_half_an_overlap_is_no_match() -> None:
    scores = score(row("1111"), row("5500"))
    assert (scores.dq, scores.sq, scores.pq) == (0, 0, 0)
    assert scores.aji == 0.5


@pytest.mark.parametrize(("truth", "predicted"), [("0110", "0000"), ("0000", "0110")])
def test_nothing_found_or_nothing_there(truth: str, predicted: str) -> None:
    assert score(row(truth), row(predicted)) == Scores(dice=0, aji=0, aji_plus=0, dq=0, sq=0, pq=0)


def test_nothing_there_and_nothing_found_has_no_score() -> None:
    assert all(math.isnan(getattr(score(row("00"), row("00")), name)) for name in SCORE_NAMES)


@given(truth=small_maps, predicted=small_maps)
def test_agrees_with_a_slow_implementation(
    truth: NDArray[np.int32], predicted: NDArray[np.int32]
) -> None:
    if not truth.any() and not predicted.any():
        return
    scores = score(truth, predicted)
    expected = slow(truth, predicted)
    # Where two predictions overlap a nucleus equally, AJI depends on which is taken: both take
    # the one with the lower number.
    for name in ("dice", "aji", "dq", "sq", "pq"):
        assert getattr(scores, name) == pytest.approx(expected[name]), name
    assert 0 <= scores.aji_plus <= scores.dice + 1e-9


@given(iou=arrays(np.float64, (3, 4), elements=st.sampled_from([0, 0.1, 0.3, 0.45, 0.9])))
def test_one_to_one_matching_is_the_best_there_is(iou: NDArray[np.float64]) -> None:
    rows, columns = match_one_to_one(iou)
    assert (iou[rows, columns] > 0).all()
    assert len(set(rows)) == len(set(columns)) == len(rows)
    every = itertools.permutations(range(4), 3)
    assert iou[rows, columns].sum() == pytest.approx(max(iou[range(3), c].sum() for c in every))


def test_instances_are_numbered_from_one_and_of_one_shape() -> None:
    with pytest.raises(ValueError, match=r"numbered from 1, got -1"):
        score(row("11") * -1, row("11"))
    with pytest.raises(ValueError, match=r"\(1, 2\).*\(1, 3\)"):
        score(row("11"), row("111"))


def test_the_mean_over_images_and_its_interval() -> None:
    values = np.linspace(0.5, 0.7, 20)
    of_images = [Scores(dice=v, aji=0.6, aji_plus=v, dq=v, sq=v, pq=v) for v in values]
    summary = summarise(of_images)
    assert summary["dice"].mean == pytest.approx(0.6)
    standard_error = values.std() / math.sqrt(len(values))
    assert summary["dice"].low == pytest.approx(0.6 - 1.96 * standard_error, abs=0.005)
    assert summary["dice"].high == pytest.approx(0.6 + 1.96 * standard_error, abs=0.005)
    assert (summary["aji"].low, summary["aji"].high) == (pytest.approx(0.6), pytest.approx(0.6))
    assert summarise(of_images) == summary


def test_the_interval_is_over_cases_not_their_images() -> None:
    def of(value: float) -> Scores:
        return Scores(dice=value, aji=value, aji_plus=value, dq=value, sq=value, pq=value)

    each = [of(v) for v in (0.2, 0.4, 0.6, 0.8)]
    many = [image for image in each for _ in range(50)]
    alone, together = summarise(each), summarise(many, cases=[str(i // 50) for i in range(200)])
    assert together["aji"].mean == pytest.approx(0.5)
    assert (together["aji"].low, together["aji"].high) == pytest.approx(
        (alone["aji"].low, alone["aji"].high)
    )
    assert math.isnan(summarise(each, cases=["one"] * 4)["aji"].low)


def test_images_without_a_score_do_not_count() -> None:
    nothing = score(row("00"), row("00"))
    one = score(row("11"), row("11"))
    summary = summarise([nothing, one])
    assert summary["pq"].mean == 1
    assert math.isnan(summary["pq"].low)
    assert math.isnan(summarise([])["pq"].mean)
