"""The table of what heads take, and that what is measured is a prediction and a step."""

from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch

from benchmarks.mil.size import as_markdown, main, prepare_prediction, prepare_step
from benchmarks.speed.measure import Result
from pipelines.mil.heads.registry import HEADS, create_head


def result(cpu_seconds: list[float], mib: int) -> Result:
    made = Result(name="x", role="ours", note="", threads=None)
    made.cpu_seconds, made.peak_bytes = cpu_seconds, mib * 2**20
    return made


def test_a_row_holds_both_works_of_a_head() -> None:
    results = [result([0.1, 0.3, 0.2], 700), result([1.0], 900)]
    assert as_markdown([("mean", 1000)], results).splitlines()[2:] == [
        "| mean | 1,000 | 0.20 (0.10-0.30) | 700 | 1.00 | 900 |"
    ]


@pytest.mark.parametrize("kind", ["gated-abmil", "transmil"])
def test_a_prediction_is_of_all_tiles_and_a_step_moves_every_weight(
    kind: str, tmp_path: Path
) -> None:
    assert kind in HEADS
    torch.manual_seed(0)
    head = create_head(kind, 8, 2, {})
    before = {name: value.clone() for name, value in head.state_dict().items()}
    with (
        mock.patch("pipelines.mil.heads.registry.create_head", return_value=head),
        mock.patch("torch.set_num_threads"),
    ):
        logits = prepare_prediction(kind, 2500, 8, 1, tmp_path)()
        assert np.isfinite(logits).all()
        prepare_step(kind, 30, 8, 1, tmp_path)()
    assert all(not torch.equal(before[name], value) for name, value in head.state_dict().items())


@pytest.mark.slow
def test_it_measures_in_processes(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--heads", "mean", "--tiles", "20", "--dim", "4", "--runs", "1"])
    row = [cell.strip() for cell in capsys.readouterr().out.splitlines()[-1].split("|")[1:-1]]
    assert row[:2] == ["mean", "20"]
    assert all(float(mib) > 50 for mib in (row[3], row[5]))
