"""Cases in processes of their own, with limits of memory and time; one that ends is replaced."""

import multiprocessing
import random
import resource
import shutil
import signal
import time
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from benchmarks.fuzz.subjects import Subject
from pipelines.memory import measured_peak
from wsi.errors import RayPathError

MEMORY_BYTES = 3 << 30  # of private memory, libraries included
CASE_S = 30.0  # of CPU time, whatever else the machine does
DEADLOCK_S = 600.0
BIGGEST_FILE = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One mutation of one subject: the same seed gives the same file."""

    subject: Subject
    seed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """How a case ended.

    Attributes
    ----------
    kind
        ``"ok"``, a `RayPathError`'s kind, or one of what must not be: ``"untyped"``,
        ``"memory"``, ``"crashed"``, ``"hung"``, ``"escaped"``.
    detail
        The error; of an untyped one its traceback.
    seconds
        Of CPU time.
    peak_bytes
        The most memory its process held meanwhile, libraries included.
    """

    case: Case
    kind: str
    detail: str = ""
    seconds: float = 0.0
    peak_bytes: int = 0

    @property
    def is_defect(self) -> bool:
        """Whether it is something that must not be."""
        return self.kind in DEFECTS


OUT_OF_TIME = (-signal.SIGPROF, -signal.SIGKILL)
DEFECTS = frozenset({"untyped", "memory", "crashed", "hung", "escaped"})


def run_cases(cases: Iterable[Case], scratch: Path, *, workers: int) -> Iterator[Finding]:
    """Do every case; yields how each ended, in the order of completion."""
    context = multiprocessing.get_context("spawn")
    todo = iter(cases)
    running: dict[Connection, tuple[Any, Case | None, float]] = {}

    def start(number: int) -> None:
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, scratch / str(number)), daemon=True)
        process.start()
        theirs.close()
        ours.recv()  # it has imported all there is to import, which no case is charged with
        give(ours, process)

    def give(pipe: Connection, process: Any) -> None:
        case = next(todo, None)
        pipe.send(case)
        running[pipe] = (process, case, time.monotonic())

    started = 0
    for _ in range(workers):
        start(started)
        started += 1
    while running:
        ready = wait(list(running), timeout=1.0)
        late = [p for p, (_, c, at) in running.items() if c and time.monotonic() - at > DEADLOCK_S]
        for pipe in {*ready, *late}:
            assert isinstance(pipe, Connection)
            process, case, _ = running.pop(pipe)
            finding = _receive(pipe) if pipe in ready else None
            if finding is not None:
                give(pipe, process)
                yield finding
                continue
            if pipe not in ready:
                process.kill()
            process.join()
            if case is None:
                continue  # it had nothing left to do
            yield Finding(
                case=case,
                kind="hung" if process.exitcode in OUT_OF_TIME else "crashed",
                detail=f"exit code {process.exitcode}",
                seconds=CASE_S,
            )
            start(started)
            started += 1


def _receive(pipe: Connection) -> Finding | None:
    """What a process has to say; None if it ended instead."""
    try:
        finding: Finding = pipe.recv()
    except (EOFError, ConnectionResetError):
        return None
    return finding


def _work(pipe: Connection, scratch: Path) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (BIGGEST_FILE, BIGGEST_FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    pipe.send("ready")
    while (case := pipe.recv()) is not None:
        signal.setitimer(signal.ITIMER_PROF, CASE_S)  # ends this process
        pipe.send(do_case(case, scratch))


def do_case(case: Case, scratch: Path) -> Finding:
    """Make the case's file in `scratch`, use it, and tell how that ended."""
    shutil.rmtree(scratch, ignore_errors=True)
    inside = scratch / "in"
    inside.mkdir(parents=True)
    path = inside / case.subject.seed.name
    if case.subject.seed.is_dir():
        shutil.copytree(case.subject.seed, path)
    else:
        shutil.copyfile(case.subject.seed, path)
    case.subject.spoil(path, random.Random(case.seed))
    before = {*scratch.rglob("*")}
    started = time.process_time()
    with measured_peak() as peak:
        kind, detail = _use(case, path, scratch / "out")
    strange = {
        p for p in scratch.rglob("*") if p not in before and scratch / "out" not in p.parents
    }
    if strange - {scratch / "out"}:
        kind, detail = "escaped", f"written outside of the results: {sorted(strange)}"
    return Finding(
        case=case,
        kind=kind,
        detail=detail,
        seconds=time.process_time() - started,
        peak_bytes=peak().rss_bytes,
    )


def _use(case: Case, path: Path, out: Path) -> tuple[str, str]:
    try:
        case.subject.use(path, out)
    except RayPathError as error:
        return error.kind, str(error)
    except MemoryError:
        return "memory", traceback.format_exc()
    except Exception:  # whatever it is, it is what is looked for
        return "untyped", traceback.format_exc()
    return "ok", ""
