"""tests/benchmarks/test_benchmarks.py — every benchmark runs; what it measures is not asserted."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize(
    ("script", "arguments", "row"),
    [
        ("startup.py", ["--runs", "1"], "raypath --help"),
        ("pyramid.py", ["--runs", "1", "--size", "700"], "raypath convert, zstd"),
    ],
)
def test_a_benchmark_prints_its_table(script: str, arguments: list[str], row: str) -> None:
    command = [sys.executable, str(BENCHMARKS / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert row in done.stdout
    assert "1 runs" in done.stdout
