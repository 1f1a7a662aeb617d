"""What an executor cannot do is refused, not ignored."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipelines.cli.main import cli
from pipelines.cohort.manifest import read_cohort
from pipelines.errors import UsageError
from pipelines.executors import conversion_executor, make_executor, network_executor
from wsi.pyramid.options import PyramidOptions


@pytest.mark.parametrize(
    ("executor", "asked", "said"),
    [
        ("serial", {"address": "H:6379"}, "--executor ray"),
        ("threads", {"address": "H:6379"}, "--executor ray"),
        ("serial", {"workers": 4}, "--workers 4"),
        ("dask", {}, "known are ray"),
    ],
)
def test_what_it_cannot_do_is_refused(executor: str, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make_executor(executor, **{"address": None, "workers": None} | asked)


@pytest.mark.parametrize(
    ("executor", "workers", "expected"), [("serial", None, 1), ("serial", 1, 1), ("threads", 3, 3)]
)
def test_workers_in_this_process(executor: str, workers: int | None, expected: int) -> None:
    with make_executor(executor, address=None, workers=workers) as runner:
        assert runner.workers == expected


def test_slides_behind_urls_are_left_to_the_workers(web_server: Any) -> None:
    entries = read_cohort([f"{web_server.url}/a.svs"])
    assert conversion_executor(entries, PyramidOptions()) == "ray"
    assert network_executor(entries) == "ray"
    assert web_server.asked == []


def test_verify_does_not_take_this_machine_for_a_cluster(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "records.jsonl").write_text("")
    done = CliRunner().invoke(cli, ["verify", str(tmp_path), "--address", "H:6379"])
    assert isinstance(done.exception, UsageError)
    assert "--executor ray" in str(done.exception)
