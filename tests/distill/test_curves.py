"""The table and the picture of a training."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from distill.curves import CSV_NAME, PNG_NAME, write_curves


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
