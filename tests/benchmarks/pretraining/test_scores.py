"""Measures and differences, from rows made up so that the answer is known."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.pretraining.scores import difference_table, measure, score_table

UNIT = {"task": "t", "probe": "finetune", "fraction": 1.0, "architecture": "a"}
CLASSES = ["A", "B"]


def predictions(
    objective: str, encoder_seed: int, folds: Sequence[int], *, images: int = 12
) -> list[dict[str, Any]]:
    """One fold a probe seed; all is right in fold 0, and all is wrong in the others."""
    return [
        UNIT
        | {
            "objective": objective,
            "encoder_seed": encoder_seed,
            "seed": fold,
            "fold": fold,
            "sample_id": f"{fold}-{number}",
            "patient_id": f"{fold}-{number}",
            "target": CLASSES[number % 2],
            "predicted": CLASSES[(number + (fold > 0)) % 2],
            "classes": CLASSES,
            "prob": [0.5, 0.5],
        }
        for fold in folds
        for number in range(images)
    ]


def differences(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return difference_table(measure(pd.DataFrame(rows), resamples=200))


def test_equal_methods_do_not_differ() -> None:
    whole = range(5)
    rows = predictions("random", 0, whole)
    rows += predictions("rckd", 0, whole) + predictions("rckd", 1, whole)
    found = differences(rows).set_index("measure")
    assert found.loc["balanced_accuracy", "difference"] == pytest.approx(0)


def test_a_pretraining_seed_measured_on_some_folds_only_is_not_paired() -> None:
    rows = predictions("random", 0, range(5))
    # Right on fold 0 alone, as the other: over the mean of both seeds it would seem better by 0.4.
    rows += predictions("rckd", 0, range(5)) + predictions("rckd", 1, [0])
    assert differences(rows).empty


def test_an_unfinished_seed_of_the_other_method_is_not_paired() -> None:
    rows = predictions("rckd", 0, range(5))
    rows += predictions("random", 0, range(5)) + predictions("random", 1, [0])
    assert differences(rows).empty


def overlaps(*images: tuple[int, int, int, float]) -> pd.DataFrame:
    """An image each: pixels predicted, in truth, and both; AJI."""
    rows = [
        UNIT
        | {
            "objective": "rckd",
            "encoder_seed": 0,
            "seed": 0,
            "fold": 0,
            "sample_id": str(number),
            "patient_id": str(number),
            "predicted_px": predicted,
            "actual_px": actual,
            "both_px": both,
            "aji": aji,
        }
        for number, (predicted, actual, both, aji) in enumerate(images)
    ]
    return pd.DataFrame(rows).astype({"aji": np.float32})


@pytest.mark.parametrize(
    ("image", "dice", "aji"),
    [
        ((0, 0, 0, np.nan), 1.0, 1.0),  # none there, none seen
        ((3, 0, 0, np.nan), 0.0, 1.0),  # too few pixels for a nucleus
        ((90, 0, 0, 0.0), 0.0, 0.0),  # one invented
        ((0, 0, 0, 0.0), 1.0, 0.0),  # one missed that is less than a pixel at the output
    ],
)
def test_images_without_nuclei(image: tuple[int, int, int, float], dice: float, aji: float) -> None:
    scores = score_table(measure(overlaps(image, (100, 100, 80, 0.5)), resamples=200))
    scores = scores.set_index("measure")
    assert scores.loc["dice", "value"] == pytest.approx((dice + 0.8) / 2)
    assert scores.loc["aji", "value"] == pytest.approx((aji + 0.5) / 2)
    assert np.isfinite(scores.loc["aji", ["low", "high"]].astype(float)).all()
