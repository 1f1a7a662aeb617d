"""One run disturbed by kills, and what came of it."""

import random
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.kills.processes import descendants, kill
from benchmarks.kills.workload import (
    Workload,
    results,
    steps_done,
    steps_reused,
)
from pipelines.records import read_records
from pipelines.runfolder import INFO_NAME, RECORDS_NAME

LONGEST_S = 1200.0
POLL_S = 0.002


@dataclass(slots=True, kw_only=True)
class Trial:
    """What was done to a run, and what was wrong with it in the end.

    Attributes
    ----------
    kills
        Processes that were ended, by SIGKILL.
    lost, differing
        Files and records of the undisturbed run that are missing, or are others, or that it has
        not.
    repeated
        (slide, step) that were done again although they were done.
    """

    what: str
    kills: int = 0
    lost: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)
    repeated: list[tuple[str, str]] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether nothing was wrong."""
        return not (self.lost or self.differing or self.repeated)

    def compare(self, out: Path, expected: dict[str, str]) -> None:
        """Set the results in `out` beside those of an undisturbed run."""
        found = results(out)
        self.lost += sorted(expected.keys() - found.keys())
        self.differing += sorted(
            name for name in found if found[name] != expected.get(name, "nothing of that name")
        )


def driver_trial(
    workload: Workload,
    out: Path,
    expected: dict[str, str],
    rng: random.Random,
    *,
    seconds: float,
    flags: tuple[str, ...],
) -> Trial:
    """Kill the run's own process within `seconds` of work, up to three times, then let it end."""
    trial = Trial(what=f"driver, {flags[1]}")
    for _ in range(rng.choice((1, 1, 2, 3))):
        process = workload.start(out, *flags)
        (out / RECORDS_NAME).unlink(missing_ok=True)
        wait_for_work(process, out)
        _wait(process, rng.uniform(0, seconds))
        children = descendants(process.pid)
        if process.poll() is None:
            process.kill()
            trial.kills += 1
        process.wait()
        _wait_until_gone(children)
    before = steps_done(out)
    finish(workload.start(out, *flags), out)
    trial.repeated += sorted(before - steps_reused(read_records(out / RECORDS_NAME)))
    trial.compare(out, expected)
    return trial


def parts_trial(
    workload: Workload,
    out: Path,
    expected: dict[str, str],
    rng: random.Random,
    *,
    seconds: float,
    flags: tuple[str, ...],
    what: str,
    find: Callable[[int], list[int]],
    kills: tuple[int, int],
) -> Trial:
    """Kill processes that the run started, from two numbers of them; it has to end well by itself.

    `find` gives those below a process that may be killed.
    """
    trial = Trial(what=what)
    process = workload.start(out, *flags)
    wait_for_work(process, out)
    for _ in range(rng.randint(*kills)):
        _wait(process, rng.uniform(0, seconds / 2))
        while process.poll() is None and not (found := find(process.pid)):
            time.sleep(POLL_S)
        if process.poll() is None:
            trial.kills += kill(rng.choice(found))
    finish(process, out)
    trial.compare(out, expected)
    return trial


def finish(process: subprocess.Popen[bytes], out: Path) -> None:
    """Wait for a run to end well."""
    try:
        code = process.wait(LONGEST_S)
    finally:
        process.kill()  # what did not end in time; nothing where it did
    if code != 0:
        log = out.with_suffix(".log").read_text(errors="replace")
        raise RuntimeError(f"the run in {out} ended with {code}:\n{log[-3000:]}")


def wait_for_work(process: subprocess.Popen[bytes], out: Path) -> None:
    """Until the run has begun: it writes its settings first."""
    while process.poll() is None and not (out / INFO_NAME).exists():
        time.sleep(POLL_S)


def _wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        time.sleep(POLL_S)


def _wait_until_gone(pids: list[int]) -> None:
    """Until what a killed run started has ended too, as Ray sees to."""
    end = time.monotonic() + LONGEST_S
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        if time.monotonic() > end:
            raise RuntimeError(f"processes {pids} of a killed run go on")
        time.sleep(POLL_S)
