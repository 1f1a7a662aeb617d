"""Contenders measured in turns, every time in a new process."""

import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Literal

from wsi.errors import RayPathError

INSTALL = "pip install 'raypath[benchmark]'"
Work = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a work gives whose processes go on living: only they can count what they used."""

    items: int
    cpu_seconds: float
    peak_bytes: int


class BenchmarkError(RayPathError, RuntimeError):
    """There is nothing to measure, or one of our own contenders does not run."""

    kind = "benchmark"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """Something to measure.

    Attributes
    ----------
    name, note
        What the table calls it, and what it adds at the end of the row.
    prepare
        Called with an empty folder in a new process; imports and opens what is not to be timed
        and returns what is. Picklable. Where contenders may do different amounts, the work gives
        the number of items it did, perhaps as `Done`.
    role
        ``"ours"``; ``"peer"``, another project's way to the same end; ``"bound"``, what nobody
        can beat, such as copying the file. Only ours have to work.
    threads
        How many decode, for the bounds that are compared by it.
    """

    name: str
    prepare: Callable[[Path], Work]
    role: Literal["ours", "peer", "bound"] = "peer"
    note: str = ""
    threads: int | None = None


@dataclass(slots=True, kw_only=True)
class Result:
    """What a contender did.

    Attributes
    ----------
    seconds
        Of each run, in order; empty if there is a `failure`, its reason in words.
    cpu_seconds
        User and system time of each run, of the process and its finished children: what a busy
        machine changes least.
    peak_bytes
        Most memory that one process of it held, over all runs.
    bytes_out
        Bytes left in its folder.
    items
        How many it did, where that is not the same for all; 0 where it is.
    """

    name: str
    role: str
    note: str
    threads: int | None
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    peak_bytes: int = 0
    bytes_out: int = 0
    items: int = 0
    failure: str = ""

    @property
    def median(self) -> float:
        """Median of `seconds`."""
        return statistics.median(self.seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sample:
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    bytes_out: int
    items: int


def measure_in_turns(
    contenders: Sequence[Contender],
    *,
    runs: int,
    folder: Path | None = None,
    patience_s: float = 120.0,
    say: Callable[[str], None] = lambda line: None,
) -> list[Result]:
    """Run every contender once, then every one again, so that a slow moment hits them all.

    The first in line is run once more before each turn, which does not count: pages of memory
    that a job gave back long ago are slow to get again, and would cost `cp` several times what
    copying takes.

    Each run has a new process and an empty folder, deleted afterwards; what it left to be
    written to the disk is written before the next run starts. Files that were read lately are
    in memory for everybody alike, since all read the same.

    Parameters
    ----------
    runs
        How often, at least once.
    folder
        Where the outputs go; None for the system's temporary folder.
    patience_s
        Peers that took longer than this in all are not run again.
    say
        Called with a line after each run.

    Raises
    ------
    BenchmarkError
        If a contender of ours fails.
    """
    results = [Result(name=c.name, role=c.role, note=c.note, threads=c.threads) for c in contenders]
    for turn in range(runs):
        _run(contenders[0], replace(results[0], seconds=[], cpu_seconds=[]), folder)
        for contender, result in zip(contenders, results, strict=True):
            tired = contender.role == "peer" and sum(result.seconds) > patience_s
            if result.failure or tired:
                continue
            _run(contender, result, folder)
            outcome = result.failure or f"{result.seconds[-1]:.3f} s"
            say(f"[{turn + 1}/{runs}] {contender.name}: {outcome}")
    return results


def _run(contender: Contender, result: Result, folder: Path | None) -> None:
    """Add one run to `result`, or why it failed; leaves nothing behind, nor to be written."""
    spawn = multiprocessing.get_context("spawn")
    try:
        with (
            tempfile.TemporaryDirectory(dir=folder, prefix="raypath-") as scratch,
            ProcessPoolExecutor(1, mp_context=spawn) as process,
        ):
            sample = process.submit(_timed, contender.prepare, Path(scratch)).result()
    except Exception as error:  # whatever another project raises is a line of the table
        if contender.role == "ours":
            raise BenchmarkError(f"{contender.name} failed: {error}") from error
        result.failure = f"failed, {type(error).__name__}: {error}".splitlines()[0]
        if isinstance(error, ModuleNotFoundError):
            result.failure = f"{error.name} is not installed: {INSTALL}"
        result.seconds.clear()
        return
    finally:
        os.sync()
    result.seconds.append(sample.seconds)
    result.cpu_seconds.append(sample.cpu_seconds)
    result.peak_bytes = max(result.peak_bytes, sample.peak_bytes)
    result.bytes_out, result.items = sample.bytes_out, sample.items


def _timed(prepare: Callable[[Path], Work], scratch: Path) -> _Sample:
    """Prepare and run in this process, which does nothing else."""
    work = prepare(scratch)
    started, cpu_started = perf_counter(), _cpu_seconds()
    given = work()
    seconds, cpu_seconds = perf_counter() - started, _cpu_seconds() - cpu_started
    if not isinstance(given, Done):
        given = Done(items=given if isinstance(given, int) else 0, cpu_seconds=0, peak_bytes=0)
    bytes_out = sum(f.stat().st_size for f in scratch.rglob("*") if f.is_file())
    return _Sample(
        seconds=seconds,
        cpu_seconds=cpu_seconds + given.cpu_seconds,
        peak_bytes=max(peak_bytes(), given.peak_bytes),
        bytes_out=bytes_out,
        items=given.items,
    )


def _cpu_seconds() -> float:
    return sum(os.times()[:4])


def peak_bytes() -> int:
    """Most memory that this process, or the largest of its finished children, ever held."""
    unit = 1 if sys.platform == "darwin" else 1024
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
    status = Path("/proc/self/status")
    if not status.exists():
        return max(children, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
    # Linux counts in ru_maxrss what the parent held when it started this process; not here.
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return max(children, int(lines["VmHWM"].split()[0]) * 1024)
