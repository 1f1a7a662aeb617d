"""The most memory this process holds while something is done."""

import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")


@contextmanager
def measured_peak() -> Iterator[Callable[[], int]]:
    """Give a function that tells the largest resident size since now, in bytes.

    Linux starts its record anew; elsewhere it is that of the process's whole life.
    """
    if CLEAR.exists():
        CLEAR.write_text("5")
    yield _peak


def _peak() -> int:
    if STATUS.exists():
        line = next(s for s in STATUS.read_text().splitlines() if s.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
