"""A slide at a path that no disk can have fails by itself; the others are done."""

import errno
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.cli.main import cli
from pipelines.demo.alignment import write_colour_model
from pipelines.records import read_records
from wsi.identity import stored_bytes
from wsi.plan import TileSpec
from wsi.testing import Specimen, write_slide


@pytest.fixture(params=["too long", "a loop"])
def odd(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The name of such a slide."""
    if request.param == "too long":
        return f"{'x' * 260}.svs"
    (tmp_path / "loop.svs").symlink_to("loop.svs")
    return "loop.svs"


@pytest.mark.parametrize("command", ["run", "convert"])
def test_the_other_slides_are_done(tmp_path: Path, odd: str, command: str) -> None:
    write_slide(tmp_path / "a.svs", Specimen(seed=2, width=600, height=600))
    manifest = tmp_path / "slides.csv"
    manifest.write_text(f"path,slide_id\na.svs,a\n{odd},b\n")
    out = tmp_path / "out"
    words = [command, str(manifest), "-o", str(out), "--executor", "serial"]
    if command == "run":
        write_colour_model(tmp_path / "model", TileSpec(size_px=64, mpp=1.0))
        words += ["--model", str(tmp_path / "model")]
    said = CliRunner().invoke(cli, words)
    assert said.exit_code == 1, said.exception
    if command == "convert":
        assert (out / "a.ome.zarr" / "zarr.json").exists()
        assert "not_found" in said.output
    else:
        done, failed = read_records(out / "slides.parquet")
        assert (done.verdict, failed.reason) == ("ok", "not_found")


def test_a_disk_that_does_not_answer_leaves_the_size_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stat(*_: object, **__: object) -> None:
        raise OSError(errno.ESTALE, "stale file handle")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "stat", stat)
        assert stored_bytes(tmp_path) is None
