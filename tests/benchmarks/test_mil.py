"""The benchmark of MIL heads on real bags, as small as it gets."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.mil import CLASSIC, COLON, load, main, summarise
from distill.errors import LabelledDataError


@pytest.mark.parametrize("name", [*CLASSIC, COLON])
def test_the_given_folds_test_every_bag_once(shared_data: Path, name: str) -> None:
    bags = load(shared_data, name)
    assert len(bags.instances) == len(bags.targets)
    assert set(bags.targets) == {0, 1}
    for repeat in bags.tests:
        assert sorted(np.concatenate(repeat)) == list(range(len(bags.targets)))


def test_bags_of_nuclei_are_patients(shared_data: Path) -> None:
    bags = load(shared_data, COLON)
    assert len(bags.targets) == 60
    assert sum(map(len, bags.instances)) == 9896
    assert bags.targets.sum() == 34


def test_it_prints_a_table_and_writes_every_prediction(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mil.csv"
    chosen = [
        "--sets",
        "Musk1",
        "--heads",
        "mean",
        "--repeats",
        "1",
        "--folds",
        "2",
        "--epochs",
        "2",
    ]
    main(["--data", str(shared_data), *chosen, "--out", str(out)])
    row = capsys.readouterr().out.splitlines()[2].split("|")
    assert [cell.strip() for cell in row[1:3]] == ["Musk1", "mean"]
    assert 0.4 < float(row[3]) <= 1
    assert len(out.read_text().splitlines()) == 1 + int(row[5]) == 1 + 20


def test_accuracy_and_auroc_by_hand() -> None:
    rows = [
        {"data": "Fox", "head": "max", "repeat": 0, "target": t, "log_odds": o}
        for t, o in ((1, 2.0), (1, -0.5), (0, -1.0), (0, 0.5))
    ]
    assert summarise(rows) == "| Fox | max | 0.500 | 0.750 | 4 | 0.674 | 0.615 |"


def test_missing_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabelledDataError, match=r"Fox: .*Fox\.npz is missing, see --data"):
        load(tmp_path, "Fox")
