"""`raypath mil evaluate`: from a Parquet file to the page, and what it says of bad requests."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from typer.testing import CliRunner, Result

from pipelines.cli.main import cli
from pipelines.errors import PredictionsError, UsageError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Predictions of one model: 40 tuning and 40 test slides, one a patient."""
    generator = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for number in range(80):
        target = number % 2
        odds = float(3 * target - 1.5 + generator.normal() * 1.5)
        rows.append(
            {
                "slide_id": f"s{number}", "patient_id": f"p{number}", "fold": 0, "seed": 0,
                "split": "tune" if number < 40 else "test",
                "target": ("normal", "tumour")[target], "classes": ["normal", "tumour"],
                "logits": [0.0, odds], "site": "Oslo" if number % 3 else "Leeds",
            }
        )  # fmt: skip
    path = tmp_path_factory.mktemp("mil")
    parquet.write_table(pa.Table.from_pylist(rows), path / "predictions.parquet")
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(
        cli, ["mil", "evaluate", *map(str, arguments)], catch_exceptions=False
    )


def test_from_predictions_to_a_page(folder: Path, tmp_path: Path) -> None:
    result = run(folder, "-o", tmp_path / "out", "--prevalence", 0.05, "--by", "site",
                 "--operating-point", "sensitivity=0.9")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "AUROC" in result.stdout
    assert "95 % interval" in result.stdout
    assert str(tmp_path / "out" / "evaluation.html") in result.stderr
    numbers = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert f"{numbers['measures']['auroc']['value']:.3f}" in result.stdout
    assert numbers["settings"]["criterion"] == "sensitivity at least 0.9"
    assert numbers["test"]["by_class"] == {"normal": 20, "tumour": 20}


def test_json_is_what_is_written(folder: Path, tmp_path: Path) -> None:
    result = run(folder / "predictions.parquet", "-o", tmp_path / "out", "--json",
                 "--positive", "normal")  # fmt: skip
    numbers = json.loads(result.stdout)
    assert numbers == json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert numbers["positive"] == "normal"
    assert numbers["frozen"][0]["n_tune_positive"] == 20


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--positive", "cyst"], "the classes are normal, tumour"),
        (["--by", "stain"], "further columns are: site"),
        (["--operating-point", "best"], "youden, sensitivity=X or specificity=X"),
        (["--prevalence", "2"], "a share between 0 and 1"),
        (["--freeze"], "no model at"),
    ],
)
def test_bad_requests_write_nothing(
    folder: Path, tmp_path: Path, flags: list[str], message: str
) -> None:
    with pytest.raises(Exception, match=message) as raised:
        run(folder, "-o", tmp_path / "out", *flags)
    assert getattr(raised.value, "kind", None) in (UsageError.kind, "model")
    assert not (tmp_path / "out").exists()


def test_no_predictions(tmp_path: Path) -> None:
    with pytest.raises(PredictionsError, match="no predictions at"):
        run(tmp_path, "-o", tmp_path / "out")
