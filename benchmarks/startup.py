"""How long `raypath --help` takes beside a bare interpreter: imports must cost nothing.

python -m benchmarks.startup [--runs 7]
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.speed.measure import Contender, Work, measure_in_turns
from benchmarks.speed.report import Report, Table, Verdict

BARE, HELP = "python -c pass", "raypath --help"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args(arguments).runs
    raypath = str(Path(sys.executable).with_name("raypath"))
    commands = {
        BARE: [sys.executable, "-c", "pass"],
        HELP: [raypath, "--help"],
        "raypath run --help": [raypath, "run", "--help"],
    }
    contenders = [
        Contender(name=name, prepare=partial(_call, command), role="ours")
        for name, command in commands.items()
    ]
    table = Table(
        title="Start",
        baseline=BARE,
        baseline_label="bare",
        results=measure_in_turns(contenders, runs=runs),
    )
    shown = table.find(HELP)
    verdict = Verdict(
        claim="seconds of raypath --help",
        bound="at most",
        wanted=0.5,
        measured=shown.median if shown else None,
    )
    Report(subject="Start of the command line", tables=[table], verdicts=[verdict]).print()


def _call(command: Sequence[str], scratch: Path) -> Work:
    return lambda: subprocess.run(command, check=True, capture_output=True)


if __name__ == "__main__":
    main()
