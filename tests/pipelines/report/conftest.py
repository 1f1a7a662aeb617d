"""The report of a copy of the made run."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from pipelines.report.report import write_report


@pytest.fixture
def report(made_run: Any, tmp_path: Path) -> Path:
    """The page, in the folder of its run."""
    out = tmp_path / "run"
    shutil.copytree(made_run.path, out)
    return write_report(out)
