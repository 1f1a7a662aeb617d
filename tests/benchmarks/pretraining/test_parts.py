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


def write(out: Path, unit: Unit, key: str, targets: str = "A") -> Path:
    row = {"fold": 0, "setting": "", "sample_id": "1", "patient_id": "1"}
    row |= {"predicted": "A", "classes": ["A", "B"], "prob": [0.9, 0.1]}
    path = unit.path(out, "predictions")
    rows = [unit.columns() | row | {"target": target} for target in targets]
    write_part(path, "predictions", rows, key=key, seconds=1)
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


@pytest.mark.parametrize(
    ("fraction", "name"),
    [(0.05, "5"), (0.07, "7"), (0.25, "25"), (1.0, "100"), (0.02, "2"), (0.025, "2.5")],
)
def test_every_share_has_its_own_file(tmp_path: Path, fraction: float, name: str) -> None:
    path = write(tmp_path, replace(UNIT, fraction=fraction), "key")
    assert path.name == f"knn-{name}pc-seed0.parquet"
    assert read_parts(tmp_path, "predictions")["fraction"].tolist() == [fraction]


def test_small_shares_are_told_apart_in_tables(tmp_path: Path) -> None:
    for fraction in (0.00251, 0.00252, 0.025):
        write(tmp_path, replace(UNIT, fraction=fraction), "key", targets="AB")
    text = write_report(tmp_path, resamples=100)
    for labels in ("0.251%", "0.252%", "2.5%"):
        assert f"| rckd, resnet18 | {labels} |" in text


def test_a_file_of_another_share_than_its_name_says_is_refused(tmp_path: Path) -> None:
    """Shares were rounded to whole percents: 2pc was of 0.02 or of 0.025, whichever came first."""
    made = write(tmp_path, replace(UNIT, fraction=0.025), "key")
    made.rename(made.with_name("knn-2pc-seed0.parquet"))
    message = r"2\.5% .* rename it to knn-2\.5pc-seed0\.parquet, or"
    with pytest.raises(MixedResultsError, match=message):
        read_parts(tmp_path, "predictions")


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
