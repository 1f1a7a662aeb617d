"""What a task may take of memory and time; a process that goes beyond is ended.

A slide from anywhere can hang a decoder or fill the memory, in C code that no exception reaches.
Only the end of the process is sure, so these limits are for processes that can be replaced: Ray's
workers. An address space limit (RLIMIT_AS) would not do, because torch and Ray reserve many times
what they use.
"""

import faulthandler
import math
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from cluster.resources import available_memory

POLL_S = 0.1
EXIT_CODE = 75
GRACE_S = 30.0  # after which a thread that needs no interpreter lock ends the process
LEAST_SHARE_BYTES = 4 << 30  # a share below this would refuse slides that nothing is wrong with
MOST_OF_NODE = 0.8
STATM = Path("/proc/self/statm")

_memory_limit: ContextVar[float] = ContextVar("memory_limit", default=math.inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one task may take.

    Attributes
    ----------
    memory_bytes
        Of its process, which holds the libraries and the model too; infinity for no limit, None
        for the share of a worker, see `share_of_memory`.
    seconds
        From its start to its end, retries included; infinity for no limit.
    """

    memory_bytes: float | None = None
    seconds: float = math.inf

    def __post_init__(self) -> None:
        if self.seconds <= 0 or (self.memory_bytes is not None and self.memory_bytes <= 0):
            raise ValueError(f"limits must be positive, got {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """A limit that a task went beyond; `kind` and `message` are those of its failure."""

    kind: str
    message: str


def share_of_memory(workers: int) -> int:
    """Bytes for each of the `workers` of this node, which may be more than an equal share.

    At least `LEAST_SHARE_BYTES`, and never more than `MOST_OF_NODE` of all there are: Ray ends
    the process that asks for the rest.
    """
    total = available_memory()
    return min(max(total // workers, LEAST_SHARE_BYTES), int(total * MOST_OF_NODE))


def memory_limit() -> float:
    """Bytes that this process may hold, see `held_bytes`; infinity where nothing ends it."""
    return _memory_limit.get()


def mapped_bytes() -> int:
    """Memory of this process that is no part of `held_bytes`; 0 where there is no ``/proc``."""
    if not STATM.exists():
        return 0
    return int(STATM.read_text().split()[2]) * os.sysconf("SC_PAGE_SIZE")


def held_bytes() -> int:
    """Memory of this process that nobody else can use; not that of mapped files and shared memory.

    Where there is no ``/proc`` it is the most the process ever held.
    """
    if STATM.exists():
        _, resident, shared = STATM.read_text().split()[:3]
        return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


@contextmanager
def enforced(limits: Limits, *, workers: int, tell: Callable[[Breach], None]) -> Iterator[None]:
    """End this process if what is done meanwhile goes beyond `limits`, after `tell` was called.

    Parameters
    ----------
    workers
        How many share the memory of this node.
    tell
        Says why, to somebody who outlives this process.
    """
    memory = limits.memory_bytes or share_of_memory(workers)
    done = threading.Event()
    started = time.monotonic()

    def watch() -> None:
        while not done.wait(POLL_S):
            breach = _find_breach(memory, limits.seconds, time.monotonic() - started)
            if breach is not None:
                try:
                    tell(breach)
                finally:
                    os._exit(EXIT_CODE)

    watcher = threading.Thread(target=watch, name="limits", daemon=True)
    watcher.start()
    if math.isfinite(limits.seconds):
        # C code that keeps the interpreter's lock stops the thread above, not this timer.
        faulthandler.dump_traceback_later(
            limits.seconds + GRACE_S, exit=True, file=sys.__stderr__ or 2
        )
    token = _memory_limit.set(memory)
    try:
        yield
    finally:
        _memory_limit.reset(token)
        faulthandler.cancel_dump_traceback_later()
        done.set()
        watcher.join()


def _find_breach(memory: float, seconds: float, spent_s: float) -> Breach | None:
    if spent_s > seconds:
        return Breach(
            kind="timed_out",
            message=f"not done after {seconds / 60:.3g} minutes, the limit: raise 'minutes' or "
            "'minutes_per_gb' in [limits] of the configuration if the slide is as it should be",
        )
    held = held_bytes()
    if held > memory:
        return Breach(
            kind="out_of_memory",
            message=f"its process held {held / 2**30:.2f} GiB, and the limit is "
            f"{memory / 2**30:.2f} GiB: raise 'memory_gb' in [limits] of the configuration, use "
            "fewer workers, or look at the slide",
        )
    return None
