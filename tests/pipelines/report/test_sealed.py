"""A report that is written anew is the run's own to `raypath verify`; nothing else becomes so."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cluster.serial import SerialExecutor
from pipelines.check.compare import CHECK_NAME
from pipelines.cli.main import cli
from pipelines.cohort.manifest import read_cohort
from pipelines.demo.alignment import write_colour_model
from pipelines.receipts import RECEIPT_NAME
from pipelines.run import run_cohort
from pipelines.runfolder import INFO_NAME, RECORDS_NAME, REPORT_NAME
from pipelines.settings.config import RunConfig
from pipelines.verify.run import verify_run
from wsi.plan import TileSpec
from wsi.testing import Specimen, write_slide

CHECK = {
    "slides": 1,
    "estimate": {"seconds": 3.0, "bytes_out": 1e6, "process_bytes": 1e9},
}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A finished run of one slide, whose report will have more to say."""
    write_colour_model(tmp_path / "model", TileSpec(size_px=64, mpp=1.0))
    path = write_slide(tmp_path / "s1.svs", Specimen(seed=1, width=600, height=600))
    config = RunConfig(model=tmp_path / "model", executor="serial")
    run_cohort(read_cohort([path]), tmp_path / "out", config, SerialExecutor())
    (tmp_path / "out" / CHECK_NAME).write_text(json.dumps(CHECK))
    return tmp_path / "out"


def report(out: Path) -> None:
    done = CliRunner().invoke(cli, ["report", str(out)])
    assert done.exit_code == 0, done.output


def problems(out: Path) -> dict[str, str]:
    """By file of the run."""
    (own, *_) = verify_run(out, SerialExecutor())
    return {problem.file: problem.kind for problem in own.problems}


def test_a_report_that_says_more_is_sealed_again(out: Path) -> None:
    before = (out / REPORT_NAME).read_bytes()
    report(out)
    assert (out / REPORT_NAME).read_bytes() != before
    done = CliRunner().invoke(cli, ["verify", str(out), "--executor", "serial"])
    assert done.exit_code == 0, done.output


def test_what_else_has_changed_is_still_found(out: Path) -> None:
    info = json.loads((out / INFO_NAME).read_text())
    (out / INFO_NAME).write_text(json.dumps(info | {"raypath_version": "9"}))
    report(out)
    assert problems(out) == {INFO_NAME: "changed"}


def test_a_run_that_is_not_sealed_does_not_become_so(out: Path) -> None:
    (out / RECEIPT_NAME).unlink()
    report(out)
    assert problems(out) == {RECEIPT_NAME: "missing"}


def test_nor_does_one_that_began_again(out: Path) -> None:
    sealed = (out / RECEIPT_NAME).read_bytes()
    for name in (RECORDS_NAME, INFO_NAME):
        (out / name).unlink()
    report(out)
    assert (out / RECEIPT_NAME).read_bytes() == sealed


def test_a_damaged_seal_stays_damaged(out: Path) -> None:
    (out / RECEIPT_NAME).write_text("{}")
    report(out)
    assert problems(out) == {RECEIPT_NAME: "changed"}
