"""`raypath mil train`, then `raypath mil evaluate --freeze`, on embeddings in files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from distill.card import HeadFile, read_toml
from pipelines.cli.main import cli
from pipelines.errors import UsageError
from pipelines.mil.evaluation.cards import FrozenCard


def run(*arguments: object) -> None:
    result = CliRunner().invoke(cli, ["mil", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output


def grade(path: Path) -> None:
    """Half of the tumours' patients become grade 2: three classes."""
    header, *lines = path.read_text().splitlines()
    rows = [line.split(",") for line in lines]
    for row in rows:
        if row[2] == "tumour":
            row[2] = "grade 1" if int(row[1][1:]) % 4 == 1 else "grade 2"
    path.write_text("\n".join([header, *(",".join(row) for row in rows)]))


def test_grades_have_no_positive_class_and_freeze_their_temperature(
    make_cohort: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = make_cohort(48)
    grade(files.labels)
    monkeypatch.chdir(tmp_path)
    run("train", "--features", files.features, "--labels", files.labels, "--head", "mean",
        "--folds", 2, "--epochs", 3)  # fmt: skip
    assert json.loads(Path("heads/train.json").read_text())["positive"] is None
    run("evaluate", "heads", "-o", "out", "--freeze", "--ordered", "normal,grade 1,grade 2")
    numbers = json.loads(Path("out/evaluation.json").read_text())
    assert (numbers["positive"], numbers["measures"]) == (None, {})
    assert "quadratic_kappa" in numbers["class_measures"]
    for model in numbers["frozen"]:
        name = f"fold-{model['fold']}-seed-{model['seed']}"
        head = read_toml(Path("heads") / name / "head.toml", HeadFile, made_by="").head
        assert head.classes == ("grade 1", "grade 2", "normal")
        assert (head.positive, head.operating_point) == (None, None)
        assert head.temperature == model["temperature"]["value"]
        assert head.calibrated == (not model["temperature"]["note"])
        frozen = read_toml(Path(f"out/operating_points/{name}.toml"), FrozenCard, made_by="")
        assert (frozen.classes, frozen.temperature) == (head.classes, head.temperature)
    with pytest.raises(UsageError, match=r"positive None; .* give --positive as in training"):
        run("evaluate", "heads", "-o", "out", "--freeze", "--positive", "grade 2")


def test_from_embeddings_to_frozen_heads(make_cohort: Callable[..., Any], tmp_path: Path) -> None:
    files, trained, out = make_cohort(48), tmp_path / "trained", tmp_path / "out"
    run("train", "--features", files.features, "--labels", files.labels, "-o", trained,
        "--folds", 3, "--epochs", 8, "--size", "hidden_dim=16",
        "--size", "attention_dim=8")  # fmt: skip
    heads = sorted(trained.glob("fold-*/head.toml"))
    before = {path: read_toml(path, HeadFile, made_by="") for path in heads}
    run("evaluate", trained, "-o", out, "--by", "site", "--certain-error", 0.3, "--freeze")
    numbers = json.loads((out / "evaluation.json").read_text())
    assert numbers["positive"] == "tumour"
    assert numbers["test"]["slides"] == 48
    assert numbers["test"]["patients"] == 24
    assert numbers["measures"]["auroc"]["value"] > 0.9
    assert len(heads) == len(numbers["frozen"]) == 3
    for path, model in zip(heads, numbers["frozen"], strict=True):
        after = read_toml(path, HeadFile, made_by="")
        assert after.head.operating_point is not None
        assert after.head.operating_point.threshold == pytest.approx(model["threshold_prob"])
        assert after.head.temperature == model["temperature"]["value"]
        assert after.head.weights == before[path].head.weights
        assert after.training == before[path].training
