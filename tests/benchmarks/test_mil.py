"""The benchmark of MIL heads on real bags, as small as it gets."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.mil.__main__ import main
from benchmarks.mil.bags import COLON, SETS, Bags, load
from benchmarks.mil.predict import FOREST, Protocol, Said, predict
from benchmarks.mil.tables import as_markdown, in_common, read_said, scores, write_rows
from distill.errors import LabelledDataError


def said(odds: float, target: int, *, head: str = "max", fold: int = 0) -> Said:
    return Said(data="Fox", head=head, repeat=0, fold=fold, bag=0, target=target, log_odds=odds)


@pytest.mark.parametrize("name", SETS)
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


def test_a_run_is_gone_on_with_where_it_ended(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*heads: str, epochs: int = 2, more: tuple[str, ...] = ()) -> list[str]:
        chosen = ["--sets", "Musk1", "--repeats", "1", "--folds", "2", "--epochs", str(epochs)]
        main([str(tmp_path), "--data", str(shared_data), *chosen, "--heads", *heads, *more])
        return capsys.readouterr().out.splitlines()

    assert run("mean")[0].startswith("Musk1, mean, repeat 0, fold 0: accuracy ")
    before = read_said(tmp_path / "predictions.csv")
    assert len(before) == 20
    lines = run("mean", "max", more=("--resume",))
    assert [line.split(",")[1] for line in lines if "repeat" in line] == [" max", " max"]
    after = read_said(tmp_path / "predictions.csv")
    assert after[:20] == before
    assert {row.head for row in after} == {"mean", "max"}
    table = (tmp_path / "tables.md").read_text()
    assert table.strip() == as_markdown(scores(after))
    assert "Musk1, 2 folds" in table
    assert len((tmp_path / "scores.csv").read_text().splitlines()) == 1 + 2 * 2
    with pytest.raises(SystemExit):
        run("mean", epochs=3, more=("--resume",))
    assert "epochs 2 instead of 3" in capsys.readouterr().err


def test_a_forest_sees_what_mean_and_extremes_tell() -> None:
    random = np.random.default_rng(0)
    targets = np.arange(40) % 2
    bags = Bags(
        name="made up",
        instances=tuple(
            (random.standard_normal((5, 3)) + 3 * target).astype(np.float32) for target in targets
        ),
        targets=targets,
        tests=((np.arange(10), np.arange(10, 20)),),
    )
    rows = [r for f in (0, 1) for r in predict(bags, FOREST, Protocol(), repeat=0, fold=f)]
    assert [row.bag for row in rows] == list(range(20))
    assert [row.fold for row in rows] == [0] * 10 + [1] * 10
    assert all(np.isfinite(row.log_odds) for row in rows)
    assert all((row.log_odds > 0) == row.target for row in rows)


def test_accuracy_and_auroc_by_hand(tmp_path: Path) -> None:
    first = [said(2.0, 1), said(-0.5, 1), said(-1.0, 0), said(0.5, 0)]
    second = [said(1.0, 1, fold=1), said(-0.25, 0, fold=1)]
    write_rows(tmp_path / "rows.csv", [*first, *second])
    measured = scores(read_said(tmp_path / "rows.csv"))
    assert [(s.fold, s.bags, s.accuracy, s.auroc) for s in measured] == [
        (0, 4, 0.5, 0.75),
        (1, 2, 1.0, 1.0),
    ]
    assert as_markdown(measured).splitlines() == [
        "| AUROC | Fox, 2 folds |", "|---|--:|", "| max | 0.875 (0.125) |", "",
        "| accuracy | Fox, 2 folds |", "|---|--:|", "| max | 0.750 (0.250) |",
    ]  # fmt: skip


def test_heads_are_compared_on_folds_that_all_have() -> None:
    rows = [
        said(odds, target, head=head, fold=fold)
        for head, fold in (("mean", 0), ("mean", 1), ("max", 0))
        for odds, target in ((1.0, 1), (-1.0, 0))
    ]
    assert [(s.head, s.fold) for s in in_common(scores(rows))] == [("mean", 0), ("max", 0)]


def test_missing_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabelledDataError, match=r"Fox: .*Fox\.npz is missing, see --data"):
        load(tmp_path, "Fox")
