"""The most memory this process holds while something is done."""

import resource
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")

_lock = threading.Lock()
_measuring = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The most memory that one process held while something was done.

    Attributes
    ----------
    rss_bytes
        Resident size of the process, its libraries and networks included.
    is_bound
        Whether it is only known not to be more: what the process had held before counts too.
    """

    rss_bytes: int = 0
    is_bound: bool = False

    def __or__(self, other: "Held") -> "Held":
        """The larger of the two."""
        return max(self, other, key=lambda held: held.rss_bytes)


NOTHING = Held()


@contextmanager
def measured_peak() -> Iterator[Callable[[], Held]]:
    """Give a function that tells the most this process has held since now.

    Linux starts its record anew (``/proc/self/clear_refs``, see proc(5)). Where it does not, or
    elsewhere, the record is that of the process's whole life; where threads measure at the same
    time, it is since the first of them began. Both are bounds.
    """
    global _measuring
    with _lock:
        is_anew = _measuring == 0 and _start_anew()
        _measuring += 1
    try:
        yield lambda: Held(rss_bytes=_peak(), is_bound=not is_anew)
    finally:
        with _lock:
            _measuring -= 1


def _start_anew() -> bool:
    """Whether the system could be told to forget what this process held."""
    try:
        CLEAR.write_text("5")
    except OSError:  # not Linux, or a container that does not let us
        return False
    return True


def _peak() -> int:
    if STATUS.exists():
        line = next(s for s in STATUS.read_text().splitlines() if s.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
