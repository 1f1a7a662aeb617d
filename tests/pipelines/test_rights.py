"""A slide in a folder that may not be looked into fails by itself; the others are done."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.records import read_records
from wsi.testing import Specimen, write_slide

# Root may look everywhere, unless it is told not to.
WITHOUT_RIGHTS = (
    () if os.geteuid() else ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
)

pytestmark = pytest.mark.skipif(
    bool(WITHOUT_RIGHTS) and shutil.which("setpriv") is None,
    reason="root cannot give up its rights: setpriv is not installed",
)


def raypath(*words: str | Path) -> subprocess.CompletedProcess[str]:
    program = (sys.executable, "-c", "from pipelines.cli.main import app; app()")
    command = [*WITHOUT_RIGHTS, *program, *(str(word) for word in words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Path]:
    """A slide in a folder without rights."""
    folder = tmp_path / "locked"
    folder.mkdir()
    slide = write_slide(folder / "b.svs", Specimen(seed=1, width=600, height=600))
    folder.chmod(0)
    yield slide
    folder.chmod(0o700)


def test_it_is_said_what_may_not_be_read(locked: Path) -> None:
    said = raypath("info", locked)
    assert said.returncode == 2
    assert "Traceback" not in said.stderr
    assert f"{locked} may not be read by this user" in said.stderr.replace("\n", "")


@pytest.mark.parametrize("command", ["run", "convert"])
def test_the_other_slides_are_done(tmp_path: Path, locked: Path, command: str) -> None:
    write_slide(tmp_path / "a.svs", Specimen(seed=2, width=600, height=600))
    manifest = tmp_path / "slides.csv"
    manifest.write_text("path\na.svs\nlocked/b.svs\n")
    said = raypath(command, manifest, "-o", tmp_path / "out", "--executor", "serial")
    assert said.returncode == 1, said.stderr
    if command == "convert":
        assert (tmp_path / "out" / "a.ome.zarr" / "zarr.json").exists()
        assert "not_readable" in said.stdout + said.stderr
    else:
        done, failed = read_records(tmp_path / "out" / "slides.parquet")
        assert (done.verdict, failed.reason) == ("ok", "not_readable")


@pytest.mark.parametrize("given", [".", "locked"])
def test_a_folder_that_cannot_be_looked_into_is_not_passed_over(
    tmp_path: Path, locked: Path, given: str
) -> None:
    write_slide(tmp_path / "a.svs", Specimen(seed=2, width=600, height=600))
    said = raypath("run", tmp_path / given, "-o", tmp_path / "out", "--executor", "serial")
    assert said.returncode == 2
    assert f"{locked.parent} cannot be looked into" in said.stderr.replace("\n", " ")
    assert not (tmp_path / "out").exists()
