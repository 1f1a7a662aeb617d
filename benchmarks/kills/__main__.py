"""SIGKILL of drivers, workers, Ray and nodes at random moments of a real run, and what was lost.

python -m benchmarks.kills [--kills 30] [--minutes 10] [--seed 0] [--of driver worker ray node]
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path

from benchmarks.kills.nodes import nodes_trial
from benchmarks.kills.processes import busy_workers, raylets
from benchmarks.kills.trials import Trial, driver_trial, finish, parts_trial
from benchmarks.kills.workload import Workload, make_workload, results
from cluster.retries import TRIES

RAY = ("--executor", "ray", "--workers", "2")
SERIAL = ("--executor", "serial")
KINDS: dict[str, Callable[..., Trial]] = {
    "driver": partial(driver_trial, flags=SERIAL),
    "driver-ray": partial(driver_trial, flags=RAY),
    "worker": partial(
        parts_trial,
        flags=RAY,
        what="workers of Ray",
        find=busy_workers,
        kills=(2, TRIES["worker_lost"] - 1),  # one more, all at one slide, is its verdict
    ),
    "ray": partial(parts_trial, flags=RAY, what="the local Ray", find=raylets, kills=(1, 2)),
    "node": nodes_trial,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill and print; 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30, help="no further trial after so many")
    parser.add_argument("--minutes", type=float, default=10.0, help="nor after so long")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--of", nargs="+", choices=KINDS, default=list(KINDS))
    given = parser.parse_args(arguments)
    end = time.monotonic() + 60 * given.minutes
    with tempfile.TemporaryDirectory() as folder:
        trials = run_trials(
            Path(folder),
            kinds=given.of,
            seed=given.seed,
            is_enough=lambda done: count_kills(done) >= given.kills or time.monotonic() > end,
        )
    print_table(trials)
    return int(not all(trial.is_clean for trial in trials))


def run_trials(
    folder: Path, *, kinds: Sequence[str], seed: int, is_enough: Callable[[Sequence[Trial]], bool]
) -> list[Trial]:
    """An undisturbed run, then trials of each kind in turn until those done are enough."""
    workload = make_workload(folder)
    expected, seconds = _undisturbed(workload, folder / "undisturbed")
    print(f"undisturbed: {len(expected)} files and records in {seconds:.1f} s", flush=True)
    trials: list[Trial] = []
    for n in count():
        if is_enough(trials):
            return trials
        kind = kinds[n % len(kinds)]
        out, rng = folder / f"trial-{n}", random.Random(f"{seed}/{n}")
        trial = KINDS[kind](workload, out, expected, rng, seconds=seconds)
        trials.append(trial)
        print(f"{n}: {trial}", flush=True)
    return trials


def count_kills(trials: Sequence[Trial]) -> int:
    """How many processes were ended in all of them."""
    return sum(trial.kills for trial in trials)


def _undisturbed(workload: Workload, out: Path) -> tuple[dict[str, str], float]:
    """What a run leaves that nobody disturbs, and how long it works."""
    process = workload.start(out, *SERIAL)
    while not out.exists() and process.poll() is None:
        time.sleep(0.01)
    started = time.monotonic()
    finish(process, out)
    return results(out), time.monotonic() - started


def print_table(trials: Sequence[Trial]) -> None:
    """One line for what was killed, as Markdown."""
    print("| killed | kills | runs | files and slides lost | differing | done twice |")
    print("|---|---|---|---|---|---|")
    for what in [*dict.fromkeys(trial.what for trial in trials), "all"]:
        of = [trial for trial in trials if what in (trial.what, "all")]
        sums = (
            count_kills(of),
            len(of),
            sum(len(trial.lost) for trial in of),
            sum(len(trial.differing) for trial in of),
            sum(len(trial.repeated) for trial in of),
        )
        print(f"| {what} | {' | '.join(map(str, sums))} |")


if __name__ == "__main__":
    sys.exit(main())
