"""The most memory this process holds while something is done, and what it may hold."""

import os
import resource
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")
CGROUP = Path("/sys/fs/cgroup")

_lock = threading.Lock()
_measuring = 0


@contextmanager
def measured_peak() -> Iterator[Callable[[], int]]:
    """Give a function that tells the largest resident size since now, in bytes.

    Linux starts its record anew; elsewhere it is that of the process's whole life. Where threads
    measure at the same time, it is the largest size since the first of them began.
    """
    global _measuring
    with _lock:
        if _measuring == 0 and CLEAR.exists():
            CLEAR.write_text("5")
        _measuring += 1
    try:
        yield _peak
    finally:
        with _lock:
            _measuring -= 1


def _peak() -> int:
    if STATUS.exists():
        line = next(s for s in STATUS.read_text().splitlines() if s.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def available_memory(cgroup: Path = CGROUP) -> int:
    """Bytes this process may use: the machine's memory, or its cgroup's limit where that is less.

    Of cgroups version 2, then 1.
    """
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            said = (cgroup / name).read_text().strip()
        except OSError:
            continue
        if said.isdigit():
            limits.append(int(said))
    return min(limits)
