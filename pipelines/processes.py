"""Whether a process that was named in a file is still there."""

import os
import socket
from pathlib import Path

BOOT = Path("/proc/sys/kernel/random/boot_id")
PIDS = Path("/proc/self/ns/pid")


def process_space() -> str:
    """What process numbers are unique in: one start of one machine, or of one container on it.

    Elsewhere than on Linux the machine's name has to do.
    """
    try:
        return f"{BOOT.read_text().strip()} {os.readlink(PIDS)}"
    except OSError:
        return socket.gethostname()


def start_of(pid: int) -> str | None:
    """When a process of this space began, in the system's own unit; None if there is none.

    One that has ended and was not waited for counts as none. Elsewhere than on Linux the answer
    is an empty text for any process that is there.
    """
    if not BOOT.exists():
        return "" if _exists(pid) else None
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The second field is the command in brackets, which may hold spaces and brackets (proc(5)).
    after = stat.rpartition(")")[2].split()
    state, start = after[0], after[19]
    return None if state in "ZX" else start


def is_alive(pid: int, start: str) -> bool:
    """Whether the process that had this number and start is there."""
    return start_of(pid) == start


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
