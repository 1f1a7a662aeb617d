"""A teacher's card that no network can be built from."""

from pathlib import Path

import pytest
import tomli_w

from distill.errors import ModelError
from distill.teachers.card import CARD_NAME, read_teacher_card

CARD = {
    "architecture": "lcnet_035",
    "mpp": 0.5,
    "weights": "teacher.safetensors",
    "sha256": "ab" * 32,
    "thresholds": {"nuclei": 0.5, "depth": 0.5, "smooth_px": 1.0, "least_px": 10},
    "training": {"data": "none", "data_licence": "CC0", "method": "none"},
}


@pytest.mark.parametrize(
    "widths", [[8, 8, 8, 8, 8], [8, 8, 8], [8, 8, 8, 0], [8, 8, 8, 10**9], "8888"]
)
def test_widths_are_four_that_fit_in_memory(tmp_path: Path, widths: object) -> None:
    (tmp_path / CARD_NAME).write_text(tomli_w.dumps(CARD))
    assert read_teacher_card(tmp_path).architecture == "lcnet_035"
    (tmp_path / CARD_NAME).write_text(tomli_w.dumps(CARD | {"widths": widths}))
    with pytest.raises(ModelError, match="widths"):
        read_teacher_card(tmp_path)
