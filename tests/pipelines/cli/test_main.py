"""How a command ends says what became of it: for people in words, for programs by exit code."""

import errno
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.cli import main
from pipelines.cli.stopping import Stopped
from pipelines.errors import UsageError
from tests.conftest import MadeUp


@pytest.mark.parametrize(
    ("error", "code", "said", "has_trace"),
    [
        (UsageError("no slides below x"), 2, "raypath: no slides below x\n", False),
        (Stopped(15), 143, "ended by SIGTERM", False),
        # Of a run's own files, say, on a disk that fails: no slide is to blame.
        (OSError(errno.EIO, "Input/output error"), 3, "OSError: [Errno 5]", True),
        (ZeroDivisionError("division by zero"), 3, "raypath: ended by an error that", True),
        (None, 0, "", False),
    ],
)
def test_the_exit_code_says_how_a_command_ended(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException | None,
    code: int,
    said: str,
    has_trace: bool,
) -> None:
    def command() -> None:
        if error is not None:
            raise error

    monkeypatch.setattr(main, "cli", command)
    with pytest.raises(SystemExit) as ended:
        main.app()
    assert ended.value.code == code
    err = capsys.readouterr().err
    assert said in err
    assert ("Traceback (most recent call last)" in err) == has_trace


def test_the_help_of_run_names_every_exit_code() -> None:
    said = " ".join(CliRunner().invoke(main.cli, ["run", "--help"]).output.split())
    assert all(f" {begin}" in said for begin in ("0: every", "1: some", "2: the", "3: an error"))


@pytest.mark.parametrize("command", [["run"], ["mil", "train"], ["segment", "run"]])
def test_help_fills_its_lines(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 80)
    said = CliRunner().invoke(main.cli, [*command, "--help"]).output.partition("╭")[0]
    lines = [line.strip() for line in said.splitlines()]
    for line, following in pairwise(lines):
        if line and following and not line.startswith("Usage"):
            assert len(line) + 1 + len(following.split()[0]) > 78, line


def test_a_slide_that_was_cut_is_said_to_be(
    tmp_path: Path,
    synthetic: MadeUp,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cut = tmp_path / "cut.svs"
    cut.write_bytes(synthetic.path.read_bytes()[:10_000])
    monkeypatch.setattr("sys.argv", ["raypath", "info", str(cut)])
    with pytest.raises(SystemExit):
        main.app()
    assert "cut.svs: the file ends early" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["view", ".", "--port", "99999"],
        ["convert", "a.svs", "-o", "out", "--workers", "0"],
        ["run", "a.svs", "-o", "out", "--mpp", "250"],
        ["teacher", "evaluate", "--images", ".", "--weights", ".", "--mpp", "250"],
        ["mil", "train", "--features", ".", "--labels", "a.csv", "--learning-rate", "0"],
    ],
)
def test_a_number_out_of_its_range_is_refused_at_once(words: list[str]) -> None:
    said = CliRunner().invoke(main.cli, words)
    assert said.exit_code == 2
    assert words[-2] in said.output
    assert "should be" in said.output
