"""How long `raypath --help` takes beside a bare interpreter: imports must cost nothing.

python benchmarks/startup.py [--runs 7]
"""

import argparse
import subprocess
import sys
from pathlib import Path

from timing import print_table, repeat


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    raypath = str(Path(sys.executable).with_name("raypath"))
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "raypath --help": [raypath, "--help"],
        "raypath run --help": [raypath, "run", "--help"],
    }

    def call(command: list[str]) -> None:
        subprocess.run(command, check=True, capture_output=True)

    tasks = {name: (lambda c=command: call(c)) for name, command in commands.items()}
    print_table(repeat(tasks, runs=runs), baseline="python -c pass")


if __name__ == "__main__":
    main()
