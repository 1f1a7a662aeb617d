"""What `raypath verify` advises: about slides, about the run's own files, or both."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cluster.serial import SerialExecutor
from pipelines.cli.main import cli
from pipelines.cohort.manifest import read_cohort
from pipelines.demo.alignment import write_colour_model
from pipelines.run import run_cohort
from pipelines.settings.config import RunConfig
from wsi.plan import TileSpec
from wsi.testing import Specimen, write_slide

SLIDE = "s1"
OWN, REMOVED, ANEW = "The run's own files have problems", "receipts are removed", "writes them anew"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of one slide."""
    folder = tmp_path_factory.mktemp("made")
    write_colour_model(folder / "model", TileSpec(size_px=64, mpp=1.0))
    path = write_slide(folder / f"{SLIDE}.svs", Specimen(seed=1, width=600, height=600))
    config = RunConfig(model=folder / "model", executor="serial")
    run_cohort(read_cohort([path]), folder / "out", config, SerialExecutor())
    return folder / "out"


def flip(path: Path) -> None:
    """Change one bit of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("names", "said", "unsaid"),
    [
        (["report.html"], [OWN, "slides are as they were", ANEW], [REMOVED, " of ", "--redo"]),
        ([f"slides/{SLIDE}/tiles.h5"], [f"slides have problems: {SLIDE}", REMOVED], [OWN, ANEW]),
        (
            ["report.html", f"slides/{SLIDE}/tiles.h5"],
            [f"slides have problems: {SLIDE}", REMOVED, OWN, ANEW],
            ["as they were"],
        ),
    ],
)
def test_the_advice_is_for_what_has_problems(
    made: Path, tmp_path: Path, names: list[str], said: list[str], unsaid: list[str]
) -> None:
    out = shutil.copytree(made, tmp_path / "out")
    for name in names:
        flip(out / name)
    flags = ["verify", str(out), "--executor", "serial", "--json"]
    without = CliRunner().invoke(cli, flags)
    receipt = out / "slides" / SLIDE / "receipt.json"
    assert receipt.exists()
    assert REMOVED not in without.stderr
    done = CliRunner().invoke(cli, [*flags, "--redo"])
    assert (done.exit_code, without.exit_code) == (1, 1)
    assert receipt.exists() == (names == ["report.html"])
    assert [text for text in said if text not in done.stderr] == []
    assert [text for text in unsaid if text in done.stderr] == []
