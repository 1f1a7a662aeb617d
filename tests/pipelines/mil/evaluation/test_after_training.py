"""`raypath mil train`, then `raypath mil evaluate --freeze`, on embeddings in files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from distill.card import HeadFile, read_toml
from pipelines.cli.main import cli


def run(*arguments: object) -> None:
    result = CliRunner().invoke(cli, ["mil", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output


def test_from_embeddings_to_frozen_heads(make_cohort: Callable[..., Any], tmp_path: Path) -> None:
    files, trained, out = make_cohort(48), tmp_path / "trained", tmp_path / "out"
    run("train", "--features", files.features, "--labels", files.labels, "-o", trained,
        "--positive", "tumour", "--folds", 3, "--epochs", 8, "--size", "hidden_dim=16",
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
        assert after.head.operating_point.threshold == pytest.approx(model["threshold_prob"])
        assert after.head.temperature == model["temperature"]["value"]
        assert after.head.weights == before[path].head.weights
        assert after.training == before[path].training
