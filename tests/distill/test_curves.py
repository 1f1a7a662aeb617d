"""The table and the picture of a training."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from distill.curves import CSV_NAME, PNG_NAME, _smooth, read_last, write_curves


@pytest.mark.parametrize("checks", [{}, {2: {"dice": 0.25}, 4: {"dice": 0.5, "error": 0.1}}])
def test_every_step_has_a_row_and_the_picture_has_ink(
    tmp_path: Path, checks: dict[int, dict[str, float]]
) -> None:
    write_curves(tmp_path, [4.0, 3.0, 2.0, 1.5], checks, title="resnet18, rckd")
    rows = list(csv.DictReader((tmp_path / CSV_NAME).read_text().splitlines()))
    assert [(row["step"], float(row["loss"])) for row in rows] == [
        ("1", 4.0),
        ("2", 3.0),
        ("3", 2.0),
        ("4", 1.5),
    ]
    if checks:
        assert [row["dice"] for row in rows] == ["", "0.25", "", "0.5"]
        assert [row["error"] for row in rows] == ["", "", "", "0.1"]
    with Image.open(tmp_path / PNG_NAME) as image:
        picture = np.asarray(image.convert("L"))
    assert 0.01 < (picture < 200).mean() < 0.5
    assert sorted(p.name for p in tmp_path.iterdir()) == [CSV_NAME, PNG_NAME]
    at_last = {"dice": 0.5, "error": 0.1} if checks else {}
    assert read_last(tmp_path / CSV_NAME) == (4, 1.5, at_last)


def test_the_line_is_the_mean_of_the_last_steps() -> None:
    losses = np.random.default_rng(0).random(130)  # of 3 steps at a time
    expected = [losses[max(0, end - 3) : end].mean() for end in range(1, 131)]
    np.testing.assert_allclose(_smooth(losses.tolist()), expected)
