"""Parts on disk: what was made from other weights, data or settings is not pooled."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.pretraining.parts import MixedResultsError, Unit, read_parts, write_part
from benchmarks.pretraining.report import write_report

UNIT = Unit(
    encoder="rckd-resnet18",
    objective="rckd",
    architecture="resnet18",
    encoder_seed=0,
    task="glas",
    probe="knn",
    fraction=1.0,
    seed=0,
)


def write(out: Path, unit: Unit, key: str) -> Path:
    row = {"fold": 0, "setting": "", "sample_id": "1", "patient_id": "1"}
    row |= {"target": "A", "predicted": "A", "classes": ["A", "B"], "prob": [0.9, 0.1]}
    path = unit.path(out, "predictions")
    write_part(path, "predictions", [unit.columns() | row], key=key, seconds=1)
    return path


def test_parts_of_replaced_weights_are_refused(tmp_path: Path) -> None:
    for seed in range(5):
        write(tmp_path, replace(UNIT, seed=seed), "old")
    for seed in range(3):
        write(tmp_path, replace(UNIT, seed=seed), "new")
    message = (
        r"predictions/rckd-resnet18/glas: knn-100pc-seed3\.parquet is of other weights, data or "
        r"settings than knn-100pc-seed0\.parquet: run .* again"
    )
    with pytest.raises(MixedResultsError, match=message):
        write_report(tmp_path, resamples=100)
    assert not (tmp_path / "report").exists()
    for seed in range(3, 5):
        write(tmp_path, replace(UNIT, seed=seed), "new")
    assert len(read_parts(tmp_path, "predictions")) == 5


def test_what_is_not_pooled_may_differ(tmp_path: Path) -> None:
    """A probe has a budget of its own, an encoder its weights; shares may be measured apart."""
    others = [
        UNIT,
        replace(UNIT, probe="finetune"),
        replace(UNIT, task="bach"),
        replace(UNIT, encoder="rckd-resnet18-1", encoder_seed=1),
        replace(UNIT, fraction=0.05),
    ]
    for number, unit in enumerate(others):
        for seed in range(2):
            write(tmp_path, replace(unit, seed=seed), f"key {number}")
    assert len(read_parts(tmp_path, "predictions")) == 2 * len(others)
