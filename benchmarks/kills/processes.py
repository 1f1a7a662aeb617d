"""Finding and ending processes, only those a given one started. Linux: reads ``/proc``."""

import os
import signal
from collections import defaultdict
from pathlib import Path

# Processes of Ray's own that call themselves as its workers do. A node ends with its agents.
NOT_AT_A_TASK = {"ray::IDLE", "ray::DashboardAgent", "ray::RuntimeEnvAgent"}


def descendants(pid: int) -> list[int]:
    """All processes that `pid` started, directly or not."""
    children = defaultdict(list)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name in brackets may hold anything; the parent is the second field after it.
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        children[parent].append(int(stat.parent.name))
    found, todo = [], [pid]
    while todo:
        todo += children[todo[0]]
        found += children[todo.pop(0)]
    return found


def busy_workers(pid: int) -> list[int]:
    """Ray's workers below `pid` that are at a task."""
    titles = {p: title(p) for p in descendants(pid)}
    return [p for p, t in titles.items() if t.startswith("ray::") and t not in NOT_AT_A_TASK]


def raylets(pid: int) -> list[int]:
    """The processes below `pid` that hand out tasks to Ray's workers, which are at them."""
    return [p for p in descendants(pid) if Path(title(p)).name == "raylet" and busy_workers(p)]


def title(pid: int) -> str:
    """What a process calls itself; empty if there is none."""
    try:
        said = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return said.split(b"\0")[0].decode(errors="replace")


def kill(pid: int) -> bool:
    """SIGKILL; False if it had ended."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
