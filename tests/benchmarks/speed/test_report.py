"""Tables hold what was measured; verdicts say what it means."""

import json

import pytest

from benchmarks.speed.measure import Result
from benchmarks.speed.report import Report, Table, Verdict


def result(name: str, *seconds: float, role: str = "peer", threads: int | None = None) -> Result:
    return Result(
        name=name,
        role=role,
        note="",
        threads=threads,
        seconds=list(seconds),
        cpu_seconds=[2 * s for s in seconds],
        peak_bytes=3 * 2**20,
        bytes_out=4_000_000 if seconds else 0,
        failure="" if seconds else "no room | left",
    )


@pytest.fixture
def table() -> Table:
    return Table(
        title="Convert",
        baseline="cp",
        baseline_label="cp",
        megapixels=30,
        source_bytes=2_000_000,
        results=[
            result("cp", 1.0, 3.0, 2.0, role="bound", threads=1),
            result("slow", 8.0),
            result("fast", 4.0, 5.0),
            result("broken"),
        ],
    )


def test_cells_and_failures(table: Table) -> None:
    head, cp, slow, fast = table.cells()
    assert head[6] == "/ cp"
    assert cp == ("cp", "2.000", "1.000-3.000", "3", "4.000", "15", "1.00", "4.0", "2.00", "3")
    assert slow[6] == "4.00"
    assert fast[1:4] == ("4.500", "4.000-5.000", "2")
    assert table.failures() == ["broken: no room | left"]


def test_the_fastest_of_a_role(table: Table) -> None:
    fastest = table.fastest(role="peer")
    assert fastest is not None
    assert fastest.name == "fast"
    assert table.fastest(role="bound", threads=2) is None
    assert table.find("broken") is None


@pytest.mark.parametrize(
    ("bound", "measured", "word"),
    [
        ("at least", 3.0, "met"),
        ("at least", 2.9, "not met"),
        ("at most", 3.0, "met"),
        ("at most", 3.1, "not met"),
        ("at most", None, "not measured"),
    ],
)
def test_verdicts(bound: str, measured: float | None, word: str) -> None:
    verdict = Verdict(claim="time", bound=bound, wanted=3, measured=measured)  # type: ignore[arg-type]
    assert verdict.word == word
    assert str(verdict).startswith(f"{word}: time {bound} 3")


def test_a_report_in_every_form(table: Table, capsys: pytest.CaptureFixture[str]) -> None:
    verdict = Verdict(claim="time", bound="at most", wanted=3, measured=2.5)
    report = Report(subject="a slide [1]", tables=[table], verdicts=[verdict])
    facts = json.loads(json.dumps(report.as_dict()))
    assert facts["tables"][0]["results"][0]["seconds"] == [1.0, 3.0, 2.0]
    assert facts["verdicts"][0]["word"] == "met"
    assert "numpy" in facts["versions"]
    markdown = report.as_markdown().splitlines()
    assert "| cp | 2.000 | 1.000-3.000 | 3 | 4.000 | 15 | 1.00 | 4.0 | 2.00 | 3 |" in markdown
    assert "- not measured: broken: no room | left" in markdown
    assert "- met: time at most 3, measured 2.50" in markdown
    report.print()
    printed = capsys.readouterr().out
    assert printed.startswith("a slide [1]\n")
    assert "1.000-3.000" in printed
    assert "met: time at most 3, measured 2.50" in printed
