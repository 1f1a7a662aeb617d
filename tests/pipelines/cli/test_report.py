"""A report that cannot be written is said in a line, with what to do."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipelines.cli.main import cli
from pipelines.report import report
from wsi.errors import DiskFullError, OutputError, OutputPermissionError


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.EROFS, OutputPermissionError), (errno.ENOSPC, DiskFullError)]
)
def test_a_folder_that_takes_no_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[OutputError]
) -> None:
    def fail(folder: Path, **_: Any) -> None:
        raise OSError(number, os.strerror(number), str(folder / "report.html"))

    monkeypatch.setattr(report, "write_report", fail)
    (tmp_path / "run.json").write_text("{}")
    done = CliRunner().invoke(cli, ["report", str(tmp_path)])
    assert isinstance(done.exception, kind)
    assert str(tmp_path) in str(done.exception)
